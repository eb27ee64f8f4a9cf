"""How the two-tower recommenders are trained: a full softmax over all items, on windows cut from the past.

Each example is a user at a cut: the history before it, and what was bought in the window after it. All items compete
in the loss, none is sampled. Source of the loss: Liang et al. (2018), Variational autoencoders for collaborative
filtering, equation 2 (the multinomial likelihood).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from models.recommenders.events import Events, Histories
from models.recommenders.two_tower import (
    PAIR_FEATURES,
    TwoTower,
    pair_features,
    popularity_feature,
    repeat_rate,
)
from models.training import fit

BUCKETS = 512
"""Rows of the table that an attribute's values are hashed into."""


@dataclass(frozen=True)
class Settings:
    """dim: numbers a vector. windows: cuts in the past, `window_days` apart. drop: share of items whose behaviour
    vector is hidden in a step, so that content learns to stand alone. behaviour: whether items have such vectors."""

    dim: int
    hidden: int
    epochs: int
    batch: int
    rate: float
    decay: float
    dropout: float
    windows: int
    window_days: float
    behaviour: bool
    drop: float


@dataclass(frozen=True)
class Content:
    """What is known of items without behaviour. dense: (n, f) float32. codes: (n, columns) int64 hashed attribute
    values, 0 where empty."""

    dense: np.ndarray
    codes: np.ndarray


@dataclass(frozen=True)
class Window:
    """One cut: histories before it, what each user bought after it (a CSR over items), and the items' figures."""

    histories: Histories
    features: np.ndarray
    target_indptr: np.ndarray
    target_item: np.ndarray
    popular: np.ndarray


def windows(events: Events, settings: Settings) -> list[Window]:
    """The cuts, newest first; the newest window ends at `events.now`."""
    made = []
    for at in range(settings.windows):
        end = events.now + 1e-6 - at * settings.window_days
        start = end - settings.window_days
        past, after = events.before(start), events.between(start, end)
        if not len(past.user) or not len(after.user):
            break
        bought = after.histories
        popular = popularity_feature(past)
        features = pair_features(past.histories, popular, repeat_rate(past))
        made.append(Window(past.histories, features, bought.indptr, bought.item, popular))
    if not made:
        raise ValueError(
            f"the events span less than two windows of {settings.window_days} days: nothing to learn from"
        )
    return made


class Examples(Dataset):
    """(window, user) of everyone who bought in the window."""

    def __init__(self, cuts: list[Window]) -> None:
        self.places = [
            (at, int(user))
            for at, cut in enumerate(cuts)
            for user in np.flatnonzero(np.diff(cut.target_indptr))
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, at: int) -> tuple[int, int]:
        return self.places[at]


@dataclass
class Batch:
    """Ragged arrays of B examples: entries (row, item, decayed, features), targets (row, item, share)."""

    size: int
    row: torch.Tensor
    item: torch.Tensor
    decayed: torch.Tensor
    features: torch.Tensor
    target_row: torch.Tensor
    target_item: torch.Tensor
    target_share: torch.Tensor
    popular: torch.Tensor


def collate(cuts: list[Window]) -> Callable[[list[tuple[int, int]]], Batch]:
    """Make batches from `Examples`."""

    def gather(places: list[tuple[int, int]]) -> Batch:
        rows, entries, target_rows, targets, shares, decayed, features = [], [], [], [], [], [], []
        for row, (at, user) in enumerate(places):
            cut = cuts[at]
            past = slice(*cut.histories.indptr[user : user + 2])
            then = slice(*cut.target_indptr[user : user + 2])
            entries.append(cut.histories.item[past])
            decayed.append(cut.histories.decayed[past])
            features.append(cut.features[past])
            rows.append(np.full(len(entries[-1]), row))
            targets.append(cut.target_item[then])
            target_rows.append(np.full(len(targets[-1]), row))
            shares.append(np.full(len(targets[-1]), 1.0 / len(targets[-1])))

        def joined(parts: list[np.ndarray], kind: type) -> torch.Tensor:
            return torch.from_numpy(np.concatenate(parts).astype(kind))

        return Batch(
            len(places),
            joined(rows, np.int64),
            joined(entries, np.int64),
            joined(decayed, np.float32),
            joined(features, np.float32),
            joined(target_rows, np.int64),
            joined(targets, np.int64),
            joined(shares, np.float32),
            torch.from_numpy(np.stack([cuts[at].popular for at, _ in places])),
        )

    return gather


class Tower(nn.Module):
    """Item vectors (n, d): a projection of content, attribute embeddings, and a behaviour embedding."""

    def __init__(self, content: Content | None, items: int, settings: Settings) -> None:
        super().__init__()
        self.drop = settings.drop
        self.behaviour = nn.Embedding(items, settings.dim) if settings.behaviour else None
        if self.behaviour is not None:
            nn.init.normal_(self.behaviour.weight, std=0.05)
        self.project, self.attributes = None, None
        if content is not None:
            self.register_buffer("dense", torch.from_numpy(content.dense), persistent=False)
            self.register_buffer("codes", torch.from_numpy(content.codes), persistent=False)
            if content.dense.shape[1]:
                self.project = nn.Linear(content.dense.shape[1], settings.dim, bias=False)
            columns = content.codes.shape[1]
            if columns:
                self.attributes = nn.Embedding(columns * BUCKETS, settings.dim)
                nn.init.normal_(self.attributes.weight, std=0.05)
                self.register_buffer(
                    "offsets", torch.arange(columns)[None, :] * BUCKETS, persistent=False
                )

    def sources(self, sold: torch.Tensor) -> dict[str, torch.Tensor]:
        """Source to its share of the vectors, (n, d).

        sold: (n,) ones where the item has events: others have no behaviour vector, in training and after.
        """
        found = {}
        if self.behaviour is not None:
            keep = sold
            if self.training and self.drop:
                keep = sold * (torch.rand_like(sold) >= self.drop)
            found["behaviour"] = self.behaviour.weight * keep[:, None]
        if self.project is not None:
            found["text and picture"] = self.project(self.dense)
        if self.attributes is not None:
            found["attributes"] = self.attributes(self.codes + self.offsets).sum(1)
        return found

    def forward(self, sold: torch.Tensor, without: str = "") -> torch.Tensor:
        """The sum of the sources, (n, d), one left out by name."""
        kept = [part for name, part in self.sources(sold).items() if name != without]
        return torch.stack(kept).sum(0)


class Network(pl.LightningModule):
    """The model of `two_tower`, as a module to train."""

    def __init__(self, content: Content | None, sold: np.ndarray, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("sold", torch.from_numpy(sold), persistent=False)
        self.tower_in = Tower(content, len(sold), settings)
        self.tower_out = Tower(content, len(sold), settings)
        self.mix = nn.Parameter(torch.zeros(4))
        self.popular = nn.Parameter(torch.ones(1))
        self.again = nn.Sequential(
            nn.Linear(PAIR_FEATURES, settings.hidden), nn.ReLU(), nn.Linear(settings.hidden, 1)
        )

    def logits(self, batch: Batch) -> torch.Tensor:
        """(B, n)."""
        vectors_in = functional.dropout(
            self.tower_in(self.sold), self.settings.dropout, self.training
        )
        weight = torch.log1p(batch.decayed @ functional.softplus(self.mix))
        moved = weight[:, None] * vectors_in[batch.item]
        total = vectors_in.new_zeros(batch.size, vectors_in.shape[1])
        total = total.index_add(0, batch.row, moved)
        mass = weight.new_zeros(batch.size).index_add(0, batch.row, weight)
        users = total / torch.sqrt(mass + 1.0)[:, None]
        scores = users @ self.tower_out(self.sold).T + self.popular * batch.popular
        again = self.again(batch.features)[:, 0]
        return scores.index_put((batch.row, batch.item), again, accumulate=True)

    def training_step(self, batch: Batch, at: int) -> torch.Tensor:
        logs = functional.log_softmax(self.logits(batch), dim=1)
        gained = logs[batch.target_row, batch.target_item] * batch.target_share
        loss = -gained.sum() / batch.size
        self.log("loss", loss, batch_size=batch.size, on_epoch=True, on_step=False)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.parameters(), lr=self.settings.rate, weight_decay=self.settings.decay
        )


def train(
    kind: type[TwoTower],
    events: Events,
    content: Content | None,
    settings: Settings,
    k: int,
    seed: int,
    report: Callable[[float, str], None] = lambda done, what: None,
) -> tuple[TwoTower, dict[str, TwoTower], dict[str, list[float]]]:
    """Fit a recommender of `kind` on all of `events`.

    content: None for behaviour alone. Returns the model, the same model without each of its sources where it has
    several, and its loss by epoch. Raises `ValueError` where the events are too few.
    """
    torch.manual_seed(seed)
    cuts = windows(events, settings)
    sold = (np.bincount(events.item, minlength=len(events.items)) > 0).astype(np.float32)
    network = Network(content, sold, settings)
    loader = DataLoader(
        Examples(cuts),
        batch_size=settings.batch,
        shuffle=True,
        collate_fn=collate(cuts),
        generator=torch.Generator().manual_seed(seed),
    )
    curves = fit(network, loader, epochs=settings.epochs, seed=seed, report=report)
    first, last = network.again[0], network.again[2]
    weights = {
        "mix": network.mix.numpy(),
        "popular": network.popular.numpy(),
        "w1": np.ascontiguousarray(first.weight.numpy().T),
        "b1": first.bias.numpy(),
        "w2": last.weight.numpy()[0],
        "b2": last.bias.numpy(),
    }

    def made(without: str) -> TwoTower:
        with torch.inference_mode():
            towers = [
                tower(network.sold, without).numpy()
                for tower in (network.tower_in, network.tower_out)
            ]
        return kind(
            items=events.items,
            vectors_in=towers[0],
            vectors_out=towers[1],
            weights={name: value.copy() for name, value in weights.items()},
            popular=popularity_feature(events),
            repeats=repeat_rate(events),
            known=events,
            k=k,
        )

    sources = list(network.tower_in.sources(network.sold))
    ablated = {name: made(name) for name in sources} if len(sources) > 1 else {}
    return made(""), ablated, curves

"""How the two-tower recommenders are trained: will this user buy this item in the window after the cut?

Each example is a user at a cut in the past: the history before it, and what was bought in the window after it. All
pairs of user and item are answered at once, none is sampled: the loss is the logistic one, so that scores are log odds.
A softmax over the items orders a user's own purchases worse: it spreads one unit of belief over a basket of many.

An item's vectors are linear maps, which are learnt, of what is given of it: singular vectors of who bought the item and of
who bought what has its attributes (`factors`), text, picture, and what reviews tell. Free vectors of every item memorise the users of a small
shop. Singular vectors of each cut are made of what was before it and turned towards the newest, and reviews are those
written before it: vectors that had seen the window would be trusted too much.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler

from models.recommenders.columns import parts
from models.recommenders.events import HALF_LIVES, Events, Histories
from models.recommenders.factors import described, item_vectors, turned, value_vectors
from models.recommenders.settings import TowerSettings
from models.recommenders.told import Told
from models.recommenders.two_tower import (
    PAIR_FEATURES,
    POPULARITY_HALF_LIVES,
    TwoTower,
    pair_features,
    popularity_features,
)
from models.training.fitting import fit
from models.training.parts import Parted
from models.training.settings import ONE, Devices

START = 0.3
"""Of the maps: the towers start as this multiple of the identity, so that alike items attract from the first step."""
BLOCK_ENTRIES = 1 << 20
"""Entries of histories that are summed up at a time."""
BLOCK_ITEMS = 1 << 17
"""Items whose vectors are made at a time."""
POPULAR = 0.3
"""First weight of each popularity."""
BEHAVIOUR, ATTRIBUTES, REVIEWS = "behaviour", "attributes", "reviews"
"""Sources of an item's vectors, beside those that `Content.dense` names."""


Given = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Content:
    """What is known of items without behaviour. dense: name of a source (text, picture) to (n, f) float32. codes:
    (n, columns) int64 codes of attribute values, 0 where empty or rare. sizes: how many codes each column has. told: by
    reviews, None where there are none."""

    dense: Mapping[str, np.ndarray]
    codes: np.ndarray
    sizes: tuple[int, ...]
    told: Told | None = None


@dataclass(frozen=True)
class Window:
    """One cut: histories before it and what each user bought after it.

    day: of the cut. popular: (n, 3) as of the cut.
    """

    day: float
    histories: Histories
    targets: Histories
    popular: np.ndarray

    @cached_property
    def features(self) -> np.ndarray:
        """What r sees of each entry, (P, PAIR_FEATURES): many times what is kept of those who teach."""
        return pair_features(self.histories, self.popular)

    @cached_property
    def bought(self) -> np.ndarray:
        """Whether each entry's item was bought again, (P,)."""
        return self.histories.also_of(self.targets)

    @property
    def learners(self) -> np.ndarray:
        """Positions of the users who bought after the cut and were there before it."""
        return np.flatnonzero(
            (np.diff(self.targets.indptr) > 0) & (np.diff(self.histories.indptr) > 0)
        )

    def taught(self, most: int, seed: int) -> "Window":
        """The same of its learners alone; of more than `most` those who are drawn."""
        users = self.learners
        if len(users) > most:
            users = np.sort(np.random.default_rng(seed).permutation(users)[:most])
        return replace(self, histories=self.histories.take(users), targets=self.targets.take(users))


def windows(
    events: Events, count: int, days: float, everybody: Events | None = None
) -> Iterator[Window]:
    """The last `count` cuts, newest first, made one after the other; the newest window ends at `events.now`.

    everybody: all events, where `events` are those of some users: they tell what is popular.
    Raises `ValueError` where not one cut has events before and after it.
    """
    for at in range(count):
        # The newest event belongs to the newest window.
        end = events.now + 1e-6 - at * days
        window = _window(events, end - days, end, everybody or events)
        if not len(window.learners):
            if at == 0:
                raise ValueError(
                    f"the events span less than two windows of {days} days: nothing to learn from"
                )
            return
        yield window
        del window  # so that there is one at a time


def _window(events: Events, start: float, end: float, everybody: Events) -> Window:
    popular = popularity_features(everybody, start)
    before = events.before(start).histories
    then = events.between(start, end).strongest.histories
    return Window(start, before, then, popular)


@dataclass
class Usual:
    """What training begins with, counted over cuts. active: (A,) positions of the items that take part.

    count, total, squares: of entries, and of their figures, (PAIR_FEATURES,). bought, asked: purchases of these items, and
    pairs of learner and item that there are. popular: the mean of each cut's.
    """

    active: np.ndarray
    count: int = 0
    total: np.ndarray | float = 0.0
    squares: np.ndarray | float = 0.0
    bought: int = 0
    asked: int = 0
    popular: list[float] = field(default_factory=list)

    def add(self, cut: Window) -> None:
        """A cut, of all users. In double precision: single would lose count of millions."""
        count = len(cut.histories.item)
        self.count += count
        for rows in np.array_split(np.arange(count), -(-count // BLOCK_ENTRIES) or 1):
            wide = pair_features(cut.histories.some(rows), cut.popular).astype(np.float64)
            self.total = self.total + wide.sum(0)
            self.squares = self.squares + (wide**2).sum(0)
        self.bought += int(np.isin(cut.targets.item, self.active).sum())
        self.asked += len(cut.learners) * max(len(self.active), 1)
        chosen = cut.popular[self.active].sum(1)
        self.popular.append(float(chosen.mean()) if len(chosen) else 0.0)

    @property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the figures of entries, (PAIR_FEATURES,) float32."""
        mean = np.asarray(self.total) / max(self.count, 1)
        variance = np.asarray(self.squares) / max(self.count, 1) - mean**2
        deviation = np.sqrt(np.maximum(variance, 0.0))
        return mean.astype(np.float32), deviation.astype(np.float32)

    @property
    def bias(self) -> float:
        """With which the first scores are right on average: log odds less what popularity adds."""
        share = (self.bought + 1.0) / (self.asked + 2.0)
        return float(np.log(share / (1.0 - share)) - POPULAR * np.mean(self.popular))


@dataclass
class Batch:
    """B users at one cut. A active items, P entries of histories, T bought items.

    row, place: (P,) user in the batch, position among the active items or -1. decayed: (P, H). features:
    (P, PAIR_FEATURES). own: (P, 3) popularity of the entry's item. bought: (P,) 0 or 1. target_row, target_place: (T,).
    popular: (A, 3). given: source to (A, f), as of the cut. taken: of a part, which entries of the whole batch it has,
    and how many that has.
    """

    size: int
    row: torch.Tensor
    place: torch.Tensor
    decayed: torch.Tensor
    features: torch.Tensor
    own: torch.Tensor
    bought: torch.Tensor
    target_row: torch.Tensor
    target_place: torch.Tensor
    popular: torch.Tensor
    given: Given
    taken: tuple[torch.Tensor, int] | None = None

    def part(self, rows: slice) -> "Batch":
        """The batch of these users alone."""
        entry = (self.row >= rows.start) & (self.row < rows.stop)
        target = (self.target_row >= rows.start) & (self.target_row < rows.stop)
        return replace(
            self,
            size=rows.stop - rows.start,
            row=self.row[entry] - rows.start,
            place=self.place[entry],
            decayed=self.decayed[entry],
            features=self.features[entry],
            own=self.own[entry],
            bought=self.bought[entry],
            target_row=self.target_row[target] - rows.start,
            target_place=self.target_place[target],
            taken=(entry, len(entry)),
        )

    def drawn(self) -> torch.Tensor:
        """(P,) numbers from 0 to 1, drawn for the whole batch."""
        if self.taken is None:
            return torch.rand(len(self.row), device=self.row.device)
        entry, whole = self.taken
        return torch.rand(whole, device=self.row.device)[entry]


class Batches(Dataset[Batch]):
    """(cut, users) to `Batch`. given: of each cut, for the active items. active: (A,) positions of items."""

    def __init__(
        self, cuts: list[Window], given: list[Given], active: np.ndarray, items: int
    ) -> None:
        self.cuts, self.given = cuts, given
        self.places = np.full(items, -1)
        self.places[active] = np.arange(len(active))
        self.popular = [torch.from_numpy(cut.popular[active]) for cut in cuts]

    def __getitem__(self, key: tuple[int, np.ndarray]) -> Batch:
        at, users = key
        cut = self.cuts[at]
        entries = cut.histories.entries(users)
        past, then = cut.histories.take(users), cut.targets.take(users)
        target = self.places[then.item]
        known = target >= 0
        return Batch(
            size=len(users),
            row=torch.from_numpy(past.owner),
            place=torch.from_numpy(self.places[past.item]),
            decayed=torch.from_numpy(past.decayed),
            features=torch.from_numpy(cut.features[entries]),
            own=torch.from_numpy(cut.popular[past.item]),
            bought=torch.from_numpy(cut.bought[entries].astype(np.float32)),
            target_row=torch.from_numpy(then.owner[known]),
            target_place=torch.from_numpy(target[known]),
            popular=self.popular[at],
            given=self.given[at],
        )


class Draws(Sampler[tuple[int, np.ndarray]]):
    """All learners of all cuts once an epoch, a batch from one cut, in an order that the seed fixes."""

    def __init__(self, cuts: list[Window], size: int, seed: int) -> None:
        self.learners = [cut.learners for cut in cuts]
        self.size = size
        self.random = np.random.default_rng(seed)

    def __len__(self) -> int:
        return sum(-(-len(users) // self.size) for users in self.learners)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        batches = [
            (at, users)
            for at, everyone in enumerate(self.learners)
            for users in np.array_split(
                self.random.permutation(everyone), -(-len(everyone) // self.size)
            )
        ]
        for place in self.random.permutation(len(batches)):
            yield batches[place]


def sources(
    histories: Histories,
    day: float,
    active: np.ndarray,
    content: Content | None,
    behaviour: bool,
    settings: TowerSettings,
    seed: int,
    newest: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """What is given of all items as of these histories, which end at `day`: source to (items, f).

    behaviour: whether that is a source. newest: what it is today, towards which singular vectors are turned.
    """
    found = {}
    if behaviour:
        found[BEHAVIOUR] = item_vectors(histories, active, settings.dim, seed)
    if content is not None and len(content.sizes):
        values = value_vectors(histories, content.codes, content.sizes, settings.dim, seed)
        found[ATTRIBUTES] = described(values, content.codes, content.sizes)
    if newest is not None:
        found = {name: turned(values, newest[name]) for name, values in found.items()}
    if content is not None:
        found |= content.dense
        if content.told is not None:
            found[REVIEWS] = content.told.until(day, histories.items)
    return found


class Tower(nn.Module):
    """Item vectors (n, d): the sum of a linear map of each source."""

    def __init__(self, widths: Mapping[str, int], settings: TowerSettings) -> None:
        super().__init__()
        self.drop = settings.drop
        self.maps = nn.ModuleDict(
            {name: nn.Linear(width, settings.dim, bias=False) for name, width in widths.items()}
        )
        with torch.no_grad():
            for weight in self.maps.parameters():
                nn.init.eye_(weight).mul_(START)

    def forward(self, given: Given, without: str = "") -> torch.Tensor:
        """(n, d). given: source to (n, f). without: a source that is left out."""
        found = {name: self.maps[name](given[name]) for name in self.maps if name != without}
        if self.training and self.drop and BEHAVIOUR in found:
            kept = torch.rand(len(found[BEHAVIOUR]), 1, device=found[BEHAVIOUR].device) >= self.drop
            found[BEHAVIOUR] = found[BEHAVIOUR] * kept
        return torch.stack(list(found.values())).sum(0)


class Network(Parted):
    """The model of `two_tower`, as a module to train."""

    sharded = True

    def __init__(self, widths: Mapping[str, int], usual: Usual, settings: TowerSettings) -> None:
        super().__init__()
        self.settings = settings
        self.tower_in, self.tower_out = Tower(widths, settings), Tower(widths, settings)
        self.mix = nn.Parameter(torch.zeros(len(HALF_LIVES)))
        self.popular = nn.Parameter(torch.full((len(POPULARITY_HALF_LIVES),), POPULAR))
        self.bias = nn.Parameter(torch.tensor([usual.bias], dtype=torch.float32))
        self.mean: torch.Tensor
        self.scale: torch.Tensor
        mean, deviation = usual.moments
        scale = 1.0 / np.maximum(deviation, np.float32(1e-3))
        self.register_buffer("mean", torch.from_numpy(mean), persistent=False)
        self.register_buffer("scale", torch.from_numpy(scale), persistent=False)
        self.again = nn.Sequential(
            nn.Linear(PAIR_FEATURES, settings.hidden),
            nn.SiLU(),
            nn.Linear(settings.hidden, settings.hidden),
            nn.SiLU(),
            nn.Linear(settings.hidden, 1),
        )

    def training_step(self, batch: Batch, at: int) -> torch.Tensor:
        whole = batch.size
        if self.part.of > 1:
            batch = batch.part(self.part.rows(whole))
        again = self.again((batch.features - self.mean) * self.scale)[:, 0].float()
        inside = batch.place >= 0
        row, place = batch.row[inside], batch.place[inside]
        scores = self.users(batch, inside) @ self.tower_out(batch.given).T
        scores = scores + (batch.popular @ self.popular + self.bias)
        scores = scores.index_put((row, place), again[inside], accumulate=True)
        loss = functional.softplus(scores).sum()
        loss = loss - scores[batch.target_row, batch.target_place].sum()
        # Rare items take part where the user has them: r must order them too.
        rare = again[~inside] + batch.own[~inside] @ self.popular + self.bias
        loss = loss + functional.softplus(rare).sum() - (rare * batch.bought[~inside]).sum()
        loss = loss / whole * self.part.share(whole)
        self.tell("loss", loss, whole)
        return loss

    def users(self, batch: Batch, inside: torch.Tensor) -> torch.Tensor:
        """(B, d)."""
        weight = torch.log1p(batch.decayed @ functional.softplus(self.mix))
        weight = weight * (batch.drawn() >= self.settings.dropout)
        vectors = self.tower_in(batch.given)
        moved = weight[inside, None] * vectors[batch.place[inside]]
        total = moved.new_zeros(batch.size, moved.shape[1]).index_add(0, batch.row[inside], moved)
        mass = weight.new_zeros(batch.size).index_add(0, batch.row, weight)
        return total / torch.sqrt(mass + 1.0)[:, None]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        maps = [*self.tower_in.parameters(), *self.tower_out.parameters()]
        mapped = {id(one) for one in maps}
        others = [one for one in self.parameters() if id(one) not in mapped]
        optimizer = torch.optim.AdamW(
            [
                {"params": others, "weight_decay": 0.0},
                {"params": maps, "weight_decay": self.settings.decay},
            ]
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.settings.rate, total_steps=int(self.trainer.estimated_stepping_batches)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def weights(self) -> dict[str, np.ndarray]:
        """What `TwoTower.weights` holds; the scaling of r's inputs goes into its first layer."""
        found = {
            "mix": self.mix.numpy(),
            "popular": self.popular.numpy(),
            "bias": self.bias.numpy(),
        }
        layers = [one for one in self.again if isinstance(one, nn.Linear)]
        for at, layer in enumerate(layers, start=1):
            found[f"w{at}"], found[f"b{at}"] = layer.weight.numpy().T, layer.bias.numpy()
        found["b1"] = found["b1"] - (self.mean * self.scale).numpy() @ found["w1"]
        found["w1"] = self.scale.numpy()[:, None] * found["w1"]
        return {name: np.ascontiguousarray(value) for name, value in found.items()}


def train(
    kind: type[TwoTower],
    events: Events,
    content: Content | None,
    behaviour: bool,
    settings: TowerSettings,
    k: int,
    seed: int,
    report: Callable[[float, str], None] = lambda done, what: None,
    devices: Devices = ONE,
) -> tuple[TwoTower, dict[str, TwoTower], dict[str, list[float]]]:
    """Fit a recommender of `kind` on all of `events`.

    content: None for behaviour alone; behaviour: False for content alone. Returns the model, the same model without each of its sources where it has
    several, and its loss by epoch. Raises `ValueError` where the events are too few.
    """
    torch.manual_seed(seed)
    some, items = events.drawn(settings.most_events, seed), len(events.items)
    histories = Histories.from_events(some)  # which `some` would keep
    buyers = np.bincount(histories.item, minlength=items)
    active = buyers >= settings.buyers
    newest = sources(histories, events.now, active, content, behaviour, settings, seed)
    del histories
    most = np.argsort(-buyers[active], kind="stable")[: settings.most_items]
    positions = np.sort(np.flatnonzero(active)[most])
    cuts: list[Window] = []
    at_cuts: list[Given] = []
    usual = Usual(positions)
    for cut in windows(some, settings.windows, settings.window_days, events):
        past, day = cut.histories, cut.day
        then = sources(past, day, active, content, behaviour, settings, seed, newest)
        at_cuts.append({name: torch.from_numpy(values[positions]) for name, values in then.items()})
        usual.add(cut)
        cuts.append(cut.taught(settings.most_users, seed + len(cuts)))
        del cut, past, then
    widths = {name: values.shape[1] for name, values in newest.items()}
    network = Network(widths, usual, settings)
    loader = DataLoader(
        Batches(cuts, at_cuts, positions, items),
        batch_size=None,
        sampler=Draws(cuts, settings.batch, seed),
        collate_fn=lambda batch: batch,
    )
    curves = fit(network, loader, epochs=settings.epochs, seed=seed, report=report, devices=devices)
    weights = network.weights()

    def given_of_items() -> Iterator[Given]:
        for part in parts(items, BLOCK_ITEMS):
            yield {name: torch.from_numpy(values[part]) for name, values in newest.items()}

    def made(without: str) -> TwoTower:
        with torch.inference_mode():
            vectors = [
                np.concatenate([tower(some, without).numpy() for some in given_of_items()])
                for tower in (network.tower_in, network.tower_out)
            ]
        return kind(
            items=events.items,
            vectors_in=vectors[0],
            vectors_out=vectors[1],
            weights=weights,
            popular=popularity_features(events),
            known=events,
            k=k,
        )

    ablated = {name: made(name) for name in newest} if len(newest) > 1 else {}
    return made(""), ablated, curves

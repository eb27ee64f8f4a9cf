"""How the sequential recommender is trained: the next item of every place, by a softmax over sampled items.

The sampled items are shared by a batch; their logits are corrected by how often they are drawn, so that the loss estimates
the softmax over all items. Sources: Jean et al. (2015), On using very large target vocabulary; Klenitskiy and Vasilev (2023),
Turning dross into gold loss: is BERT4Rec really better than SASRec? (full softmax makes SASRec strong).
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import scipy.sparse as sp
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from scipy.sparse.linalg import svds
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

from models.arrays import load_arrays, state_arrays
from models.recommenders.events import Events
from models.recommenders.sequential import Attention, Sequential
from models.recommenders.settings import SequenceSettings
from models.training.fitting import fit
from models.training.parts import Parted
from models.training.settings import ONE, Devices

WINDOW = 5
"""Items this near one another in a history belong together."""
LENGTH = 0.5
"""Root mean square of the first vectors' lengths."""
UNKNOWN = -1e4
"""Bias of items that were not learnt."""


class Batches(IterableDataset[tuple[torch.Tensor, ...]]):
    """Batches of sequences of alike length: input (B, L), target (B, L) with -1 behind the end. items: numbers."""

    def __init__(self, events: Events, known: np.ndarray, settings: SequenceSettings, seed: int):
        sizes = np.bincount(events.user, minlength=len(events.users))
        ends = np.cumsum(sizes)
        starts = []
        for first, end in zip((ends - sizes)[sizes > 1], ends[sizes > 1], strict=True):
            # Long histories are cut into pieces, counted from the end.
            starts += [
                (max(first, at - settings.length - 1), at)
                for at in range(end, first + 1, -settings.length)
            ]
        self.spans = np.array(starts, dtype=np.int64).reshape(-1, 2)
        self.item, self.settings, self.seed, self.epoch = known[events.item], settings, seed, 0

    def __len__(self) -> int:
        return sum(1 for _ in self._groups(np.random.default_rng(self.seed)))

    def _groups(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        lengths = self.spans[:, 1] - self.spans[:, 0] - 1
        order = np.lexsort((rng.random(len(lengths)), lengths))
        start = 0
        while start < len(order):
            end = start + 1
            while (
                end < len(order) and (end - start + 1) * lengths[order[end]] <= self.settings.places
            ):
                end += 1
            yield order[start:end]
            start = end

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        self.epoch += 1
        groups = list(self._groups(rng))
        for at in rng.permutation(len(groups)):
            spans = self.spans[groups[at]]
            width = int((spans[:, 1] - spans[:, 0]).max())
            places = spans[:, :1] + np.arange(width)
            inside = places < spans[:, 1:]
            items = np.where(inside, self.item[np.minimum(places, len(self.item) - 1)], -1)
            yield torch.from_numpy(np.maximum(items[:, :-1], 0)), torch.from_numpy(items[:, 1:])


class Network(Parted):
    """Item vectors, attention, sampled softmax."""

    sharded = True

    def __init__(
        self, counts: np.ndarray, vectors: np.ndarray, settings: SequenceSettings, seed: int
    ) -> None:
        super().__init__()
        self.settings = settings
        n, dim = len(counts), settings.dim
        self.free = nn.Embedding(n, dim)
        self.free.weight.data = torch.from_numpy(vectors)
        self.bias = nn.Parameter(torch.zeros(n))
        self.attention = Attention(
            dim, settings.heads, settings.blocks, settings.length, settings.dropout
        )
        # Half by popularity, half at random.
        chance = 0.5 * counts / counts.sum() + 0.5 / n
        self.chance = torch.from_numpy(chance.astype(np.float64))
        self.generator = torch.Generator().manual_seed(seed)

    def begin(self, start: Sequential, active: np.ndarray) -> None:
        """Go on from `start`, whose items (n,) are these at the positions `active`; new ones begin as they are."""
        kept = start.bias[active] > UNKNOWN
        with torch.no_grad():
            self.free.weight[torch.from_numpy(kept)] = torch.from_numpy(start.vectors[active[kept]])
            self.bias[torch.from_numpy(kept)] = torch.from_numpy(start.bias[active[kept]])
        load_arrays(self.attention, dict(start.weights)).train()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], at: int) -> torch.Tensor:
        rows, places = len(batch[0]), int((batch[1] >= 0).sum())
        mine = self.part.rows(rows)
        given, wanted = (values[mine] for values in batch)
        with self.part.as_one(rows):
            states = functional.dropout(self.free(given), self.settings.dropout, self.training)
            states = self.attention(states)
        there = wanted >= 0
        states, wanted = states[there], wanted[there]
        loss = self.part.mean(partial(self.cost, states, wanted), rows, places)
        self.tell("loss", loss, places)
        return loss

    def cost(self, states: torch.Tensor, wanted: torch.Tensor, reduced: str) -> torch.Tensor:
        """Of the items wanted (m,) after the states (m, d): the `mean` or `sum`. What is drawn is drawn for all parts."""
        n = len(self.bias)
        if n <= self.settings.sampled:
            logits = states @ self.free.weight.T + self.bias
            return functional.cross_entropy(logits, wanted, reduction=reduced)
        drawn = torch.multinomial(
            self.chance, self.settings.sampled, replacement=True, generator=self.generator
        )
        often = torch.log(self.chance[drawn] * self.settings.sampled).float().to(self.device)
        drawn = drawn.to(self.device)
        logits = states @ self.free(drawn).T + (self.bias[drawn] - often)
        logits = logits.masked_fill(wanted[:, None] == drawn[None, :], -torch.inf)
        true = (states * self.free(wanted)).sum(1) + self.bias[wanted]
        apart = torch.logaddexp(torch.logsumexp(logits, 1), true) - true
        return apart.mean() if reduced == "mean" else apart.sum()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = torch.optim.AdamW(self.parameters(), weight_decay=self.settings.decay)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.settings.rate, total_steps=steps, pct_start=0.1
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def together(events: Events, known: np.ndarray, n: int, dim: int, seed: int) -> np.ndarray:
    """Vectors (n, dim) float32 to begin with: singular ones of how much oftener than by chance items follow one another.

    Source: Levy and Goldberg (2014), Neural word embedding as implicit matrix factorization.
    """
    start = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32) * 0.02
    if n <= 2 * dim:
        return start
    item = known[events.item]
    pairs = sp.csr_matrix((n, n), dtype=np.float64)
    for step in range(1, WINDOW + 1):
        same = events.user[:-step] == events.user[step:]
        ends = item[:-step][same], item[step:][same]
        pairs = pairs + sp.csr_matrix((np.full(len(ends[0]), 1.0 / step), ends), shape=(n, n))
    pairs = (pairs + pairs.T).tocoo()
    mass = np.maximum(np.asarray(pairs.sum(1)).ravel(), 1e-9) ** 0.75
    chance = mass[pairs.row] * mass[pairs.col] / mass.sum()
    data = np.log(np.maximum(pairs.data / np.maximum(chance, 1e-12), 1.0))
    matrix = sp.csr_matrix((data, (pairs.row, pairs.col)), shape=(n, n))
    if matrix.nnz < n:
        return start
    left, values, _ = svds(matrix, k=dim, v0=start[:, 0].astype(np.float64))
    found = (left * np.sqrt(values)).astype(np.float32)
    return found * (LENGTH / max(float(np.sqrt((found**2).sum(1).mean())), 1e-9)) + start


def train(
    events: Events,
    settings: SequenceSettings,
    seed: int,
    start: Sequential | None = None,
    devices: Devices = ONE,
) -> Sequential:
    """Fit on the order of `events`. start: a model of a part of them, from which a third of the epochs go on."""
    torch.manual_seed(seed)
    counts = np.bincount(events.item, minlength=len(events.items))
    active = np.flatnonzero(counts)
    known = np.full(len(counts), -1, dtype=np.int64)
    known[active] = np.arange(len(active))
    vectors = together(events, known, len(active), settings.dim, seed)
    network = Network(counts[active].astype(np.float64), vectors, settings, seed)
    epochs = max(min(settings.epochs, settings.budget // max(len(events.item), 1)), 1)
    if start is not None:
        epochs = -(-epochs // 3)
        network.begin(start, active)
    batches = Batches(events, known, settings, seed)
    if len(batches.spans):
        loader = DataLoader(batches, batch_size=None)
        fit(network, loader, epochs=epochs, seed=seed, clip=1.0, devices=devices)
    found = np.zeros((len(counts), settings.dim), dtype=np.float32)
    bias = np.full(len(counts), UNKNOWN, dtype=np.float32)
    found[active] = network.free.weight.detach().numpy()
    bias[active] = network.bias.detach().numpy()
    shape = (settings.dim, settings.heads, settings.blocks, settings.length)
    return Sequential(events.items, found, bias, state_arrays(network.attention), shape)

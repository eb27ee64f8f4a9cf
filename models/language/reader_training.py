"""Fitting of the reader with Lightning on questions whose answers are marked."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch.utils.data import DataLoader, IterableDataset

from models.language.reader import Net, Passage, SpanReader, stacked
from models.language.settings import ReaderSettings
from models.training import batches_by_length, fit, two_paced

SPAN_WEIGHT = 0.5
CHUNK = 8
"""Batches whose passages are sorted by length together, so that little is padded."""


@dataclass(frozen=True)
class Example:
    """A question with a text. spans: of the answers that were marked in it; none: it holds no answer."""

    question: str
    text: str
    spans: tuple[tuple[int, int], ...]


class Fitting(pl.LightningModule):
    """Cross-entropy of beginning and end where there is an answer, and of there being one."""

    def __init__(self, net: Net, settings: ReaderSettings, steps: int) -> None:
        super().__init__()
        self.net, self.settings, self.steps = net, settings, steps

    def training_step(self, batch: tuple[torch.Tensor, ...], at: int) -> torch.Tensor:
        tokens, segments, mask, begins, stops = batch
        starts, ends, relevance = self.net(tokens, segments, mask)
        marked = begins.sum(1)
        apart = (begins * starts.log_softmax(1)).sum() + (stops * ends.log_softmax(1)).sum()
        told = torch.nn.functional.binary_cross_entropy_with_logits(relevance, marked)
        loss = told - SPAN_WEIGHT * apart / marked.sum().clamp(min=1)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(tokens))
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        old = [value for value in self.net.bert.encoder.parameters() if value.requires_grad]
        old += [*self.net.pooler.parameters(), *self.net.relevance.parameters()]
        new = list(self.net.span.parameters())
        rates = (self.settings.rate, 10 * self.settings.rate)
        return two_paced(old, new, rates, self.steps)


class Batches(IterableDataset[tuple[torch.Tensor, ...]]):
    """Batches of passages of about one length, in a new order each epoch."""

    def __init__(
        self, passages: Sequence[Passage], targets: Sequence[np.ndarray], batch: int, seed: int
    ) -> None:
        self.passages, self.targets, self.batch = passages, targets, batch
        self.lengths = np.asarray([len(one.ids) for one in passages])
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return -(-len(self.passages) // self.batch)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        for rows in batches_by_length(self.lengths, self.batch, CHUNK, self.rng):
            tokens, segments, mask = stacked([self.passages[row] for row in rows])
            targets = torch.zeros((2, *tokens.shape))
            for place, row in enumerate(rows):
                targets[:, place, : len(self.passages[row].ids)] = torch.from_numpy(
                    self.targets[row]
                )
            yield tokens, segments, mask, targets[0], targets[1]


def target(passage: Passage, spans: Sequence[tuple[int, int]]) -> np.ndarray:
    """(2, t) float32: how the marked answers' beginnings and ends are spread over the pieces; sums 1 or 0."""
    table = np.zeros((2, len(passage.ids)), dtype=np.float32)
    left, right = passage.places.T
    for start, end in spans:
        inside = np.flatnonzero((left >= 0) & (right > start) & (left < end))
        if len(inside):
            table[0, inside[0]] += 1
            table[1, inside[-1]] += 1
    return table / np.maximum(table.sum(1, keepdims=True), 1)


def train(
    reader: SpanReader,
    examples: Sequence[Example],
    settings: ReaderSettings,
    seed: int,
    report: Callable[[float, str], None] = lambda done, what: None,
) -> list[float]:
    """Fit `reader` in place on `examples`; its losses by epoch."""
    pl.seed_everything(seed, workers=True, verbose=False)
    passages = [reader.passage(one.question, one.text, one.spans) for one in examples]
    targets = [target(one, example.spans) for one, example in zip(passages, examples, strict=True)]
    net = reader.net
    fixed = ("bert.embeddings.", *(f"bert.encoder.layer.{at}." for at in range(settings.frozen)))
    for name, value in net.named_parameters():
        value.requires_grad_(not name.startswith(fixed))
    batches = Batches(passages, targets, settings.batch, seed)
    net.train()
    curves = fit(
        Fitting(net, settings, settings.epochs * len(batches)),
        DataLoader(batches, batch_size=None),
        epochs=settings.epochs,
        seed=seed,
        report=report,
        clip=1.0,
    )
    return curves["train_loss"]

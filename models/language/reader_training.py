"""Fitting of the reader with Lightning on questions whose answers are marked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch.utils.data import DataLoader

from models.language.reader import Net, Passage, SpanReader, stacked
from models.language.settings import ReaderSettings
from models.training.fitting import BatchesByLength, fit, two_paced
from models.training.parts import Parted
from models.training.settings import ONE, Devices

SPAN_WEIGHT = 0.5


@dataclass(frozen=True)
class Example:
    """A question with a text. spans: of the answers that were marked in it; none: it holds no answer."""

    question: str
    text: str
    spans: tuple[tuple[int, int], ...]


class Fitting(Parted):
    """Cross-entropy of beginning and end where there is an answer, and of there being one."""

    def __init__(self, net: Net, settings: ReaderSettings, steps: int) -> None:
        super().__init__()
        self.net, self.settings, self.steps = net, settings, steps

    def training_step(self, batch: tuple[torch.Tensor, ...], at: int) -> torch.Tensor:
        rows, answered = len(batch[0]), batch[3].sum().clamp(min=1)
        mine = self.part.rows(rows)
        tokens, segments, mask, begins, stops = (values[mine] for values in batch)
        with self.part.as_one(rows):
            starts, ends, relevance = self.net(tokens, segments, mask)
        apart = (begins * starts.log_softmax(1)).sum() + (stops * ends.log_softmax(1)).sum()
        told = partial(_told, relevance, begins.sum(1))
        loss = self.part.mean(told, rows, rows)
        loss = loss - SPAN_WEIGHT * apart / answered * self.part.share(rows)
        self.tell("train_loss", loss, rows)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        old = [value for value in self.net.bert.encoder.parameters() if value.requires_grad]
        old += [*self.net.pooler.parameters(), *self.net.relevance.parameters()]
        new = list(self.net.span.parameters())
        rates = (self.settings.rate, 10 * self.settings.rate)
        return two_paced(old, new, rates, self.steps)


def _told(relevance: torch.Tensor, marked: torch.Tensor, reduced: str) -> torch.Tensor:
    return torch.nn.functional.binary_cross_entropy_with_logits(
        relevance, marked, reduction=reduced
    )


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
    devices: Devices = ONE,
) -> list[float]:
    """Fit `reader` in place on `examples`; its losses by epoch."""
    pl.seed_everything(seed, workers=True, verbose=False)
    passages = [reader.passage(one.question, one.text, one.spans) for one in examples]
    targets = [target(one, example.spans) for one, example in zip(passages, examples, strict=True)]
    net = reader.net
    fixed = ("bert.embeddings.", *(f"bert.encoder.layer.{at}." for at in range(settings.frozen)))
    for name, value in net.named_parameters():
        value.requires_grad_(not name.startswith(fixed))

    def made(rows: np.ndarray) -> tuple[torch.Tensor, ...]:
        tokens, segments, mask = stacked([passages[row] for row in rows])
        wanted = torch.zeros((2, *tokens.shape))
        for place, row in enumerate(rows):
            wanted[:, place, : len(passages[row].ids)] = torch.from_numpy(targets[row])
        return tokens, segments, mask, wanted[0], wanted[1]

    batches = BatchesByLength([len(one.ids) for one in passages], settings.batch, seed, made)
    net.train()
    curves = fit(
        Fitting(net, settings, settings.epochs * len(batches)),
        DataLoader(batches, batch_size=None),
        epochs=settings.epochs,
        seed=seed,
        report=report,
        clip=1.0,
        devices=devices,
    )
    return curves["train_loss"]

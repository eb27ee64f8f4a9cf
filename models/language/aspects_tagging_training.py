"""Fitting of the labels of names with Lightning, on marked sentences."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch.utils.data import DataLoader

from models.encoders.text import TextEncoder
from models.encoders.tuned import Cutter, Pieces, padded
from models.language.aspects_marks import Marked, joined
from models.language.aspects_tagging import BEGINS, OUTSIDE, Net, TagFinder
from models.language.lexicon import Lexicon
from models.language.settings import TaggingSettings
from models.training.fitting import BatchesByLength, fit, two_paced
from models.training.parts import Parted
from models.training.settings import ONE, Devices

UNHEARD = -100
"""The label of the pieces of the frame, which teach nothing."""


class Fitting(Parted):
    """Cross-entropy of the labels of all pieces."""

    def __init__(self, net: Net, settings: TaggingSettings, steps: int) -> None:
        super().__init__()
        self.net, self.settings, self.steps = net, settings, steps

    def training_step(self, batch: tuple[torch.Tensor, ...], at: int) -> torch.Tensor:
        rows, heard = len(batch[0]), int((batch[2] != UNHEARD).sum())
        mine = self.part.rows(rows)
        hidden, mask, labels = (values[mine] for values in batch)
        with self.part.as_one(rows):
            logits = self.net.told(hidden, mask)
        cost = partial(_cost, logits.flatten(0, 1), labels.flatten())
        loss = self.part.mean(cost, rows, heard)
        self.tell("train_loss", loss, rows)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        old = [value for value in self.net.bert.parameters() if value.requires_grad]
        rates = (self.settings.rate, 10 * self.settings.rate)
        return two_paced(old, self.net.labels.parameters(), rates, self.steps)


def _cost(logits: torch.Tensor, labels: torch.Tensor, reduced: str) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(
        logits, labels, ignore_index=UNHEARD, reduction=reduced
    )


def labels_of(pieces: Pieces, marked: Marked) -> np.ndarray:
    """(t,) int64: the label of each piece of a marked sentence.

    >>> sentence = Marked("the big screen", ((4, 14, True),))
    >>> places = np.array([[-1, -1], [0, 3], [4, 7], [8, 14], [-1, -1]])
    >>> labels_of(Pieces(np.zeros(5, np.int64), places), sentence).tolist()
    [-100, 0, 1, 2, -100]
    """
    left, right = pieces.places.T
    labels = np.where(left < 0, UNHEARD, OUTSIDE)
    for start, end, praised in marked.names:
        here = (left < end) & (right > start)
        labels[here] = np.where(left[here] <= start, BEGINS[praised], BEGINS[praised] + 1)
    return labels


def train(
    encoder: TextEncoder,
    sentences: Sequence[Marked],
    lexicon: Lexicon,
    spaced: bool,
    settings: TaggingSettings,
    seed: int,
    report: Callable[[float, str], None] = lambda done, what: None,
    devices: Devices = ONE,
) -> TagFinder:
    """What finds names as `sentences` have them marked. lexicon, spaced: see `TagFinder`.

    Raises `ValueError` for an encoder that is no BERT.
    """
    pl.seed_everything(seed, workers=True, verbose=False)
    net = Net(encoder, settings.frozen)
    cutter = Cutter(encoder)
    # Each epoch has its own, and so is read once.
    sentences = [
        one for epoch in range(settings.epochs) for one in joined(sentences, spaced, seed + epoch)
    ]
    pieces = cutter([one.text for one in sentences])
    labels = [labels_of(one, told) for one, told in zip(pieces, sentences, strict=True)]
    hidden = net.known_of(pieces)
    for layer in net.learning:
        layer.requires_grad_(True)

    def made(rows: np.ndarray) -> tuple[torch.Tensor, ...]:
        batch, mask = padded([hidden[row] for row in rows])
        wanted, _ = padded([torch.from_numpy(labels[row]) for row in rows], UNHEARD)
        return batch, mask, wanted

    batches = BatchesByLength([len(one.ids) for one in pieces], settings.batch, seed, made)
    net.train()
    fit(
        Fitting(net, settings, len(batches)),
        DataLoader(batches, batch_size=None),
        epochs=1,
        seed=seed,
        report=report,
        clip=1.0,
        devices=devices,
    )
    return TagFinder(net.eval(), cutter, lexicon, settings.sure, spaced)

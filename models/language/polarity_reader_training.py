"""Fitting of the reader of polarity with Lightning, on labelled texts or aspects."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch.utils.data import DataLoader

from models.encoders.text import TextEncoder
from models.language.polarity_reader import Net, PolarityReader, inside_of, joined, learned
from models.language.settings import PolarityReaderSettings
from models.training.fitting import BatchesByLength, fit, two_paced
from models.training.parts import Parted
from models.training.settings import ONE, Devices


class Fitting(Parted):
    """Cross-entropy of the classes."""

    def __init__(self, net: Net, settings: PolarityReaderSettings, steps: int) -> None:
        super().__init__()
        self.net, self.settings, self.steps = net, settings, steps

    def training_step(self, batch: tuple[torch.Tensor, ...], at: int) -> torch.Tensor:
        rows = len(batch[0])
        hidden, inside, mask, truth = (values[self.part.rows(rows)] for values in batch)
        with self.part.as_one(rows):
            logits = self.net.told(hidden, inside, mask)
        loss = self.part.mean(partial(_cost, logits, truth), rows, rows)
        self.tell("train_loss", loss, rows)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        old = [value for layer in self.net.learning for value in layer.parameters()]
        new = [self.net.mark, *self.net.middle.parameters(), *self.net.classes.parameters()]
        rates = (self.settings.rate, 10 * self.settings.rate)
        return two_paced(old, new, rates, self.steps)


def _cost(logits: torch.Tensor, truth: torch.Tensor, reduced: str) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits, truth, reduction=reduced)


def train(
    encoder: TextEncoder,
    texts: Sequence[str],
    spans: np.ndarray,
    truth: np.ndarray,
    classes: int,
    settings: PolarityReaderSettings,
    seed: int,
    report: Callable[[float, str], None] = lambda done, what: None,
    devices: Devices = ONE,
    start: PolarityReader | None = None,
) -> PolarityReader:
    """What tells the class of the aspect at `spans` (n, 2) of `texts` (n,) as `truth` (n,), of 0 to `classes`, has it.

    start: what it begins with, of the same encoder, but for the classes. Raises `ValueError` for an encoder that is no BERT.
    """
    pl.seed_everything(seed, workers=True, verbose=False)
    net = Net(encoder, settings.frozen, classes)
    reader = PolarityReader(net, encoder)
    if start is not None:
        old = {name: value for name, value in learned(start.net) if not name.startswith("classes.")}
        net.load_state_dict({**net.state_dict(), **old})
    place = {text: at for at, text in enumerate(dict.fromkeys(texts))}
    pieces = reader.cutter(list(place))
    hidden = net.known_of(pieces)
    at = [place[text] for text in texts]
    inside = [inside_of(pieces[row], span) for row, span in zip(at, spans, strict=True)]
    for layer in net.learning:
        layer.requires_grad_(True)

    def made(rows: np.ndarray) -> tuple[torch.Tensor, ...]:
        batch = joined([hidden[at[row]] for row in rows], [inside[row] for row in rows])
        return *batch, torch.from_numpy(truth[rows])

    batches = BatchesByLength([len(one) for one in inside], settings.batch, seed, made)
    net.train()
    fit(
        Fitting(net, settings, settings.epochs * len(batches)),
        DataLoader(batches, batch_size=None),
        epochs=settings.epochs,
        seed=seed,
        report=report,
        clip=1.0,
        devices=devices,
    )
    with torch.no_grad():
        for _, value in learned(net):
            # As it is kept, so that a stored reader says the same.
            value.copy_(value.half().float())
    return reader

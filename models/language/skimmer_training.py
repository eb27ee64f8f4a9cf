"""Fitting of the skimmer with Lightning."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch.utils.data import DataLoader, IterableDataset

from models.encoders.text import TextEncoder
from models.language.skimmer import Net, Skimmer, padded, pieces, tokenizer_of
from models.training import batches_by_length, fit, two_paced


@dataclass(frozen=True)
class Settings:
    """How to fit. rate: of the net; that of the embeddings is a fifth of it. limit: pieces read of a text."""

    epochs: int
    batch: int
    rate: float
    limit: int
    inner: int
    filters: int


SMOOTHING = 0.05
CHUNK = 20
"""Batches whose rows are sorted by length together, so that little is padded."""


class Fitting(pl.LightningModule):
    """Cross-entropy with smoothed labels."""

    def __init__(self, net: Net, settings: Settings, steps: int, classes: int) -> None:
        super().__init__()
        self.net, self.settings, self.steps, self.classes = net, settings, steps, classes

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], at: int) -> torch.Tensor:
        rows, labels = batch
        logits = self.net(rows)
        if self.classes == 2:
            logits = torch.cat([torch.zeros_like(logits), logits], 1)
        loss = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=SMOOTHING)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        known = list(self.net.pieces.parameters())
        new = [
            value for name, value in self.net.named_parameters() if not name.startswith("pieces.")
        ]
        rates = (self.settings.rate / 5, self.settings.rate)
        return two_paced(known, new, rates, self.steps)


class Batches(IterableDataset[tuple[torch.Tensor, ...]]):
    """Batches of rows of about one length, in a new order each epoch, drawn by a generator of its own."""

    def __init__(
        self, rows: Sequence[np.ndarray], truth: np.ndarray, batch: int, seed: int
    ) -> None:
        self.rows, self.truth, self.batch = rows, truth, batch
        self.lengths = np.asarray([len(row) for row in rows])
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for part in batches_by_length(self.lengths, self.batch, CHUNK, self.rng):
            yield padded([self.rows[row] for row in part]), torch.from_numpy(self.truth[part])


def train(
    texts: Sequence[str],
    truth: np.ndarray,
    classes: int,
    encoder: TextEncoder,
    settings: Settings,
    seed: int,
    report: Callable[[float, str], None] = lambda done, what: None,
) -> Skimmer:
    """The skimmer fitted on `texts` (n) of classes `truth` (n,). encoder: whose pieces and embeddings it starts from."""
    pl.seed_everything(seed, workers=True, verbose=False)
    tokenizer, embeddings = encoder.pieces()
    ids = pieces(tokenizer_of(tokenizer), texts, settings.limit)
    counted = np.bincount(np.concatenate([np.zeros(0, np.int64), *ids]), minlength=len(embeddings))
    known = np.flatnonzero(counted >= 2)
    start = embeddings[known].astype(np.float32)
    start = (start - start.mean(0)) / max(float(start.std()), 1e-6)
    net = Net(
        len(known) + 2,
        start.shape[1],
        settings.inner,
        settings.filters,
        Skimmer.SPANS,
        1 if classes == 2 else classes,
    )
    with torch.no_grad():
        net.pieces.weight[:2] = 0
        net.pieces.weight[2:] = torch.from_numpy(start)
    skimmer = Skimmer(tokenizer, known, len(embeddings), settings.limit, net)
    rows = [skimmer.place[row] for row in ids]
    batches = Batches(rows, truth, settings.batch, seed)
    net.train()
    fit(
        Fitting(net, settings, settings.epochs * len(batches), classes),
        DataLoader(batches, batch_size=None),
        epochs=settings.epochs,
        seed=seed,
        report=report,
        clip=1.0,
    )
    return skimmer

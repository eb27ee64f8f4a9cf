"""Fitting of heads over vectors: mixed pairs of examples, best epoch and temperature chosen on validation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from models.training import fit
from models.vision.head import Head, calibrated
from models.vision.loss import masked_loss
from models.vision.settings import HeadSettings

WARM_UP = 0.1
"""Share of the steps in which the rate rises."""
LEAST_STEPS = 24
"""Steps of the shortest schedule."""


@dataclass(frozen=True)
class Examples:
    """vectors (v, d) float32. rows (n,): the vector of each example. labels (n, fields) int64, -1: not known."""

    vectors: np.ndarray
    rows: np.ndarray
    labels: np.ndarray


class Fitting(pl.LightningModule):
    """Cross-entropy over several fields at once; a label of -1 is not known and costs nothing.

    Batches are (rows (B,), labels (B, fields)); the rows are of `train` in training, of `valid` in validation.
    """

    def __init__(
        self, train: torch.Tensor, valid: torch.Tensor, classes: list[int], settings: HeadSettings
    ) -> None:
        super().__init__()
        self.settings = settings
        self.train_vectors, self.valid_vectors = train, valid
        self.drop = nn.Dropout(settings.dropout)
        self.first = nn.Linear(train.shape[1], settings.hidden)
        self.fields = nn.ModuleList(nn.Linear(settings.hidden, count) for count in classes)

    def forward(self, vectors: torch.Tensor) -> list[torch.Tensor]:
        """(B, d) to one (B, classes) a field."""
        hidden = functional.gelu(self.first(self.drop(vectors)), approximate="tanh")
        return [field(self.drop(hidden)) for field in self.fields]

    def training_step(self, batch: list[torch.Tensor], at: int) -> torch.Tensor:
        rows, labels = batch
        vectors = self.train_vectors[rows]
        if not self.settings.mixup:
            loss = masked_loss(self(vectors), labels)
        else:
            strength = torch.tensor(self.settings.mixup)
            share = torch.distributions.Beta(strength, strength).sample()
            other = torch.randperm(len(rows))
            logits = self(share * vectors + (1 - share) * vectors[other])
            loss = share * masked_loss(logits, labels)
            loss = loss + (1 - share) * masked_loss(logits, labels[other])
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=len(rows))
        return loss

    def validation_step(self, batch: list[torch.Tensor], at: int) -> None:
        rows, labels = batch
        loss = masked_loss(self(self.valid_vectors[rows]), labels)
        self.log("valid_loss", loss, batch_size=int((labels >= 0).sum()))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        settings = self.settings
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=settings.rate, weight_decay=settings.decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            settings.rate,
            # Fewer than some steps have no phase of rising.
            total_steps=max(int(self.trainer.estimated_stepping_batches), LEAST_STEPS),
            pct_start=WARM_UP,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def train_heads(
    train: Examples,
    valid: Examples,
    classes: list[int],
    settings: HeadSettings,
    seed: int,
    report: Callable[[float, str], None] = lambda done, what: None,
) -> tuple[list[Head], dict[str, list[float]]]:
    """One head a field on a shared hidden layer, and the losses by epoch.

    Best epoch and each field's temperature are chosen on `valid`; without a known label there the last epoch and 1.
    """
    mean = train.vectors.mean(0)
    scale = 1.0 / (train.vectors.std(0) + 1e-2)

    def tensor(part: Examples) -> torch.Tensor:
        return torch.from_numpy(((part.vectors - mean) * scale).astype(np.float32))

    def loader(part: Examples, shuffle: bool) -> DataLoader[tuple[torch.Tensor, ...]]:
        order = torch.Generator().manual_seed(seed)
        data = TensorDataset(torch.from_numpy(part.rows), torch.from_numpy(part.labels))
        return DataLoader(data, settings.batch, shuffle=shuffle, generator=order)

    torch.manual_seed(seed)
    seen = tensor(train)
    held = seen if valid.vectors is train.vectors else tensor(valid)
    module = Fitting(seen, held, classes, settings)
    judged = bool((valid.labels >= 0).any())
    curves = fit(
        module,
        loader(train, True),
        loader(valid, False) if judged else None,
        epochs=settings.epochs,
        seed=seed,
        report=report,
        monitor="valid_loss" if judged else None,
        patience=settings.epochs,
    )
    heads = []
    for at, field in enumerate(one for one in module.fields if isinstance(one, nn.Linear)):
        head = Head(
            mean=mean,
            scale=scale,
            w1=module.first.weight.numpy().T.copy(),
            b1=module.first.bias.numpy(),
            w2=field.weight.numpy().T.copy(),
            b2=field.bias.numpy(),
            temperature=np.ones(1, np.float32),
        )
        heads.append(calibrated(head, valid.vectors[valid.rows], valid.labels[:, at]))
    return heads, curves

"""Fitting of heads over vectors: mixed pairs of examples, best epoch and temperature chosen on validation."""

from dataclasses import dataclass, replace

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from models.training.fitting import fit
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

    def part(self, chosen: np.ndarray) -> "Examples":
        """The chosen examples, (n,) booleans, over the same vectors."""
        return Examples(self.vectors, self.rows[chosen], self.labels[chosen])


class Fitting(pl.LightningModule):
    """Cross-entropy over several fields at once; a label of -1 is not known and costs nothing.

    Batches are (rows (B,) of `vectors`, labels (B, fields)).
    """

    def __init__(self, vectors: torch.Tensor, classes: list[int], settings: HeadSettings) -> None:
        super().__init__()
        self.settings, self.vectors = settings, vectors
        self.drop = nn.Dropout(settings.dropout)
        self.first = nn.Linear(vectors.shape[1], settings.hidden)
        self.fields = nn.ModuleList(nn.Linear(settings.hidden, count) for count in classes)

    def forward(self, vectors: torch.Tensor) -> list[torch.Tensor]:
        """(B, d) to one (B, classes) a field."""
        hidden = functional.gelu(self.first(self.drop(vectors)), approximate="tanh")
        return [field(self.drop(hidden)) for field in self.fields]

    def training_step(self, batch: list[torch.Tensor], at: int) -> torch.Tensor:
        rows, labels = batch
        vectors = self.vectors[rows]
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
        loss = masked_loss(self(self.vectors[rows]), labels)
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


def fit_heads(
    examples: Examples,
    held: np.ndarray,
    classes: list[int],
    settings: HeadSettings,
    seed: int,
) -> tuple[list[Head], list[np.ndarray], dict[str, list[float]]]:
    """One head a field on a shared hidden layer; logits of held-out examples; losses by epoch.

    held: (n,) booleans, the examples that are held out first, to choose the number of epochs and each field's temperature;
    the logits, a field (held, classes), are of those heads. The heads that come back have learned from all examples.
    Without a held-out label all epochs are taken, and a temperature of 1.
    """
    judged = bool((examples.labels[held] >= 0).any())
    judge = examples.part(held) if judged else None
    heads, curves = _trained(examples.part(~held), judge, classes, settings, seed)
    vectors = examples.vectors[examples.rows[held]]
    heads = [calibrated(head, vectors, examples.labels[held, at]) for at, head in enumerate(heads)]
    logits = [head.logits(vectors) for head in heads]
    if not held.any():
        return heads, logits, curves
    epochs = int(np.argmin(curves["valid_loss"])) + 1 if judged else settings.epochs
    whole, _ = _trained(examples, None, classes, replace(settings, epochs=epochs), seed)
    heads = [
        replace(last, temperature=head.temperature) for last, head in zip(whole, heads, strict=True)
    ]
    return heads, logits, curves


def _trained(
    train: Examples,
    valid: Examples | None,
    classes: list[int],
    settings: HeadSettings,
    seed: int,
) -> tuple[list[Head], dict[str, list[float]]]:
    """Heads of the best epoch on `valid`, else of the last, at a temperature of 1, and the losses by epoch."""
    mean = train.vectors.mean(0)
    scale = 1.0 / (train.vectors.std(0) + 1e-2)
    seen = torch.from_numpy(((train.vectors - mean) * scale).astype(np.float32))

    def loader(part: Examples, shuffle: bool) -> DataLoader[tuple[torch.Tensor, ...]]:
        order = torch.Generator().manual_seed(seed)
        data = TensorDataset(torch.from_numpy(part.rows), torch.from_numpy(part.labels))
        return DataLoader(data, settings.batch, shuffle=shuffle, generator=order)

    torch.manual_seed(seed)
    module = Fitting(seen, classes, settings)
    curves = fit(
        module,
        loader(train, True),
        loader(valid, False) if valid else None,
        epochs=settings.epochs,
        seed=seed,
        report=lambda done, what: None,
        monitor="valid_loss" if valid else None,
        patience=settings.epochs,
    )
    heads = [
        Head(
            mean=mean,
            scale=scale,
            w1=module.first.weight.numpy().T.copy(),
            b1=module.first.bias.numpy(),
            w2=field.weight.numpy().T.copy(),
            b2=field.bias.numpy(),
            temperature=np.ones(1, np.float32),
        )
        for field in module.fields
        if isinstance(field, nn.Linear)
    ]
    return heads, curves

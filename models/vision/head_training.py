"""Fitting of heads over vectors: mixed pairs of examples, best epoch and temperature chosen on validation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from models.training import fit
from models.vision.head import Head

TEMPERATURES = np.geomspace(0.3, 4.0, 60)


@dataclass(frozen=True)
class Settings:
    """mixup: strength of mixing (0: none). Source: Zhang et al. (2018), mixup: beyond empirical risk minimization."""

    hidden: int
    epochs: int
    batch: int
    rate: float
    decay: float
    dropout: float
    mixup: float


class Fitting(pl.LightningModule):
    """Cross-entropy over several fields at once; a label of -1 is not known and costs nothing."""

    def __init__(self, width: int, classes: list[int], settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.drop = nn.Dropout(settings.dropout)
        self.first = nn.Linear(width, settings.hidden)
        self.fields = nn.ModuleList(nn.Linear(settings.hidden, count) for count in classes)

    def forward(self, vectors: torch.Tensor) -> list[torch.Tensor]:
        """(B, d) to one (B, classes) a field."""
        hidden = functional.gelu(self.first(self.drop(vectors)), approximate="tanh")
        return [field(self.drop(hidden)) for field in self.fields]

    def loss(self, logits: list[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        """Mean over the known labels (B, fields)."""
        total = logits[0].sum() * 0.0
        for at, found in enumerate(logits):
            total = total + functional.cross_entropy(
                found, labels[:, at], ignore_index=-1, reduction="sum"
            )
        return total / (labels >= 0).sum().clamp(min=1)

    def training_step(self, batch: list[torch.Tensor], at: int) -> torch.Tensor:
        vectors, labels = batch
        share, other = 1.0, None
        if self.settings.mixup:
            share = float(np.random.beta(self.settings.mixup, self.settings.mixup))  # noqa: NPY002
            other = torch.randperm(len(vectors))
            vectors = share * vectors + (1 - share) * vectors[other]
        logits = self(vectors)
        loss = share * self.loss(logits, labels)
        if other is not None:
            loss = loss + (1 - share) * self.loss(logits, labels[other])
        self.log("train_loss", loss, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch: list[torch.Tensor], at: int) -> None:
        vectors, labels = batch
        self.log("valid_loss", self.loss(self(vectors), labels), batch_size=len(labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.parameters(), lr=self.settings.rate, weight_decay=self.settings.decay
        )


def train_heads(
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    classes: list[int],
    settings: Settings,
    seed: int,
    report: Callable[[float, str], None] = lambda done, what: None,
) -> tuple[list[Head], dict[str, list[float]]]:
    """One head a field on a shared hidden layer, and the losses by epoch.

    train, valid: vectors (n, d) float32 and labels (n, fields) int64, -1 where not known. Best epoch and each
    field's temperature are chosen on `valid`.
    """
    vectors, labels = train
    mean, scale = vectors.mean(0), 1.0 / (vectors.std(0) + 1e-2)
    torch.manual_seed(seed)
    module = Fitting(vectors.shape[1], classes, settings)

    def loader(part: tuple[np.ndarray, np.ndarray], shuffle: bool) -> DataLoader:
        seen = torch.from_numpy(((part[0] - mean) * scale).astype(np.float32))
        order = torch.Generator().manual_seed(seed)
        data = TensorDataset(seen, torch.from_numpy(part[1]))
        return DataLoader(data, settings.batch, shuffle=shuffle, generator=order)

    curves = fit(
        module,
        loader(train, True),
        loader(valid, False),
        epochs=settings.epochs,
        seed=seed,
        report=report,
        monitor="valid_loss",
        patience=settings.epochs,
    )
    heads = []
    for at, field in enumerate(module.fields):
        head = Head(
            mean=mean,
            scale=scale,
            w1=module.first.weight.numpy().T.copy(),
            b1=module.first.bias.numpy(),
            w2=field.weight.numpy().T.copy(),
            b2=field.bias.numpy(),
            temperature=np.ones(1, np.float32),
        )
        heads.append(_tempered(head, valid[0], valid[1][:, at]))
    return heads, curves


def _tempered(head: Head, vectors: np.ndarray, labels: np.ndarray) -> Head:
    """The head at the temperature that makes the labels likeliest. Source: Guo et al. (2017), On calibration."""
    known = labels >= 0
    if not known.any():
        return head
    logits, truth = head.logits(vectors[known]), labels[known]

    def surprise(temperature: float) -> float:
        scaled = logits / temperature
        top = scaled.max(1)
        total = top + np.log(np.exp(scaled - top[:, None]).sum(1))
        return float((total - scaled[np.arange(len(truth)), truth]).mean())

    best = min(TEMPERATURES, key=surprise)
    return Head(**{**vars(head), "temperature": np.array([best], np.float32)})

"""Fitting of the sentiment model with Lightning."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from models.encoders.text import TextEncoder
from models.language.sentiment import LABELS, Inputs, Network, Reading, Sentiment
from models.training import fit


@dataclass(frozen=True)
class Settings:
    """How to fit.

    hidden: width of the net over vectors. penalty: weight of the squared table of n-grams in the loss. wide_rate: the
    table's learning rate, rate that of all else, both with one cycle. decay: AdamW's.
    """

    hidden: int
    epochs: int
    batch: int
    penalty: float
    wide_rate: float
    rate: float
    decay: float


class Fitting(pl.LightningModule):
    """Cross-entropy in which every class of every language weighs the same in sum."""

    def __init__(
        self, network: Network, weights: np.ndarray, settings: Settings, steps: int
    ) -> None:
        super().__init__()
        self.network, self.settings, self.steps = network, settings, steps
        self.weights = torch.from_numpy(weights.astype(np.float32))

    def _loss(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        *inputs, labels = batch
        losses = torch.nn.functional.cross_entropy(self.network(*inputs), labels, reduction="none")
        return (losses * self.weights[inputs[-1], labels]).mean()

    def _penalty(self) -> torch.Tensor:
        return self.settings.penalty * self.network.wide.weight.square().sum()

    def training_step(self, batch: tuple[torch.Tensor, ...], at: int) -> torch.Tensor:
        loss = self._loss(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch[-1]))
        return loss + self._penalty()

    def validation_step(self, batch: tuple[torch.Tensor, ...], at: int) -> None:
        self.log("valid_loss", self._loss(batch), batch_size=len(batch[-1]))

    def configure_optimizers(self) -> dict:
        wide = list(self.network.wide.parameters())
        narrow = [
            value for name, value in self.network.named_parameters() if not name.startswith("wide.")
        ]
        rates = [self.settings.wide_rate, self.settings.rate]
        optimizer = torch.optim.AdamW(
            [{"params": wide, "lr": rates[0]}, {"params": narrow, "lr": rates[1]}],
            weight_decay=self.settings.decay,
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, rates, total_steps=self.steps, pct_start=0.1
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Rows(Dataset):
    """Batches of texts with their labels; a new order each epoch, drawn by torch's generator."""

    def __init__(self, inputs: Inputs, labels: np.ndarray) -> None:
        self.inputs, self.labels = inputs, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, rows: list[int]) -> tuple[torch.Tensor, ...]:
        chosen = np.asarray(rows)
        return *self.inputs.rows(chosen).tensors(), torch.from_numpy(self.labels[chosen])

    def loader(self, batch: int, shuffle: bool) -> DataLoader:
        """Loads `batch` rows at a time by one slice of arrays."""
        return DataLoader(self, batch, shuffle=shuffle, collate_fn=lambda found: found)


def class_weights(languages: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """(languages, 3): of each class, so that all classes of all languages weigh the same; their mean over rows is 1.

    languages, labels (n,): indices. count: of languages.
    """
    rows = np.zeros((count, len(LABELS)))
    np.add.at(rows, (languages, labels), 1)
    classes = np.maximum((rows > 0).sum(1, keepdims=True), 1)
    weights = np.divide(1.0, rows * classes, out=np.zeros_like(rows), where=rows > 0)
    return weights * rows.sum() / max((rows.sum(1) > 0).sum(), 1)


def gram_weights(inputs: Inputs, languages: int, buckets: int) -> np.ndarray:
    """(languages, buckets) float32: inverse document frequency of each n-gram within each language.

    Source: Spärck Jones (1972), A statistical interpretation of term specificity.
    """
    owner = np.repeat(inputs.languages, np.diff(inputs.offsets))
    seen = np.bincount(owner * buckets + inputs.ids, minlength=languages * buckets)
    texts = np.bincount(inputs.languages, minlength=languages)[:, None]
    return (np.log((1 + texts) / (1 + seen.reshape(languages, buckets))) + 1).astype(np.float32)


def train(
    reading: Reading,
    encoder: TextEncoder,
    rows: tuple[Inputs, np.ndarray],
    valid: tuple[Inputs, np.ndarray],
    settings: Settings,
    seed: int,
    report: Callable[[float, str], None] = lambda done, what: None,
) -> tuple[Sentiment, dict[str, list[float]]]:
    """The model fitted on `rows` (inputs, labels (n,) int64 in the order of LABELS), and its losses by epoch.

    The best epoch and the temperatures are chosen on `valid`.
    """
    pl.seed_everything(seed, workers=True, verbose=False)
    inputs, labels = rows
    network = Network(
        reading.grams.buckets, encoder.width, settings.hidden, np.asarray(reading.labels)
    )
    languages = len(reading.languages)
    network.weights.copy_(torch.from_numpy(gram_weights(inputs, languages, reading.grams.buckets)))
    steps = settings.epochs * -(-len(labels) // settings.batch)
    module = Fitting(network, class_weights(inputs.languages, labels, languages), settings, steps)
    curves = fit(
        module,
        Rows(inputs, labels).loader(settings.batch, shuffle=True),
        Rows(*valid).loader(4096, shuffle=False),
        epochs=settings.epochs,
        seed=seed,
        report=report,
        monitor="valid_loss",
        patience=settings.epochs,
    )
    network.temperature.copy_(temperatures(network, *valid, languages))
    return Sentiment(reading, network, encoder), curves


@torch.inference_mode()
def temperatures(
    network: Network, inputs: Inputs, labels: np.ndarray, languages: int
) -> torch.Tensor:
    """(languages,): for each the temperature, of a fixed grid, with the least cross-entropy on these rows."""
    grid = torch.logspace(-1, 1, 81)
    logits, truth = network(*inputs.tensors()), torch.from_numpy(labels)
    found = torch.ones(languages)
    for language in range(languages):
        of = torch.from_numpy(inputs.languages == language)
        if of.any():
            losses = [
                torch.nn.functional.cross_entropy(logits[of] / value, truth[of]) for value in grid
            ]
            found[language] = grid[int(torch.stack(losses).argmin())]
    return found

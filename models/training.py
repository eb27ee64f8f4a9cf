"""How every model is fitted: one Lightning trainer with the same habits (seed, determinism, early stop)."""

import copy
import logging
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch.utils.data import DataLoader


class _Watch(pl.Callback):
    """Tells progress after each batch, keeps each epoch's losses and the best weights."""

    def __init__(self, monitor: str | None, report: Callable[[float, str], None]) -> None:
        self.monitor, self.report = monitor, report
        self.curves: dict[str, list[float]] = {}
        self.best: tuple[float, dict[str, Any]] | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, at: int
    ) -> None:
        batches = max(int(trainer.num_training_batches), 1)
        done = (trainer.current_epoch + (at + 1) / batches) / max(trainer.max_epochs or 1, 1)
        self.report(done, f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}")

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        for name, value in trainer.callback_metrics.items():
            self.curves.setdefault(name, []).append(float(value))
        if self.monitor:
            judged = float(trainer.callback_metrics[self.monitor])
            if self.best is None or judged < self.best[0]:
                self.best = (judged, copy.deepcopy(module.state_dict()))


def fit(
    module: pl.LightningModule,
    train: DataLoader[Any],
    valid: DataLoader[Any] | None = None,
    *,
    epochs: int,
    seed: int,
    report: Callable[[float, str], None] = lambda done, what: None,
    monitor: str | None = None,
    patience: int = 3,
    clip: float | None = None,
) -> dict[str, list[float]]:
    """Train `module` in place and return its logged figures, one value an epoch.

    monitor: a logged figure to keep the best epoch of (lower is better); training stops after `patience` epochs
    without a better one, and the best weights are put back. report: called with the share done and a text.
    Two calls with equal arguments and thread counts give equal weights.
    """
    pl.seed_everything(seed, workers=True, verbose=False)
    # Writing NaN into what is about to be overwritten, which finds errors and changes no result, takes up to a sixth of
    # the time. Types don't see a property of a module's class.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    watch = _Watch(monitor, report)
    callbacks: list[pl.Callback] = [watch]
    if monitor:
        callbacks.append(pl.callbacks.EarlyStopping(monitor, patience=patience))
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # The loaders here are arrays in memory: worker processes would only cost time.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        trainer = pl.Trainer(
            max_epochs=epochs,
            callbacks=callbacks,
            deterministic="warn",
            gradient_clip_val=clip,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(module, train, valid)
    if watch.best:
        module.load_state_dict(watch.best[1])
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return watch.curves


def two_paced(
    known: Iterable[torch.nn.Parameter],
    new: Iterable[torch.nn.Parameter],
    rates: tuple[float, float],
    steps: int,
) -> OptimizerLRScheduler:
    """An optimiser for weights that knew something before (at rates[0]) and new ones (at rates[1]), as Lightning has it.

    The rates rise over a tenth of the `steps` and fall over the others.
    """
    optimizer = torch.optim.AdamW(
        [{"params": list(known), "lr": rates[0]}, {"params": list(new), "lr": rates[1]}],
        weight_decay=0.01,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, list(rates), total_steps=steps, pct_start=0.1
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def batches_by_length(
    lengths: np.ndarray, batch: int, chunk: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Places of an epoch's batches, of rows of about one length, in an order drawn by `rng`.

    lengths (n,). Rows are sorted by length within `chunk` batches, so that little is padded.
    """
    order, parts = rng.permutation(len(lengths)), []
    for at in range(0, len(order), batch * chunk):
        rows = order[at : at + batch * chunk]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        parts += [rows[start : start + batch] for start in range(0, len(rows), batch)]
    return [parts[at] for at in rng.permutation(len(parts))]


def spoken(say: Callable[[str], None]) -> Callable[[float, str], None]:
    """A report of shares done that says one line for each tenth."""
    last = [-1]

    def report(done: float, what: str) -> None:
        if int(done * 10) > last[0]:
            last[0] = int(done * 10)
            say(f"{what}: {done:.0%} of the tuning done")

    return report


def state_arrays(module: torch.nn.Module) -> dict[str, Any]:
    """A module's weights as numpy arrays, for a bundle."""
    return {name: value.detach().cpu().numpy() for name, value in module.state_dict().items()}


def load_arrays(module: torch.nn.Module, arrays: dict[str, Any]) -> torch.nn.Module:
    """Put a bundle's arrays back into a module of the same shape, and set it to inference."""
    module.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    return module.eval()

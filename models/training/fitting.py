"""How every model is fitted: one Lightning trainer with the same habits (seed, determinism, early stop).

On one device it runs in this process. On several, processes of `processes` each train by the same trainer, on a part of
each batch (`parts`), and the first one's weights and figures come back.
"""

import copy
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy, FSDPStrategy, Strategy
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch.utils.data import DataLoader, IterableDataset

from models.training.parts import Part, Parted
from models.training.processes import Tell, together
from models.training.settings import ONE, Devices


@dataclass(frozen=True)
class Course:
    """Who hears how a long training goes, where it is taken up again, and what it runs on.

    say: lines of text. curve: a figure's name and its values, one an epoch. kept: the file that `fit` keeps unfinished
    training in; None: nowhere. devices: of networks that are tuned.
    """

    say: Callable[[str], None] = lambda text: None
    curve: Callable[[str, list[float]], None] = lambda name, values: None
    kept: Path | None = None
    devices: Devices = ONE

    def curves(self, curves: Mapping[str, list[float]], of: str) -> None:
        """Tell the figures of one of the things that are fitted."""
        for name, values in curves.items():
            self.curve(f"{name}/{of}", values)


UNHEARD = Course()
DRAWN = "drawn/state"
"""Beside weights: how the generator stands. No weight's name has a slash."""


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

    def state_dict(self) -> dict[str, Any]:
        return {"curves": self.curves, "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.curves, self.best = state_dict["curves"], state_dict["best"]


class _Keep(pl.Callback):
    """Puts unfinished training into a file after each epoch but the last, with the generators that it draws by.

    order: the generator of the loader. What a module draws by itself, or averages, is for its own `on_save_checkpoint`.
    """

    def __init__(self, path: Path, order: torch.Generator) -> None:
        self.path, self.order = path, order
        self.drawn: torch.Tensor | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.drawn is not None:
            torch.set_rng_state(self.drawn)
            self.drawn = None

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.should_stop or trainer.current_epoch + 1 >= (trainer.max_epochs or 0):
            return
        partial = self.path.with_name(f"{self.path.name}.partial")
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            partial.replace(self.path)

    def state_dict(self) -> dict[str, Any]:
        return {"order": self.order.get_state(), "drawn": torch.get_rng_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.order.set_state(state_dict["order"])
        # Lightning draws before the first epoch.
        self.drawn = state_dict["drawn"]


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
    kept: Path | None = None,
    devices: Devices = ONE,
) -> dict[str, list[float]]:
    """Train `module` in place and return its logged figures, one value an epoch.

    monitor: a logged figure to keep the best epoch of (lower is better); training stops after `patience` epochs
    without a better one, and the best weights are put back. report: called with the share done and a text.
    kept: a file in which training is kept after each epoch, from which a call with equal arguments takes it up where one
    before was killed, and which is removed at the end; `train` needs a generator of its own for it. It may be taken up on
    another number of devices.
    devices: what is trained on. `train` gives whole batches, however many there are.
    Two calls with equal arguments and thread counts give equal weights, taken up or not; on several devices the sums are
    taken in another order. Raises `ValueError` for `kept` without such a generator, and for several devices of a module
    that can't be trained so; as `together` does where a process fails.
    """
    if kept is not None and train.generator is None:
        raise ValueError("training that is kept needs a loader with a generator of its own")
    work = _Work(module, train, valid, epochs, seed, monitor, patience, clip, kept, devices)
    curves = work.alone(report) if devices.count == 1 else work.shared(report)
    if kept is not None:
        kept.unlink(missing_ok=True)
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return curves


@dataclass(frozen=True)
class _Work:
    """One training, as `fit` is asked for it."""

    module: pl.LightningModule
    train: DataLoader[Any]
    valid: DataLoader[Any] | None
    epochs: int
    seed: int
    monitor: str | None
    patience: int
    clip: float | None
    kept: Path | None
    devices: Devices

    def alone(self, report: Callable[[float, str], None]) -> dict[str, list[float]]:
        """Train in this process; the figures by epoch."""
        watch, _ = self.run(report, "auto")
        if watch.best:
            self.module.load_state_dict(watch.best[1])
        return watch.curves

    def shared(self, report: Callable[[float, str], None]) -> dict[str, list[float]]:
        """Train in as many processes as there are devices; the figures by epoch."""
        module, devices = self.module, self.devices
        if not isinstance(module, Parted):
            raise ValueError(f"{type(module).__name__} is trained on one device")
        curves: dict[str, list[float]] = {}

        def hear(told: dict[str, Any]) -> None:
            if "curves" in told:
                curves.update(told["curves"])
            else:
                report(told["done"], told["what"])

        def work(rank: int, tell: Tell) -> Mapping[str, torch.Tensor] | None:
            module.part = Part(rank, devices.count)

            def progress(done: float, what: str) -> None:
                if rank == 0:
                    tell({"done": done, "what": what})

            watch, trainer = self.run(progress, _strategy(devices, rank, module))
            # All processes take part where each has a piece of the weights.
            weights = trainer.strategy.lightning_module_state_dict()
            if rank:
                return None
            tell({"curves": watch.curves})
            return {DRAWN: torch.get_rng_state(), **(watch.best[1] if watch.best else weights)}

        found = together(devices.count, "nccl" if devices.graphics else "gloo", work, hear)
        # What is drawn after training is what would be drawn had it been in this process.
        torch.set_rng_state(found.pop(DRAWN))
        module.load_state_dict(found)
        return curves

    def run(
        self, report: Callable[[float, str], None], strategy: str | Strategy
    ) -> tuple[_Watch, pl.Trainer]:
        """Train by one trainer, which is one of several where `strategy` says so."""
        devices, module, train = self.devices, self.module, self.train
        pl.seed_everything(self.seed, workers=True, verbose=False)
        # Writing NaN into what is about to be overwritten, which finds errors and changes no result, takes up to a sixth
        # of the time. Types don't see a property of a module's class.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        watch = _Watch(self.monitor, report)
        callbacks: list[pl.Callback] = [watch]
        if self.monitor:
            callbacks.append(pl.callbacks.EarlyStopping(self.monitor, patience=self.patience))
        if self.kept is not None and train.generator is not None:
            callbacks.append(_Keep(self.kept, train.generator))
        for name in ("pytorch_lightning", "lightning.pytorch"):
            logging.getLogger(name).setLevel(logging.WARNING)
        with warnings.catch_warnings():
            # The loaders here are arrays in memory: worker processes would only cost time.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message="Your `IterableDataset` has `__len__`.*")
            warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
            warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
            trainer = pl.Trainer(
                accelerator="gpu" if devices.graphics else "cpu",
                devices=devices.count,
                strategy=strategy,
                precision=devices.precision,
                # Each process makes the whole batch, and takes its part of it.
                use_distributed_sampler=False,
                max_epochs=self.epochs,
                callbacks=callbacks,
                deterministic="warn",
                gradient_clip_val=self.clip,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
            )
            found = self.kept if self.kept is not None and self.kept.exists() else None
            asked: Any = torch.compile(module) if devices.compile else module
            trainer.fit(asked, train, self.valid, ckpt_path=found, weights_only=True)
        return watch, trainer


class _Forked(LightningEnvironment):
    """Where the processes are there already, and are one group."""

    def __init__(self, rank: int, count: int) -> None:
        super().__init__()
        self.rank, self.count = rank, count

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def world_size(self) -> int:
        return self.count

    def global_rank(self) -> int:
        return self.rank

    def local_rank(self) -> int:
        return self.rank


class _Sharded(FSDPStrategy):
    """Lightning's, over processors too: PyTorch shards over them where it is told the device, not only its number."""

    def _setup_model(self, model: torch.nn.Module) -> torch.nn.Module:
        # A third of a second to import.
        from torch.distributed.fsdp import FullyShardedDataParallel

        return FullyShardedDataParallel(
            model,
            sharding_strategy=self.sharding_strategy,
            mixed_precision=self.mixed_precision_config,
            device_id=self.root_device,
            **self.kwargs,
        )


def _strategy(devices: Devices, rank: int, module: Parted) -> Strategy:
    """How the process `rank` of several trains `module` with the others."""
    environment = _Forked(rank, devices.count)
    if devices.strategy == "fsdp" and module.sharded:
        return _Sharded(cluster_environment=environment, state_dict_type="full")
    # Norms learn of the whole batch in each process: see `parts`.
    return DDPStrategy(
        cluster_environment=environment,
        find_unused_parameters=module.spare,
        forward_sync_buffers=False,
    )


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
    # PyTorch divides by nothing where the rise ends with the first step.
    rise = 0.1 if steps != 10 else 0.05
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, list(rates), total_steps=steps, pct_start=rise
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class BatchesByLength(IterableDataset[tuple[torch.Tensor, ...]]):
    """Batches of rows of about one length, so that little is padded, in a new order each epoch."""

    CHUNK = 8
    """Batches whose rows are sorted by length together."""

    def __init__(
        self,
        lengths: Sequence[int],
        batch: int,
        seed: int,
        made: Callable[[np.ndarray], tuple[torch.Tensor, ...]],
    ) -> None:
        """lengths (n,): of the rows; made: a batch of the rows at these places."""
        self.lengths, self.batch, self.made = np.asarray(lengths), batch, made
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        order, parts = self.rng.permutation(len(self.lengths)), []
        for at in range(0, len(order), self.batch * self.CHUNK):
            rows = order[at : at + self.batch * self.CHUNK]
            rows = rows[np.argsort(self.lengths[rows], kind="stable")]
            parts += [rows[start : start + self.batch] for start in range(0, len(rows), self.batch)]
        for at in self.rng.permutation(len(parts)):
            yield self.made(parts[at])


def spoken(say: Callable[[str], None]) -> Callable[[float, str], None]:
    """A report of shares done that says one line for each tenth."""
    last = [-1]

    def report(done: float, what: str) -> None:
        if int(done * 10) > last[0]:
            last[0] = int(done * 10)
            say(f"{what}: {done:.0%} of the tuning done")

    return report

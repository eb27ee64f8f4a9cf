"""What every training has in common."""

from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.strategies import DDPStrategy, FSDPStrategy
from torch.utils.data import DataLoader, TensorDataset

from models.training.fitting import _strategy, fit, two_paced
from models.training.parts import Parted
from models.training.settings import Devices

TWO = Devices(count=2)


class Line(pl.LightningModule):
    """One weight; keeps what it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: list[torch.Tensor], at: int) -> torch.Tensor:
        return ((batch[0] * self.weight - 1.0) ** 2).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_fit_start(self) -> None:
        self.seen = (type(self.trainer.accelerator), self.trainer.num_devices)


def test_a_graphics_card_that_is_there_is_not_taken_unasked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # To Lightning there is one: its own choice would be to take it.
    monkeypatch.setattr("lightning_fabric.accelerators.CUDAAccelerator.is_available", lambda: True)
    monkeypatch.setattr("pytorch_lightning.accelerators.CUDAAccelerator.is_available", lambda: True)
    module = Line()
    fit(module, DataLoader(TensorDataset(torch.ones(4, 1))), epochs=1, seed=1)
    assert module.seen == (CPUAccelerator, 1)
    assert float(module.weight) > 0


def test_precision_is_as_asked_for() -> None:
    found = []

    class Precise(Line):
        def training_step(self, batch: list[torch.Tensor], at: int) -> torch.Tensor:
            found.append((batch[0] @ self.weight).dtype)
            return super().training_step(batch, at)

    for devices in (Devices(), Devices(precision="bf16-mixed")):
        rows = DataLoader(TensorDataset(torch.ones(4, 1)), 4)
        fit(Precise(), rows, epochs=1, seed=1, devices=devices)
    assert found == [torch.float32, torch.bfloat16]


def test_several_devices_are_refused_where_a_module_is_for_one() -> None:
    with pytest.raises(ValueError, match="Line is trained on one device"):
        fit(Line(), DataLoader(TensorDataset(torch.ones(4, 1))), epochs=1, seed=1, devices=TWO)


def test_strategies_are_built_as_asked_for() -> None:
    module = Parted()
    several = _strategy(TWO, 1, module)
    assert isinstance(several, DDPStrategy)
    assert several.cluster_environment is not None
    assert (
        several.cluster_environment.global_rank() == several.cluster_environment.local_rank() == 1
    )
    assert several.cluster_environment.world_size() == 2
    assert several.cluster_environment.creates_processes_externally
    spread = Devices(count=2, strategy="fsdp")
    assert isinstance(_strategy(spread, 0, module), DDPStrategy)
    module.sharded = True
    assert isinstance(_strategy(spread, 0, module), FSDPStrategy)


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 40])
def test_rates_rise_and_fall_over_any_count_of_steps(steps: int) -> None:
    known, new = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    made: Any = two_paced([known], [new], (0.1, 1.0), steps)
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(steps):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        if len(rates) < steps:
            schedule.step()
    assert np.isclose(np.divide(*np.transpose(rates)), 0.1).all()
    assert 0 < np.max(rates) <= 1.0 and rates[-1][1] < 0.01

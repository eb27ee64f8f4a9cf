"""What every training has in common."""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CPUAccelerator
from torch.utils.data import DataLoader, TensorDataset

from models.training import fit


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

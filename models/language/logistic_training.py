"""Logistic regression over dense numbers, with Lightning: the whole table is one batch, L-BFGS finds the optimum."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from models.training.fitting import fit

STEPS = 500
CLOSE = 1e-6
"""The loss is convex: where its gradient is this small, the weights are the best ones."""


class Regression(pl.LightningModule):
    """Mean cross-entropy and half the squared weights times `penalty`; one output stands for two classes."""

    def __init__(self, width: int, outputs: int, penalty: float) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(width, outputs, dtype=torch.float64)
        torch.nn.init.zeros_(self.linear.weight)
        torch.nn.init.zeros_(self.linear.bias)
        self.penalty = penalty

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], at: int) -> torch.Tensor:
        given, truth = batch
        logits = self.linear(given)
        if logits.shape[1] == 1:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logits[:, 0], truth.double()
            )
        else:
            loss = torch.nn.functional.cross_entropy(logits, truth)
        return loss + self.penalty / 2 * self.linear.weight.square().sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(
            self.parameters(),
            max_iter=STEPS,
            tolerance_grad=CLOSE,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )


def regress(
    given: np.ndarray, truth: np.ndarray, outputs: int, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (width, outputs) and bias (outputs,) for `given` (n, width) of classes `truth` (n,), each of which occurs.

    strength: the inverse of the penalty on a table of one row; the penalty's share falls with n.
    """
    module = Regression(given.shape[1], outputs, 1 / (strength * len(given)))
    rows = torch.from_numpy(np.ascontiguousarray(given, dtype=np.float64))
    table = [(rows, torch.from_numpy(truth.astype(np.int64)))]
    # A list is data set enough: it has an item and a length.
    loader = DataLoader[Any](table, batch_size=None)  # type: ignore[arg-type]
    fit(module, loader, epochs=1, seed=0)
    return module.linear.weight.numpy().T.copy(), module.linear.bias.numpy().copy()

"""One batch worked on by several processes as if it were one: who takes which rows, and what is drawn and summed.

Each process makes the whole batch, by a loader in the same state, and works on its part of the rows. What is drawn is
drawn for the whole batch, alike in all of them, and a part of it is used. So the generators stand alike everywhere, the
losses are those of one process but for the order of the sums, and training that was kept goes on with any count.
"""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import FSDPStrategy
from torch.nn import functional
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class Part:
    """The part `rank` (from 0) of a batch that is cut into `of`."""

    rank: int = 0
    of: int = 1

    def rows(self, count: int) -> slice:
        """The rows of a batch of `count`, one at least: parts differ by one row at most.

        Of fewer rows than parts, some parts have none: they take the first row, and `share` makes it count nothing, since
        all processes must take each step together.

        >>> [Part(rank, 2).rows(5) for rank in range(2)]
        [slice(0, 2, None), slice(2, 5, None)]
        """
        start, stop = self._bounds(count)
        return slice(start, stop) if start < stop else slice(0, 1)

    def share(self, count: int) -> int:
        """What a sum over the part's rows, over what the whole batch has, is multiplied by.

        The mean of the products over all parts, which the processes take of their gradients, is the batch's.
        """
        start, stop = self._bounds(count)
        return self.of if start < stop else 0

    def mean(self, loss: Callable[[str], torch.Tensor], count: int, terms: int) -> torch.Tensor:
        """The part's contribution to a mean over `terms` of a batch of `count` rows.

        loss: of the part, by how it is reduced: `mean`, or `sum`.
        """
        if self.of == 1:
            return loss("mean")
        return loss("sum") * (self.share(count) / max(terms, 1))

    def as_one(self, count: int) -> contextlib.AbstractContextManager[object]:
        """Within it, dropout and norms of batches in the part do what they do in a batch of `count` rows."""
        if self.of == 1:
            return contextlib.nullcontext()
        return _AsOne(self, count)

    def _bounds(self, count: int) -> tuple[int, int]:
        return count * self.rank // self.of, count * (self.rank + 1) // self.of


class Parted(pl.LightningModule):
    """A module that can be trained by several processes.

    `training_step` is given the whole batch, works on `part.rows` of it, and returns a loss of which the mean over all
    parts is that of the batch.
    """

    part = Part()
    sharded = False
    """Whether its weights may be spread over devices: not where a step reads all of them, or their shapes."""
    spare = False
    """Whether there are batches in which some weights have no part."""

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Where each process has a piece of the weights, the norm is that of all pieces."""
        strategy = self.trainer.strategy
        if isinstance(strategy, FSDPStrategy):
            if gradient_clip_val:
                whole: Any = strategy.model
                whole.clip_grad_norm_(gradient_clip_val)
        else:
            super().configure_gradient_clipping(
                optimizer, gradient_clip_val, gradient_clip_algorithm
            )

    def tell(self, name: str, loss: torch.Tensor, count: int) -> None:
        """Log what `training_step` returns for a batch of `count` rows; the curve has the mean of an epoch."""
        self.log(
            name,
            loss,
            batch_size=count,
            on_epoch=True,
            on_step=False,
            sync_dist=self.part.of > 1,
        )


class _AsOne(TorchFunctionMode):
    def __init__(self, part: Part, count: int) -> None:
        super().__init__()
        self.part, self.count = part, count

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is functional.dropout:
            return self.dropout(*args, **kwargs)
        if function is functional.scaled_dot_product_attention and kwargs.get("dropout_p"):
            return self.attention(*args, **kwargs)
        if function is functional.batch_norm:
            return self.norm(*args, **kwargs)
        return function(*args, **kwargs)

    def dropout(
        self, given: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> torch.Tensor:
        """As PyTorch draws it, for the whole batch."""
        if not training or p == 0.0:
            return functional.dropout(given, p, training, inplace)
        whole = torch.empty(
            (self.count, *given.shape[1:]), dtype=given.dtype, device=given.device
        ).bernoulli_(1 - p)
        return given * whole.div_(1 - p)[self.part.rows(self.count)]

    def attention(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        attn_mask: torch.Tensor,
        dropout_p: float,
    ) -> torch.Tensor:
        """What PyTorch computes where its weights are dropped, with `dropout` of this batch."""
        weights = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1]) + attn_mask
        return self.dropout(weights.softmax(-1), dropout_p) @ value

    def norm(
        self,
        given: torch.Tensor,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> torch.Tensor:
        """A norm by mean and variance of the whole batch, (B, channels, ...)."""
        if not training:
            return functional.batch_norm(
                given, running_mean, running_var, weight, bias, False, momentum, eps
            )
        counted = float(self.part.share(self.count) > 0)
        within = [at for at in range(given.ndim) if at != 1]
        shape = [1, -1] + [1] * (given.ndim - 2)
        seen = given.float()
        size = seen.numel() // seen.shape[1] // len(seen) * self.count
        mean = _Summed.apply(seen.sum(within) * counted) / size
        apart = seen - mean.view(shape)
        spread = _Summed.apply(apart.square().sum(within) * counted) / size
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.lerp_(mean, momentum)
                running_var.lerp_(spread * (size / max(size - 1, 1)), momentum)
        found = apart * torch.rsqrt(spread + eps).view(shape)
        if weight is not None:
            found = found * weight.view(shape)
        if bias is not None:
            found = found + bias.view(shape)
        return found.to(given.dtype)


class _Summed(torch.autograd.Function):
    """The sum of a tensor over all processes; each is told the sum of what all want changed of it."""

    @staticmethod
    def forward(ctx: Any, given: torch.Tensor) -> torch.Tensor:
        found = given.clone()
        torch.distributed.all_reduce(found)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        found = gradient.clone()
        torch.distributed.all_reduce(found)
        return found

"""What models are trained on, as it stands in the parameters: processors or graphics cards, how many, and how.

Apart from training, so that parameters can be read without what training imports.
"""

import importlib
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Devices:
    """What networks are trained on. Only what is asked for here is used: other devices add in another order.

    Raises `ValueError` for what can't be together.
    accelerator: `cpu`, `gpu`, or `auto`, which is `gpu` where there is one. count: processes on one machine, with a card
    each, or a thread each on a processor. strategy: of several; `auto` and `ddp` keep the whole network on each, `fsdp`
    a part of it, where the model can be spread. precision: of the sums; `bf16-mixed` halves the memory of what lies in between.
    compile: whether PyTorch compiles the network first.
    """

    accelerator: Literal["cpu", "gpu", "auto"] = "cpu"
    count: int = 1
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    compile: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count {self.count} trains nothing: write 1 or more")

    @property
    def graphics(self) -> bool:
        """Whether it is graphics cards that are meant on this machine."""
        return self.accelerator == "gpu" or (self.accelerator == "auto" and cards() > 0)

    def lacking(self) -> str | None:
        """What this machine lacks of it, or None."""
        if self == ONE or not self.graphics:
            return None
        if self.count > cards():
            return f"{self.count} graphics card(s), and this machine has {cards()}"
        return None


ONE = Devices()
"""One process on the processor."""


def cards() -> int:
    """Graphics cards that PyTorch can use, counted without a start of CUDA, after which no process could be forked."""
    cuda = importlib.import_module("lightning_fabric.accelerators.cuda")
    return int(cuda.num_cuda_devices())

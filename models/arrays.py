"""A network's weights as a bundle holds them; apart from `training`, which what only loads a model can do without."""

from typing import Any

import torch


def state_arrays(module: torch.nn.Module) -> dict[str, Any]:
    """A module's weights as numpy arrays, for a bundle."""
    return {name: value.detach().cpu().numpy() for name, value in module.state_dict().items()}


def load_arrays(module: torch.nn.Module, arrays: dict[str, Any]) -> torch.nn.Module:
    """Put a bundle's arrays back into a module of the same shape, and set it to inference."""
    module.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    return module.eval()

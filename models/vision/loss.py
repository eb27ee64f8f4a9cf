"""The loss of several fields at once whose labels are known in part."""

import torch
from torch.nn import functional


def masked_loss(logits: list[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over the known labels (B, fields); logits: one (B, classes) a field. 0 where none is known."""
    total = logits[0].sum() * 0.0
    for at, found in enumerate(logits):
        total = total + functional.cross_entropy(
            found, labels[:, at], ignore_index=-1, reduction="sum"
        )
    return total / (labels >= 0).sum().clamp(min=1)

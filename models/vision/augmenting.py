"""Pictures changed as a camera and a shelf would change them."""

import math

import numpy as np
import torch
from torch.nn import functional

BLOCK = 64
MIRRORED = 0.5
TURN = 0.15
"""Pictures are turned by up to this many radians."""


def augment(
    pictures: torch.Tensor, smallest: float, draw: torch.Generator, side: int | None = None
) -> torch.Tensor:
    """Pictures (b, 3, s, s) in -1 to 1: cropped, stretched, turned and mirrored, their light and colours changed.

    side: in pixels, of what comes back; None: s. smallest: share of the area that a crop keeps at least. Crop and aspect as Szegedy et al. (2015), Going deeper with convolutions.
    """
    count, across = len(pictures), side or pictures.shape[-1]

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(*(shape or (count,)), generator=draw)

    length = uniform(smallest, 1.15).sqrt()
    stretch = uniform(-0.2, 0.2).exp()
    wide, high = length * stretch, length / stretch
    free_x, free_y = (1 - wide).clamp(min=0), (1 - high).clamp(min=0)
    angle = uniform(-TURN, TURN)
    mirror = torch.where(torch.rand(count, generator=draw) < MIRRORED, -1.0, 1.0)
    place = torch.stack(
        [
            torch.stack(
                [wide * angle.cos() * mirror, -high * angle.sin(), uniform(-1, 1) * free_x], 1
            ),
            torch.stack(
                [wide * angle.sin() * mirror, high * angle.cos(), uniform(-1, 1) * free_y], 1
            ),
        ],
        1,
    )
    grid = functional.affine_grid(place, [count, 3, across, across], align_corners=False)
    seen = functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    light = uniform(0.75, 1.25)[:, None, None, None]
    contrast = uniform(0.75, 1.25)[:, None, None, None]
    colour = uniform(0.8, 1.2)[:, None, None, None]
    seen = (seen + 1) * light - 1
    mean = seen.mean((1, 2, 3), keepdim=True)
    seen = (seen - mean) * contrast + mean
    grey = seen.mean(1, keepdim=True)
    return ((seen - grey) * colour + grey).clamp(-1, 1)


def pasted(
    pictures: torch.Tensor, draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Each picture with a window of another: pictures, the other's row, and the share that is still its own.

    Source: Yun et al. (2019), CutMix: regularization strategy to train strong classifiers.
    """
    side = pictures.shape[-1]
    other = torch.randperm(len(pictures), generator=draw)
    share = float(torch.rand(1, generator=draw))
    cut = int(side * math.sqrt(1 - share))
    top, left = (int(torch.randint(0, side - cut + 1, (1,), generator=draw)) for _ in range(2))
    mixed = pictures.clone()
    mixed[:, :, top : top + cut, left : left + cut] = pictures[
        other, :, top : top + cut, left : left + cut
    ]
    return mixed, other, 1 - (cut / side) ** 2


def augmented(pictures: np.ndarray, smallest: float, seed: int) -> np.ndarray:
    """Changed pictures of (n, s, s, 3) uint8, in the same order and make."""
    draw = torch.Generator().manual_seed(seed)
    found = np.empty_like(pictures)
    for at in range(0, len(pictures), BLOCK):
        block = torch.from_numpy(np.ascontiguousarray(pictures[at : at + BLOCK]))
        seen = augment(block.permute(0, 3, 1, 2).float().div(127.5).sub(1), smallest, draw)
        cells = seen.add(1).mul(127.5).round().to(torch.uint8)
        found[at : at + BLOCK] = cells.permute(0, 2, 3, 1).numpy()
    return found

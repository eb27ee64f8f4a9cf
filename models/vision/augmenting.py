"""Pictures changed as a camera and a shelf would change them."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

BLOCK = 64
MIRRORED = 0.5
TURN = 0.15
"""Pictures are turned by up to this many radians."""
DRAWS = 9
"""Numbers that decide how a picture is changed."""


@dataclass(frozen=True)
class Changes:
    """How pictures are changed, (DRAWS, b): numbers from 0 to 1, of which each sets one thing of a picture."""

    drawn: torch.Tensor

    @classmethod
    def draw(cls, count: int, draw: torch.Generator) -> "Changes":
        """Of so many pictures."""
        return cls(torch.stack([torch.rand(count, generator=draw) for _ in range(DRAWS)]))

    def of(self, rows: slice | torch.Tensor) -> "Changes":
        """Those of these pictures."""
        return Changes(self.drawn[:, rows])


def augment(
    pictures: torch.Tensor, smallest: float, changes: Changes, side: int | None = None
) -> torch.Tensor:
    """Pictures (b, 3, s, s) in -1 to 1: cropped, stretched, turned and mirrored, their light and colours changed.

    side: in pixels, of what comes back; None: s. smallest: share of the area that a crop keeps at least. Crop and aspect as Szegedy et al. (2015), Going deeper with convolutions.
    """
    count, across = len(pictures), side or pictures.shape[-1]
    drawn = iter(changes.drawn.to(pictures.device))

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * next(drawn)

    length = uniform(smallest, 1.15).sqrt()
    stretch = uniform(-0.2, 0.2).exp()
    wide, high = length * stretch, length / stretch
    free_x, free_y = (1 - wide).clamp(min=0), (1 - high).clamp(min=0)
    angle = uniform(-TURN, TURN)
    mirror = torch.where(next(drawn) < MIRRORED, -1.0, 1.0)
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


@dataclass(frozen=True)
class Window:
    """Which picture's window stands in each. other: (b,) rows. share: of each picture that is still its own.

    Source: Yun et al. (2019), CutMix: regularization strategy to train strong classifiers.
    """

    other: torch.Tensor
    rows: slice
    columns: slice
    share: float

    @classmethod
    def draw(cls, count: int, side: int, draw: torch.Generator) -> "Window":
        """In so many pictures of `side` pixels."""
        other = torch.randperm(count, generator=draw)
        share = float(torch.rand(1, generator=draw))
        cut = int(side * math.sqrt(1 - share))
        top, left = (int(torch.randint(0, side - cut + 1, (1,), generator=draw)) for _ in range(2))
        within = slice(top, top + cut), slice(left, left + cut)
        return cls(other, *within, 1 - (cut / side) ** 2)

    def pasted(self, pictures: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """Pictures (b, 3, s, s) with the window of `others`."""
        mixed = pictures.clone()
        mixed[:, :, self.rows, self.columns] = others[:, :, self.rows, self.columns]
        return mixed


def augmented(pictures: np.ndarray, smallest: float, seed: int) -> np.ndarray:
    """Changed pictures of (n, s, s, 3) uint8, in the same order and make."""
    draw = torch.Generator().manual_seed(seed)
    found = np.empty_like(pictures)
    for at in range(0, len(pictures), BLOCK):
        block = torch.from_numpy(np.ascontiguousarray(pictures[at : at + BLOCK]))
        changes = Changes.draw(len(block), draw)
        seen = augment(block.permute(0, 3, 1, 2).float().div(127.5).sub(1), smallest, changes)
        cells = seen.add(1).mul(127.5).round().to(torch.uint8)
        found[at : at + BLOCK] = cells.permute(0, 2, 3, 1).numpy()
    return found

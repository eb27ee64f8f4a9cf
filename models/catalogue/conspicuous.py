"""Pictures that show nothing, or too small to show anything."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from models.encoders.decoding import read

SHRUNK = 32
LARGE = 256
"""Pictures are read at no fewer pixels a side than this, so that smaller sides are exact."""


@dataclass(frozen=True)
class Look:
    """side: the shorter one in pixels, exact below `LARGE`. spread: deviation of the shrunk picture's greys (0 to 255)."""

    side: int
    spread: float


def look(data: bytes) -> Look:
    """What an encoded picture is as a whole. Raises `Undecodable`."""

    def seen(picture: Image.Image) -> Look:
        side = min(picture.size)
        grey = picture.convert("L").reduce(max(side // SHRUNK, 1))
        return Look(side, float(np.asarray(grey, np.float32).std()))

    return read(data, LARGE, seen)

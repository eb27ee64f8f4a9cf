"""Bytes of pictures as arrays of pixels: JPEG, PNG and WebP, and no other format.

Apart from the encoders, whose libraries take long to load.
"""

import io
import struct
import zlib
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

T = TypeVar("T")
FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 40_000_000
OPAQUE = 250
"""Of 255: a pixel of this cover or more is no edge to a clear ground."""
BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for damaged files of the three formats."""


class Undecodable(ValueError):
    """Bytes that are no picture we read; the text says why. at: which of several, from 0."""

    at = 0


def dimensions(data: bytes) -> tuple[int, int]:
    """Width and height as the picture's head says. Raises `Undecodable`."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            return opened.size
    except BROKEN as error:
        raise Undecodable(f"no {', '.join(FORMATS)} picture: {error}") from None


def decode(data: bytes, size: int) -> np.ndarray:
    """One picture as (size, size, 3) uint8: turned as EXIF says, on white, shrunk or grown, padded to a square.

    Raises `Undecodable` for other formats, damaged bytes and more than `MAX_PIXELS`.
    """
    # A JPEG is read at a half, quarter or eighth where that is still twice what is asked.
    return read(data, 2 * size, lambda picture: _square(picture, size))


def decode_whole(data: bytes, least: int, most: int) -> np.ndarray:
    """One picture as (h, w, 3) uint8, turned as EXIF says, on white, its longer side from `least` to `most` pixels.

    Raises `Undecodable` as `decode` does.
    """

    def fitted(picture: Image.Image) -> np.ndarray:
        longest = max(picture.size)
        scale = min(max(least / longest, 1.0), most / longest)
        width, height = (max(1, round(side * scale)) for side in picture.size)
        return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))

    return read(data, most, fitted)


def decode_stretched(data: bytes, size: int) -> tuple[np.ndarray, np.ndarray]:
    """One picture as (size, size, 3) uint8, on white, and which of its pixels are opaque (size, size).

    Its sides are stretched to a square and nothing is padded: shares of its area stay what they are.
    Raises `Undecodable` as `decode` does.
    """

    def stretched(picture: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        opaque = np.ones((size, size), bool)
        if picture.has_transparency_data:
            cover = picture.convert("RGBA").getchannel("A")
            opaque = np.asarray(cover.resize((size, size), Image.Resampling.BOX)) >= OPAQUE
        small = _plain(picture).resize((size, size), Image.Resampling.BOX)
        return np.asarray(small), opaque

    return _opened(data, 2 * size, stretched)


def read(data: bytes, draft: int, use: Callable[[Image.Image], T]) -> T:
    """What `use` makes of the picture as plain RGB, turned as EXIF says.

    draft: pixels a side from which a JPEG may be read smaller, to save time. Raises `Undecodable` as `decode` does.
    """
    return _opened(data, draft, lambda picture: use(_plain(picture)))


def _opened(data: bytes, draft: int, use: Callable[[Image.Image], T]) -> T:
    """What `use` makes of the picture in its own mode."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            width, height = opened.size
            if width * height <= MAX_PIXELS:
                opened.draft(None, (draft, draft))
                return use(ImageOps.exif_transpose(opened))
    except BROKEN as error:
        raise Undecodable(f"no {', '.join(FORMATS)} picture: {error}") from None
    raise Undecodable(f"{width} x {height} pixels, more than {MAX_PIXELS:,}")


def _plain(picture: Image.Image) -> Image.Image:
    """Any mode as RGB: 16 bits become 8, what is clear becomes white."""
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        wide = np.asarray(picture).astype(np.int64)
        picture = Image.fromarray(np.clip(wide >> 8, 0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        picture = Image.new("RGBA", clear.size, "white")
        picture.alpha_composite(clear)
    return picture.convert("RGB")


def _square(picture: Image.Image, size: int) -> np.ndarray:
    scale = size / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    shrunk = picture.resize((width, height), Image.Resampling.BILINEAR)
    if width == height == size:
        return np.asarray(shrunk)
    # The border's own grey: a white frame round a picture on black would be an edge.
    grey = np.asarray(shrunk.convert("L"))
    rim = int(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))
    square = Image.new("RGB", (size, size), (rim, rim, rim))
    square.paste(shrunk, ((size - width) // 2, (size - height) // 2))
    return np.asarray(square)

"""Pictures made small for pages: decoded and to be encoded again, so that no byte of a source passes through."""

import io
from typing import Any

from models.encoders.decoding import BROKEN, FORMATS, MAX_PIXELS, Undecodable


def thumbnail(content: bytes, side: int) -> Any:
    """A Pillow image of at most `side` pixels a side, grey where the source is, else RGB. Raises `Undecodable`."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise Undecodable(f"more than {MAX_PIXELS:,} pixels")
            picture.draft("RGB", (side * 2, side * 2))
            small = picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    except BROKEN as error:
        raise Undecodable(str(error)) from None
    small.thumbnail((side, side))
    return small

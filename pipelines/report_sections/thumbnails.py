"""Pictures as small data URIs: decoded by Pillow and encoded again, so that no byte of a source passes through."""

import base64
import io

from pipelines.harness import BadData
from pipelines.report_sections.inputs import Inputs
from pipelines.tables import Images

FORMATS = ("JPEG", "PNG", "WEBP")
SIDE = 144
TABLE = "validate-images/table.parquet"


def data_uri(content: bytes, name: str) -> str:
    """A `data:` URI of at most 144 pixels a side. name: of the picture, for the error.

    Raises `BadData` where `content` is no JPEG, PNG or WEBP picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            picture.draft("RGB", (SIDE * 2, SIDE * 2))
            small = picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise BadData(f"data/{TABLE}, picture {name}: {error}; run validate-images again") from None
    small.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    kind = "png" if small.mode == "L" else "webp"
    small.save(out, kind, **({"optimize": True} if kind == "png" else {"quality": 78, "method": 4}))
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"


def thumbnails(inputs: Inputs, keys: list[str]) -> dict[str, str]:
    """Image key to data URI, for those of `keys` that the table of pictures holds. Raises `Absent`."""
    wanted = sorted(set(keys))
    found = inputs.table(TABLE, need=(Images.IMAGE, Images.BYTES), among=(Images.IMAGE, wanted))
    pairs = zip(found[Images.IMAGE], found[Images.BYTES], strict=True)
    return {key: data_uri(content, key) for key, content in pairs}

"""Pictures as small data URIs."""

import base64
import io

from models.encoders.decoding import Undecodable
from pipelines.harness import BadData
from pipelines.pages.thumbnails import thumbnail
from pipelines.report_sections.inputs import Inputs
from pipelines.tables import Images

SIDE = 144
TABLE = "validate-images/table.parquet"


def data_uri(content: bytes, name: str) -> str:
    """A `data:` URI of at most 144 pixels a side. name: of the picture, for the error.

    Raises `BadData` where `content` is no JPEG, PNG or WEBP picture.
    """
    try:
        small = thumbnail(content, SIDE)
    except Undecodable as error:
        raise BadData(f"data/{TABLE}, picture {name}: {error}; run validate-images again") from None
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

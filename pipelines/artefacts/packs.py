"""The table of texts on packs: for each product whose picture was read a row, with what was read and how surely.

A picture on which no text was found has a row, too, with an empty text: it is not read again.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.artefacts.vectors import CONTENT, MODEL
from pipelines.tables import Images, Products

TEXT, SURE = "text", "confidence"
SCHEMA = pa.schema(
    [
        (Products.ITEM, pa.string()),
        (Images.IMAGE, pa.string()),
        (TEXT, pa.string()),
        (SURE, pa.float64()),
        (CONTENT, pa.string()),
    ]
)
"""content: hash of the picture's bytes. The reader's identity is in the metadata."""
Read = tuple[str, float]
"""A text and how surely it was read, from 0 to 1."""


class Shown(NamedTuple):
    """The picture of a product. content: hash of its bytes."""

    item: str
    key: str
    content: str


def write_texts(path: Path, shown: Sequence[Shown], words: Mapping[str, Read], reader: str) -> None:
    """Write what was read of pictures, sorted by product. words: by content. reader: the identity of what read them."""
    rows = [(one.item, one.key, *words[one.content], one.content) for one in sorted(shown)]
    columns = [pa.array([row[at] for row in rows], kind) for at, kind in enumerate(SCHEMA.types)]
    table = pa.Table.from_arrays(columns, SCHEMA.names)
    table = table.replace_schema_metadata({MODEL: reader.encode()})
    pq.write_table(table, path, write_page_checksum=True)


def read_known(path: Path, reader: str) -> dict[str, Read]:
    """What the table at `path` knows, by content; nothing of one that is absent, damaged or another reader's."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        return {}
    if (table.schema.metadata or {}).get(MODEL, b"").decode() != reader:
        return {}
    contents, texts, sure = (table.column(name).to_pylist() for name in (CONTENT, TEXT, SURE))
    return dict(zip(contents, zip(texts, sure, strict=True), strict=True))


def read_kept(path: Path | None) -> dict[str, Read]:
    """What a run that was cut off noted by `kept_line`, by content; a line that it did not end is left out."""
    found: dict[str, Read] = {}
    if path is not None and path.exists():
        for line in path.read_text("utf-8").splitlines():
            try:
                content, text, confidence = json.loads(line)
            except ValueError:
                continue
            found[content] = text, confidence
    return found


def kept_line(content: str, words: Read) -> str:
    """A line of the file that `read_kept` reads."""
    return json.dumps([content, *words]) + "\n"


def texts_of(path: Path, items: pd.Series) -> pd.Series:
    """The text on the pack of each of the products `items` (n,); empty where none was read."""
    table = pq.read_table(path, columns=[Products.ITEM, TEXT]).to_pandas()
    return items.map(table.set_index(Products.ITEM)[TEXT]).fillna("").astype(object)

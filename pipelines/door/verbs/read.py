"""`read`: the text on packs, as pictures show it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.door.verb import Asked, File, Verb

if TYPE_CHECKING:
    from models.vision.packs import Reader
    from pipelines.door.pictures import Listing, Told

BLOCK = 16


def fit(asked: Asked) -> "Reader":
    from models.vision.packs import Reader

    return Reader(asked.threads)


def predict(reader: "Reader", asked: Asked) -> Iterator[pa.RecordBatch]:
    from pipelines.door import pictures

    listing = pictures.listed(asked.files["test"])
    told = pictures.Told(listing, asked.say)
    for start in range(0, max(len(listing), 1), BLOCK):
        rows = range(start, min(start + BLOCK, len(listing)))
        yield pa.record_batch(
            {
                "id": pa.array([listing.ids[row] for row in rows], pa.string()),
                "text": pa.array([_text(reader, listing, row, told) for row in rows], pa.string()),
            }
        )
    told.close()


def _text(reader: "Reader", listing: "Listing", row: int, told: "Told") -> str:
    """The words of one picture in reading order; none where it can't be read."""
    from models.encoders.decoding import Undecodable
    from pipelines.door import pictures

    try:
        lines = reader.lines(pictures.content(listing.paths[row]))
    except Undecodable as error:
        told.add(row, str(error))
        return ""
    return " ".join(line.text for line in lines)


VERB = Verb(
    summary="Read the text on packs in pictures.",
    files=(File("test", "id, path (relative to the file's folder, or absolute)"),),
    writes="id, text (words in reading order; empty where there is none)",
    fit=fit,
    predict=predict,
)

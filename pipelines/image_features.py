"""Encode product pictures with the frozen image encoder, and measure their dominant colours.

Pictures that the tables of an earlier run know, by the hash of their bytes and of the encoder or of the way to measure, are
not looked at again; the tables are byte for byte those that a run from nothing writes.
"""

import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from models.encoders.decoding import Undecodable, decode_stretched
from models.encoders.image import ImageEncoder
from models.vision.dominant import Palettes, dominant
from pipelines.artefacts.colours import Measured, method, write_colours
from pipelines.artefacts.vectors import Former, content_hash, write_vectors
from pipelines.harness import BadData, Params, Run, stage
from pipelines.packaged.encoders import image_encoder
from pipelines.tables import Images

TABLE = "validate-images/table.parquet"
OUT, COLOURS = "images.parquet", "colours.parquet"


class ImageFeaturesParams(Params):
    """encoder: package, pixels or hub:NAME. size: pixels a side. batch: pictures at a time.

    colours: pixels a side that colours are measured at.
    """

    encoder: str
    size: int
    batch: int
    colours: int


@stage
def image_features(run: Run, params: ImageFeaturesParams) -> None:
    encoder = image_encoder(params.encoder, run.input("ingest-encoders/image"), params.size)
    former = Former.read(encoder.identity, run.former(OUT))
    way = method(params.colours)
    measured = Measured.read(way, run.former(COLOURS))
    table = pq.ParquetFile(run.input(TABLE))
    total = table.metadata.num_rows
    keys: list[str] = []
    contents: list[str] = []
    parts: list[np.ndarray] = []
    colours: list[pd.DataFrame] = []
    looked_at = 0
    batches = table.iter_batches(params.batch, columns=[Images.IMAGE, Images.BYTES])
    for batch in run.progress(batches, "looking at pictures", -(-total // params.batch)):
        here = batch.column(Images.IMAGE).to_pylist()
        pictures = batch.column(Images.BYTES).to_pylist()
        hashes = [content_hash(one) for one in pictures]
        encode = functools.partial(encoded, encoder, pictures, here)
        vectors, new = former.completed(hashes, encode)
        parts.append(vectors)
        colours.append(
            measured.completed(hashes, functools.partial(palettes, params.colours, pictures, here))
        )
        keys += here
        contents += hashes
        looked_at += new
    if looked_at < total:
        run.say(f"{total - looked_at:,} of {total:,} pictures were known from an earlier run")
    run.rows_in = run.rows_out = total
    vectors = np.concatenate(parts) if parts else encoder.encode([])
    write_vectors(run.output(OUT), Images.IMAGE, keys, vectors, encoder.identity, contents)
    write_colours(run.output(COLOURS), keys, contents, colours, way)
    run.measure("width", vectors.shape[1])


def encoded(
    encoder: ImageEncoder, pictures: Sequence[bytes], keys: Sequence[str], chosen: np.ndarray
) -> np.ndarray:
    """Vectors (k, d) of the pictures at the positions `chosen` (k,).

    Raises `BadData` with the key of the first that can't be read.
    """
    try:
        return encoder.encode([pictures[at] for at in chosen], max(len(chosen), 1))
    except Undecodable as error:
        raise unreadable(keys[chosen[error.at]], error) from None


def palettes(
    size: int, pictures: Sequence[bytes], keys: Sequence[str], chosen: np.ndarray
) -> Palettes:
    """Dominant colours of the pictures at the positions `chosen` (k,), looked at with `size` pixels a side.

    Raises `BadData` as `encoded` does.
    """
    pixels = np.zeros((len(chosen), size, size, 3), np.uint8)
    opaque = np.zeros((len(chosen), size, size), bool)
    for place, at in enumerate(chosen):
        try:
            pixels[place], opaque[place] = decode_stretched(pictures[at], size)
        except Undecodable as error:
            raise unreadable(keys[at], error) from None
    return dominant(pixels, opaque)


def unreadable(key: str, error: Undecodable) -> BadData:
    """What ends the stage where the picture `key` can't be read."""
    return BadData(
        f"data/{TABLE}, image_key {key}, column bytes: {error}. Take the picture out of the source"
    )


if __name__ == "__main__":
    image_features.main()

"""Encode product pictures with the frozen image encoder.

Pictures that the table of an earlier run knows, by the hash of their bytes and of the encoder, are not looked at again;
the table is byte for byte the one that a run from nothing writes.
"""

import functools
from collections.abc import Sequence

import numpy as np
import pyarrow.parquet as pq

from models.encoders.decoding import Undecodable
from models.encoders.image import ImageEncoder
from pipelines.encoders import image_encoder
from pipelines.harness import BadData, Params, Run, stage
from pipelines.tables import Images
from pipelines.vectors import Former, content_hash, write_vectors

TABLE = "validate-images/table.parquet"
OUT = "images.parquet"


class ImageFeaturesParams(Params):
    """encoder: package, pixels or hub:NAME. size: pixels a side. batch: pictures at a time."""

    encoder: str
    size: int
    batch: int


@stage
def image_features(run: Run, params: ImageFeaturesParams) -> None:
    encoder = image_encoder(params.encoder, run.input("ingest-encoders/image"), params.size)
    former = Former.read(encoder.identity, run.former(OUT))
    table = pq.ParquetFile(run.input(TABLE))
    total = table.metadata.num_rows
    keys: list[str] = []
    contents: list[str] = []
    parts: list[np.ndarray] = []
    looked_at = 0
    batches = table.iter_batches(params.batch, columns=[Images.IMAGE, Images.BYTES])
    for batch in run.progress(batches, "encoding pictures", -(-total // params.batch)):
        here = batch.column(Images.IMAGE).to_pylist()
        pictures = batch.column(Images.BYTES).to_pylist()
        hashes = [content_hash(one) for one in pictures]
        encode = functools.partial(encoded, encoder, pictures, here)
        vectors, new = former.completed(hashes, encode)
        parts.append(vectors)
        keys += here
        contents += hashes
        looked_at += new
    if looked_at < total:
        run.say(f"{total - looked_at:,} of {total:,} pictures were known from an earlier run")
    run.rows_in = run.rows_out = total
    vectors = np.concatenate(parts) if parts else encoder.encode([])
    write_vectors(run.output(OUT), Images.IMAGE, keys, vectors, encoder.identity, contents)
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
        raise BadData(
            f"data/{TABLE}, image_key {keys[chosen[error.at]]}, column bytes: {error}. Take the picture out of the "
            "source"
        ) from None


if __name__ == "__main__":
    image_features.main()

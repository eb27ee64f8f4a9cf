"""Encode product pictures with the frozen image encoder.

Pictures that the table of an earlier run knows, by the hash of their bytes and of the encoder, are not looked at again;
the table is byte for byte the one that a run from nothing writes.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow.parquet as pq

from models.encoders.decoding import Undecodable
from models.encoders.image import ImageEncoder
from pipelines.encoders import image_encoder
from pipelines.harness import BadData, Params, Run, stage
from pipelines.tables import Images
from pipelines.vectors import Former, write_vectors

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
    former = Former.read(run.former(OUT), encoder.identity)
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
        hashes = [hashlib.blake2b(one, digest_size=16).hexdigest() for one in pictures]
        places = former.places(hashes)
        new = np.flatnonzero(places < 0)
        vectors = encoded(encoder, [pictures[at] for at in new], [here[at] for at in new])
        if len(new) < len(here):
            whole = former.vectors[places]
            whole[new] = vectors
            vectors = whole
        parts.append(vectors)
        keys += here
        contents += hashes
        looked_at += len(new)
    if looked_at < total:
        run.say(f"{total - looked_at:,} of {total:,} pictures were known from an earlier run")
    run.rows_in = run.rows_out = total
    vectors = np.concatenate(parts) if parts else encoder.encode([])
    write_vectors(run.output(OUT), Images.IMAGE, keys, vectors, encoder.identity, contents)
    run.measure("width", vectors.shape[1])


def encoded(encoder: ImageEncoder, pictures: Sequence[bytes], keys: Sequence[str]) -> np.ndarray:
    """Vectors (n, d) float16 of pictures (n,). Raises `BadData` with the key of the first that can't be read."""
    try:
        return encoder.encode(pictures, max(len(pictures), 1)).astype(np.float16)
    except Undecodable as error:
        raise BadData(
            f"data/{TABLE}, image_key {keys[error.at]}, column bytes: {error}. Take the picture out of the source"
        ) from None


if __name__ == "__main__":
    image_features.main()

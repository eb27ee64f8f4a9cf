"""Encode product pictures with the frozen image encoder."""

import numpy as np
import pyarrow.parquet as pq

from models.encoders.decoding import Undecodable
from pipelines.encoders import image_encoder
from pipelines.harness import BadData, Params, Run, stage
from pipelines.tables import Images
from pipelines.vectors import write_vectors

TABLE = "validate-images/table.parquet"


class ImageFeaturesParams(Params):
    """encoder: package, pixels or hub:NAME. size: pixels a side. batch: pictures at a time."""

    encoder: str
    size: int
    batch: int


@stage
def image_features(run: Run, params: ImageFeaturesParams) -> None:
    encoder = image_encoder(params.encoder, run.input("ingest-encoders/image"), params.size)
    table = pq.ParquetFile(run.input(TABLE))
    total = table.metadata.num_rows
    keys: list[str] = []
    parts: list[np.ndarray] = []
    batches = table.iter_batches(params.batch, columns=[Images.IMAGE, Images.BYTES])
    for batch in run.progress(batches, "encoding pictures", -(-total // params.batch)):
        here = batch.column(Images.IMAGE).to_pylist()
        try:
            found = encoder.encode(batch.column(Images.BYTES).to_pylist(), params.batch)
        except Undecodable as error:
            raise BadData(
                f"data/{TABLE}, image_key {here[error.at]}, column bytes: {error}. Take the picture out of the source"
            ) from None
        parts.append(found.astype(np.float16))
        keys += here
    run.rows_in = run.rows_out = total
    vectors = np.concatenate(parts) if parts else encoder.encode([])
    write_vectors(run.output("images.parquet"), Images.IMAGE, keys, vectors, encoder.identity)
    run.measure("width", vectors.shape[1])


if __name__ == "__main__":
    image_features.main()

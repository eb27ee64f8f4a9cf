"""Encode product pictures with the frozen image encoder."""

import numpy as np
import pyarrow.parquet as pq

from models.encoders.image import decode
from pipelines.encoders import image_encoder
from pipelines.harness import Params, Run, stage
from pipelines.tables import Images
from pipelines.vectors import write_vectors


class ImageFeaturesParams(Params):
    """encoder: package, pixels or hub:NAME. size: pixels a side. batch: pictures at a time."""

    encoder: str
    size: int
    batch: int


@stage
def image_features(run: Run, params: ImageFeaturesParams) -> None:
    folder = run.input("ingest-encoders/image")
    encoder = image_encoder(params.encoder, folder, params.size)
    table = pq.ParquetFile(run.input("validate-images/table.parquet"))
    total = table.metadata.num_rows
    keys: list[str] = []
    parts: list[np.ndarray] = []
    columns = [Images.IMAGE, Images.BYTES]
    batches = table.iter_batches(batch_size=params.batch, columns=columns)
    count = -(-total // params.batch)
    for batch in run.progress(batches, "encoding pictures", count):
        keys += batch.column(Images.IMAGE).to_pylist()
        pictures = [decode(data, encoder.size) for data in batch.column(Images.BYTES).to_pylist()]
        parts.append(encoder.encode_arrays(np.stack(pictures)).astype(np.float16))
    run.rows_in = run.rows_out = total
    vectors = np.concatenate(parts)
    write_vectors(run.output("images.parquet"), Images.IMAGE, keys, vectors, encoder.identity)
    run.measure("width", vectors.shape[1])


if __name__ == "__main__":
    image_features.main()

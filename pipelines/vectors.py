"""Tables of vectors: a key and a float16 vector a row, in Parquet, with the hash of the model that made them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

MODEL = b"vitrine.model"


def write_vectors(path: Path, key: str, keys: list[str], vectors: np.ndarray, model: str) -> None:
    """Write `keys` (n,) under the column `key` and `vectors` (n, d) under `vector`, sorted by key.

    model: hash of the encoder. Raises `ValueError` where a vector is not finite or a key comes twice.
    """
    if len(set(keys)) != len(keys):
        raise ValueError(f"{path.name}: a {key} comes twice")
    matrix = np.asarray(vectors, dtype=np.float16)
    if not np.isfinite(matrix).all():
        raise ValueError(f"{path.name}: a vector is not finite")
    order = np.argsort(np.asarray(keys, dtype=object), kind="stable")
    flat = pa.array(matrix[order].reshape(-1), type=pa.float16())
    table = pa.table(
        {
            key: pa.array([keys[at] for at in order], type=pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1]),
        }
    )
    pq.write_table(table.replace_schema_metadata({MODEL: model.encode()}), path)


def read_vectors(path: Path, key: str) -> tuple[list[str], np.ndarray, str]:
    """Keys (n,), vectors (n, d) float16 and the hash of the model that made them."""
    table = pq.read_table(path)
    column = table.column("vector").combine_chunks()
    width = column.type.list_size
    matrix = column.values.to_numpy(zero_copy_only=False).reshape(-1, width)
    model = (table.schema.metadata or {}).get(MODEL, b"").decode()
    return table.column(key).to_pylist(), matrix, model

"""Tables of vectors: a key and a float16 vector a row, in Parquet, with the hash of the model that made them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

MODEL = b"vitrine.model"
CONTENT = "content"
"""The column with the hash of what a vector was made of."""


def write_vectors(
    path: Path,
    key: str,
    keys: Sequence[str],
    vectors: np.ndarray,
    model: str,
    contents: Sequence[str] | None = None,
) -> None:
    """Write `keys` (n,) under the column `key` and `vectors` (n, d) under `vector`, sorted by key.

    model: hash of the encoder. contents (n,): hashes of what was encoded, for `Former`.
    Raises `ValueError` where a vector is not finite or a key comes twice.
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
    if contents is not None:
        table = table.append_column(CONTENT, pa.array([contents[at] for at in order], pa.string()))
    table = table.replace_schema_metadata({MODEL: model.encode()})
    pq.write_table(table, path, write_page_checksum=True)


def read_vectors(path: Path, key: str) -> tuple[list[str], np.ndarray, str]:
    """Keys (n,), vectors (n, d) float16 and the hash of the model that made them."""
    table = pq.read_table(path)
    return table.column(key).to_pylist(), _matrix(table), _model(table)


def _matrix(table: pa.Table) -> np.ndarray:
    column = table.column("vector").combine_chunks()
    return column.values.to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)


def _model(table: pa.Table) -> str:
    return (table.schema.metadata or {}).get(MODEL, b"").decode()


@dataclass(frozen=True)
class Former:
    """Vectors (n, d) float16 that an earlier run made, by the hash of what was encoded."""

    contents: pd.Index
    vectors: np.ndarray

    @classmethod
    def read(cls, path: Path, model: str) -> "Former":
        """What a table that `write_vectors` wrote knows; nothing where it is absent, damaged or another model's."""
        none = cls(pd.Index([], dtype=object), np.zeros((0, 0), np.float16))
        try:
            table = pq.read_table(path, page_checksum_verification=True)
        except (OSError, pa.ArrowException):
            return none
        if _model(table) != model or CONTENT not in table.column_names:
            return none
        contents = pd.Index(table.column(CONTENT).to_pylist(), dtype=object)
        first = ~contents.duplicated()
        return cls(contents[first], _matrix(table)[first])

    def places(self, contents: Sequence[str]) -> np.ndarray:
        """(m,): the row of each of `contents`, -1 for what is not known."""
        return self.contents.get_indexer(pd.Index(contents, dtype=object))

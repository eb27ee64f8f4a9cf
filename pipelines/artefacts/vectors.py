"""Tables of vectors: a key and a float16 vector a row, in Parquet, with the hash of the model that made them."""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

MODEL = b"vitrine.model"
BATCH_ROWS = 16_384
CONTENT = "content"
"""The column with the hash of what a vector was made of."""


def write_vectors(
    path: Path,
    key: str,
    keys: Sequence[str],
    vectors: np.ndarray,
    model: str,
    contents: Sequence[str | None] | None = None,
    beside: pa.Table | None = None,
) -> None:
    """Write `keys` (n,) under the column `key` and `vectors` (n, d) under `vector`, sorted by key.

    model: hash of the encoder. contents (n,): hashes of what was encoded, for `Former`; None for a vector that was not
    encoded but made of others. beside: more columns, of n rows.
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
    if beside is not None:
        for name in beside.column_names:
            table = table.append_column(name, beside.column(name).take(pa.array(order)))
    table = table.replace_schema_metadata({MODEL: model.encode()})
    pq.write_table(table, path, write_page_checksum=True)


def read_vectors(path: Path, key: str) -> tuple[list[str], np.ndarray, str]:
    """Keys (n,), vectors (n, d) float16 and the hash of the model that made them."""
    table = pq.read_table(path)
    return table.column(key).to_pylist(), _matrix(table), _model(table)


def map_vectors(path: Path, key: str, folder: Path) -> tuple[pa.Array, np.ndarray]:
    """Keys (n,) and vectors (n, d) float16 that may be larger than memory: mapped, in a file of `folder` without a name."""
    folder.mkdir(parents=True, exist_ok=True)
    keys: list[pa.Array] = []
    with pq.ParquetFile(path) as table, tempfile.TemporaryFile(dir=folder) as file:
        schema = table.schema_arrow
        width = schema.field("vector").type.list_size
        for batch in table.iter_batches(BATCH_ROWS, columns=[key, "vector"]):
            keys.append(batch.column(key))
            batch.column("vector").flatten().to_numpy(zero_copy_only=False).tofile(file)
        file.flush()
        found = pa.chunked_array(keys, schema.field(key).type).combine_chunks()
        if not len(found):
            return found, np.zeros((0, width), np.float16)
        return found, np.asarray(np.memmap(file, np.float16, "r")).reshape(len(found), width)


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
    def read(cls, model: str, *paths: Path) -> "Former":
        """What tables that `write_vectors` wrote know; nothing of one that is absent, damaged or another model's."""
        found = [one for one in (_known(path, model) for path in paths) if one is not None]
        if not found:
            return cls(pd.Index([], dtype=object), np.zeros((0, 0), np.float16))
        contents = pd.Index([name for names, _ in found for name in names], dtype=object)
        first = ~contents.duplicated() & contents.notna()
        return cls(contents[first], np.concatenate([vectors for _, vectors in found])[first])

    def completed(
        self, contents: Sequence[str], encode: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, int]:
        """Vectors (m, d) float16 of what `contents` (m,) name, and how many of them are new.

        encode: positions (k,) of the new ones to vectors (k, d). Of a model that gives each content the same vector
        whatever is encoded with it, they are those of a run that knew nothing.
        """
        places = self.contents.get_indexer(pd.Index(contents, dtype=object))
        new = np.flatnonzero(places < 0)
        made = encode(new).astype(np.float16)
        if len(new) == len(places):
            return made, len(new)
        vectors = self.vectors[places]
        vectors[new] = made
        return vectors, len(new)


def _known(path: Path, model: str) -> tuple[list[str | None], np.ndarray] | None:
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        return None
    if _model(table) != model or CONTENT not in table.column_names:
        return None
    return table.column(CONTENT).to_pylist(), _matrix(table)


def content_hash(content: bytes) -> str:
    """What names a content in the column `CONTENT`: 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()

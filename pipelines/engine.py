"""Where tables are worked on: Ibis expressions on DuckDB, embedded and larger than memory.

Stages write their table work as Ibis expressions, so that another engine can run the same ones; only this module
knows which engine it is. Parquet is read lazily and written in order, in batches, to its final name at the end.
"""

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 50_000
PROVENANCE = (b"vitrine.source", b"vitrine.licence")
"""Keys of a file's metadata that say where its rows come from and under which licence."""


@ibis.udf.scalar.builtin
def md5(data: bytes) -> str:
    """The engine's MD5 of a cell of bytes, as 32 hexadecimal digits: names equal pictures, secures nothing."""


@contextlib.contextmanager
def engine(threads: int, memory_gb: float, spill: Path) -> Iterator[Any]:
    """A connection whose session is in UTC, with at most `memory_gb`; what is more goes to the folder `spill`.

    The folder is removed at the end. Nothing is fetched from the network, no extension either.
    """
    spill.mkdir(parents=True, exist_ok=True)
    connection = ibis.duckdb.connect(
        threads=threads,
        memory_limit=f"{memory_gb}GB",
        temp_directory=str(spill),
        autoinstall_known_extensions=False,
    )
    try:
        connection.raw_sql("SET TimeZone = 'UTC'").fetchall()
        yield connection
    finally:
        connection.disconnect()
        shutil.rmtree(spill, ignore_errors=True)


def keep(connection: Any, name: str, table: ibis.Table) -> ibis.Table:
    """Compute `table` once and keep it for the life of the connection under `name`."""
    return connection.create_table(name, table, temp=True, overwrite=True)


def provenance(paths: Iterable[Path]) -> dict[bytes, bytes]:
    """Where the rows of these files come from: each file's words once, in their order, joined by "; "."""
    found: dict[bytes, dict[str, None]] = {key: {} for key in PROVENANCE}
    for path in paths:
        metadata = pq.read_schema(path).metadata or {}
        for key in PROVENANCE:
            words = metadata.get(key, b"").decode().split("; ")
            found[key].update(dict.fromkeys(word for word in words if word))
    return {key: "; ".join(words).encode() for key, words in found.items() if words}


def write(
    table: ibis.Table, path: Path, order: list[str], metadata: dict[bytes, bytes] | None = None
) -> int:
    """Write `table` to `path` as Parquet, sorted by `order` (nulls last), and return the number of rows.

    `order` must name each row, else equal runs may differ. Streams: only a batch is in memory at a time, and
    the engine sorts what doesn't fit on disk.
    """
    ordered = table.order_by([ibis.asc(name, nulls_first=False) for name in order])
    return write_batches(
        ordered.to_pyarrow_batches(chunk_size=BATCH_ROWS), ordered.schema(), path, metadata
    )


def write_batches(
    batches: Iterable[pa.RecordBatch],
    schema: ibis.Schema,
    path: Path,
    metadata: dict[bytes, bytes] | None = None,
) -> int:
    """Write batches of `schema` to `path` as they come, and return the number of rows."""
    target = schema.to_pyarrow().with_metadata(metadata or None)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    rows = 0
    with pq.ParquetWriter(partial, target, compression="zstd") as writer:
        for batch in batches:
            if batch.num_rows:
                rows += batch.num_rows
                writer.write_table(pa.Table.from_batches([batch]).cast(target))
    partial.replace(path)
    return rows

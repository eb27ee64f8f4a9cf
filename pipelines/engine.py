"""Where tables are worked on: Ibis expressions on DuckDB, embedded and larger than memory.

Stages write their table work as Ibis expressions, so that another engine can run the same ones; only this module
knows which engine it is. Parquet is read lazily and written in order, in batches, to its final name at the end.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

BATCH_ROWS = 50_000
PROVENANCE = (b"vitrine.source", b"vitrine.licence")
"""Keys of a file's metadata that say where its rows come from and under which licence."""

EngineError = duckdb.Error
"""What the engine raises where it can't read or compute."""


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator] # ibis has no types
def md5(data: bytes) -> str:  # type: ignore[empty-body] # the engine's own
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


def read_numbered(connection: Any, path: Path, row: str) -> ibis.Table:
    """A Parquet file as a lazy table whose column `row` counts the file's rows from 0."""
    table = connection.read_parquet(str(path), file_row_number=True)
    return table.rename({row: "file_row_number"})


def bring(connection: Any, name: str, rows: pa.Table) -> ibis.Table:
    """Rows in memory as a table of the connection.

    Ibis' own `create_table` of such rows drops a view in words that DuckDB 2 does not parse.
    """
    connection.con.register(name, rows)
    return connection.table(name)


def keep(connection: Any, name: str, table: ibis.Table) -> ibis.Table:
    """Compute `table` once and keep it for the life of the connection under `name`."""
    return connection.create_table(name, table, temp=True)


def count(table: ibis.Table) -> int:
    """The number of rows."""
    return int(table.count().to_pyarrow().as_py())


def stream(table: ibis.Table, batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """The rows of `table` in batches; to be read to its end before the connection is used again.

    Ibis' own `to_pyarrow_batches` calls a method that DuckDB 2 no longer has.
    """
    connection = table.get_backend()
    yield from connection.con.sql(connection.compile(table)).to_arrow_reader(batch_rows)


def collect(table: ibis.Table) -> pa.Table:
    """All rows of a table that memory holds."""
    return pa.Table.from_batches(stream(table), table.schema().to_pyarrow())


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
    table: ibis.Table,
    path: Path,
    order: list[str],
    metadata: dict[bytes, bytes] | None = None,
    batch_rows: int = BATCH_ROWS,
    change: Callable[[pa.RecordBatch], pa.RecordBatch] = lambda batch: batch,
) -> int:
    """Write `table` to `path` as Parquet, sorted by `order` (nulls last), and return the number of rows.

    change: what is done to the rows on their way, cell by cell; their columns and order stay. `order` must name each row, else equal runs may differ. Streams: only `batch_rows` are in memory at a time,
    and the engine sorts what doesn't fit on disk.
    """
    ordered = table.order_by([ibis.asc(name, nulls_first=False) for name in order])
    schema = ordered.schema().to_pyarrow()
    batches = map(change, stream(ordered, batch_rows))
    return write_batches(batches, schema, path, metadata, batch_rows)


def write_batches(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    path: Path,
    metadata: dict[bytes, bytes] | None = None,
    batch_rows: int = BATCH_ROWS,
) -> int:
    """Write batches as `schema` to `path` in row groups of `batch_rows`, and return the number of rows."""
    target = schema.with_metadata(metadata or None)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    total = 0
    waiting = target.empty_table()
    with pq.ParquetWriter(partial, target, compression="zstd") as writer:
        for batch in batches:
            total += batch.num_rows
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch]).cast(target)])
            while waiting.num_rows >= batch_rows:
                writer.write_table(waiting.slice(0, batch_rows))
                waiting = waiting.slice(batch_rows)
        if waiting.num_rows:
            writer.write_table(waiting)
    partial.replace(path)
    return total


def out_of_order(path: Path, order: list[str]) -> int:
    """How many rows of a Parquet file come before the row above them, by the columns `order` (nulls last)."""
    wrong = 0
    last = None
    for batch in pq.ParquetFile(path).iter_batches(batch_size=BATCH_ROWS, columns=order):
        rows = pa.Table.from_batches([batch])
        if last is not None:
            rows = pa.concat_tables([last, rows])
        last = rows.slice(rows.num_rows - 1)
        wrong += _descents(rows.select(order))
    return wrong


def _descents(rows: pa.Table) -> int:
    above, below = rows.slice(0, rows.num_rows - 1), rows.slice(1)
    descends = pa.array([False] * above.num_rows, pa.bool_())
    equal = pa.array([True] * above.num_rows, pa.bool_())
    for name in rows.column_names:
        upper, lower = above.column(name), below.column(name)
        upper_null, lower_null = pc.is_null(upper), pc.is_null(lower)
        falls = pc.or_(
            pc.fill_null(pc.less(lower, upper), False), pc.and_not(upper_null, lower_null)
        )
        same = pc.or_(pc.fill_null(pc.equal(lower, upper), False), pc.and_(upper_null, lower_null))
        descends = pc.or_(descends, pc.and_(equal, falls))
        equal = pc.and_(equal, same)
    return int(pc.sum(descends).as_py() or 0)


def undecodable(path: Path) -> tuple[str, list[int]] | None:
    """The first column of text with bytes that are not UTF-8, and its rows counted from 0; None where all are."""
    schema = pq.read_schema(path)
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    found: dict[str, list[int]] = {name: [] for name in texts}
    start = 0
    for batch in pq.ParquetFile(path).iter_batches(batch_size=BATCH_ROWS, columns=texts):
        for name in texts:
            for at, cell in enumerate(batch.column(name).cast(pa.binary())):
                try:
                    (cell.as_py() or b"").decode()
                except UnicodeDecodeError:
                    found[name].append(start + at)
        start += batch.num_rows
    return next(((name, rows) for name, rows in found.items() if rows), None)

"""Where tables are worked on: Ibis expressions on DuckDB, embedded and larger than memory, or on Spark.

Stages write their table work as Ibis expressions and say what is left with the words of this module; only this
package knows which engines there are: `on_duckdb` and `on_spark` give each word its form, and `spark_words` makes
Spark's SQL mean what DuckDB's means, so that both give equal rows. Either way a table reaches its Parquet file, or the
files of its parts, in order and in batches, by the same writer; nothing that grows with the rows is held in memory as a
whole.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import ibis
import pyarrow as pa

from pipelines.engine import on_duckdb
from pipelines.engine.parquet import (
    BATCH_ROWS,
    PROVENANCE,
    out_of_order,
    provenance,
    undecodable,
    write_batches,
    write_runs,
)
from pipelines.engine.parts import PART, UNDATED, between, cut, day, days_of, files_of
from pipelines.harness.params import Tables

__all__ = [
    "BATCH_ROWS",
    "MEMORY_GB",
    "PART",
    "PROVENANCE",
    "UNDATED",
    "bring",
    "collect",
    "count",
    "cut",
    "days_of",
    "engine",
    "errors",
    "files_of",
    "frame",
    "keep",
    "let_go",
    "marked",
    "md5",
    "numbered",
    "out_of_order",
    "placed",
    "provenance",
    "read_delimited",
    "read_json",
    "read_numbered",
    "read_parquet",
    "reading_errors",
    "stream",
    "undecodable",
    "write",
    "write_batches",
    "write_parts",
]


MEMORY_GB = 2.0
"""What tables may take where no parameter says it."""


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator] # ibis has no types
def md5(data: bytes) -> str:  # type: ignore[empty-body] # the engine's own
    """The engine's MD5 of a cell of bytes, as 32 hexadecimal digits: names equal pictures, secures nothing."""


@contextlib.contextmanager
def engine(
    threads: int, memory_gb: float, spill: Path, tables: Tables | None = None
) -> Iterator[Any]:
    """A connection whose session is in UTC, with at most `memory_gb`; what is more goes to the folder `spill`.

    The folder is removed at the end. tables: which engine, as `tables` in `params.yaml` says; none: DuckDB. On Spark
    `memory_gb` is that of the driver and of each executor. Raises `MissingResource` where Spark is asked for and absent.
    """
    chosen = tables or Tables()
    if chosen.engine == "duckdb":
        with on_duckdb.opened(threads, memory_gb, spill) as connection:
            yield connection
        return
    from pipelines.engine.spark_session import session

    with session(chosen, threads, memory_gb) as spark:
        from pipelines.engine import on_spark

        with on_spark.opened(spark, spill) as connection:
            yield connection


def _of(connection: Any) -> ModuleType:
    """The module that gives the words their form on the engine of a connection."""
    if connection.name == "duckdb":
        return on_duckdb
    from pipelines.engine import on_spark

    return on_spark


def errors(connection: Any) -> tuple[type[Exception], ...]:
    """What the engine raises where it can't read or compute."""
    found: tuple[type[Exception], ...] = _of(connection).ERRORS
    return found


def reading_errors(connection: Any) -> tuple[type[Exception], ...]:
    """What the engine raises where a file or a cell is not what it was said to be."""
    found: tuple[type[Exception], ...] = _of(connection).READING_ERRORS
    return found


def read_parquet(connection: Any, paths: Path | Iterable[Path]) -> ibis.Table:
    """Parquet of equal columns as a lazy table: a file, a table in parts, or several files."""
    found = files_of(paths) if isinstance(paths, Path) else list(paths)
    return _of(connection).read_parquet(connection, [str(path) for path in found])


def read_numbered(connection: Any, paths: Iterable[Path], file: str, row: str) -> ibis.Table:
    """Parquet files of equal columns as a lazy table.

    The column `file` has the name of each row's file, without its folder; `row` counts the rows of each from 0.
    """
    return _of(connection).read_numbered(connection, [str(path) for path in paths], file, row)


def read_delimited(
    connection: Any, paths: Iterable[Path], names: Iterable[str], delimiter: str, quote: str
) -> ibis.Table:
    """CSV and its like, in UTF-8 and with a header, as a lazy table of texts."""
    found = [str(path) for path in paths]
    return _of(connection).read_delimited(connection, found, list(names), delimiter, quote)


def read_json(
    connection: Any, paths: Iterable[Path], names: Iterable[str], listed: bool
) -> ibis.Table:
    """The fields `names` of JSON objects, one a line or (listed) one list a file, as a lazy table of texts.

    names: none asks for all fields that there are.
    """
    found = [str(path) for path in paths]
    return _of(connection).read_json(connection, found, list(names), listed)


def numbered(connection: Any, table: ibis.Table, row: str) -> ibis.Table:
    """The rows of one file with the column `row`, which counts them from 0 in the file's order."""
    return _of(connection).numbered(connection, table, row)


def frame(connection: Any, table: ibis.Table) -> Any | None:
    """`table` as a frame of the engine's own, whose rows lie where the engine computes; None where that is here."""
    return _of(connection).frame(connection, table)


def marked(connection: Any, name: str, frame: Any, marks: Mapping[str, Any]) -> ibis.Table:
    """The rows of such a frame for which one of `marks` holds, conditions of the engine's own; kept under `name`.

    Each mark is a column of booleans. Raises one of `errors` where a text has bytes that are not UTF-8.
    """
    found: ibis.Table = _of(connection).marked(connection, name, frame, marks)
    return found


def bring(connection: Any, name: str, rows: pa.Table) -> ibis.Table:
    """Rows in memory as a table of the connection."""
    return _of(connection).bring(connection, name, rows)


def keep(connection: Any, name: str, table: ibis.Table) -> ibis.Table:
    """Compute `table` once and keep it for the life of the connection under `name`."""
    return _of(connection).keep(connection, name, table)


def let_go(connection: Any, name: str) -> None:
    """Drop a table that was kept and is not needed any more."""
    _of(connection).let_go(connection, name)


def count(table: ibis.Table) -> int:
    """The number of rows."""
    return int(table.count().to_pyarrow().as_py())


def stream(table: ibis.Table, batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """The rows of `table` in batches; to be read to its end before the connection is used again."""
    connection = table.get_backend()
    yield from _of(connection).stream(connection, table, batch_rows)


def collect(table: ibis.Table) -> pa.Table:
    """All rows of a table that memory holds."""
    return pa.Table.from_batches(stream(table), table.schema().to_pyarrow())


def placed(
    connection: Any, name: str, table: ibis.Table, time: str, parts: Mapping[int, str]
) -> ibis.Table:
    """The rows of `table` whose day is one of `parts` (as `cut` gives them), with the column `PART`.

    name: a free one in the connection.
    """
    kinds = pa.schema([("_day", pa.int64()), (PART, pa.string())])
    known = bring(connection, name, pa.table([list(parts), list(parts.values())], schema=kinds))
    rows = between(table, time, parts)
    return rows.mutate(_day=day(rows[time])).inner_join(known, "_day").drop("_day")


def _ordered(table: ibis.Table, order: Iterable[str]) -> ibis.Table:
    return table.order_by([ibis.asc(name, nulls_first=False) for name in order])


def write(
    table: ibis.Table,
    path: Path,
    order: list[str],
    metadata: dict[bytes, bytes] | None = None,
    batch_rows: int = BATCH_ROWS,
    change: Callable[[pa.RecordBatch], pa.RecordBatch] = lambda batch: batch,
) -> int:
    """Write `table` to `path` as Parquet, sorted by `order` (nulls last), and return the number of rows.

    change: what is done to the rows on their way, cell by cell; their columns and order stay. `order` must name each
    row, else equal runs may differ. Streams: only `batch_rows` are in memory at a time, and the engine sorts what
    doesn't fit on disk. Spark's executors sort and write parts in the folder of spill, which are joined to the one file.
    """
    ordered = _ordered(table, order)
    schema = ordered.schema().to_pyarrow()
    batches = map(change, stream(ordered, batch_rows))
    return write_batches(batches, schema, path, metadata, batch_rows)


def write_parts(
    table: ibis.Table,
    folder: Path,
    parts: Iterable[str],
    order: list[str],
    metadata: dict[bytes, bytes] | None = None,
) -> dict[str, int]:
    """Write a table with the column `PART` into `folder`, a file `<part>.parquet` each; return the rows of each.

    What holds for `write` holds for each of them: its bytes are those of a call with its rows alone. parts: all that
    are to be there; one without a row is an empty file.
    """
    ordered = _ordered(table, [PART, *order])
    schema = ordered.schema().to_pyarrow()
    return write_runs(stream(ordered), schema, PART, folder, parts, metadata)

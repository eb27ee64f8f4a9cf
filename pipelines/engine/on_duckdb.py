"""The words of `pipelines.engine` on DuckDB."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pyarrow as pa

ERRORS: tuple[type[Exception], ...] = (duckdb.Error,)
READING_ERRORS: tuple[type[Exception], ...] = (
    duckdb.ConversionException,
    duckdb.InvalidInputException,
    duckdb.OutOfRangeException,
)
MAX_OBJECT = 1 << 26
"""Bytes of one JSON object."""


@contextlib.contextmanager
def opened(threads: int, memory_gb: float, spill: Path) -> Iterator[Any]:
    """A connection in this process. Nothing is fetched from the network, no extension either."""
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


def read_parquet(connection: Any, paths: list[str]) -> ibis.Table:
    return connection.read_parquet(paths)


def read_numbered(connection: Any, paths: list[str], file: str, row: str) -> ibis.Table:
    table = connection.read_parquet(paths, file_row_number=True, filename=True)
    table = table.rename({row: "file_row_number", file: "filename"})
    return table.mutate(**{file: table[file].re_extract(r"[^/]*$", 0)})


def read_delimited(
    connection: Any, paths: list[str], names: list[str], delimiter: str, quote: str
) -> ibis.Table:
    return connection.read_csv(
        paths,
        delim=delimiter,
        quote=quote,
        escape=quote,
        header=True,
        auto_detect=False,
        columns=dict.fromkeys(names, "VARCHAR"),
    )


def read_json(connection: Any, paths: list[str], names: list[str], listed: bool) -> ibis.Table:
    known = {"columns": dict.fromkeys(names, "VARCHAR")} if names else {}
    shape = "array" if listed else "newline_delimited"
    return connection.read_json(paths, format=shape, maximum_object_size=MAX_OBJECT, **known)


def numbered(connection: Any, table: ibis.Table, row: str) -> ibis.Table:
    return table.mutate(**{row: ibis.row_number()})


def frame(connection: Any, table: ibis.Table) -> None:
    return None


def bring(connection: Any, name: str, rows: pa.Table) -> ibis.Table:
    # Ibis' own `create_table` of such rows drops a view in words that DuckDB 2 does not parse.
    connection.con.register(name, rows)
    return connection.table(name)


def keep(connection: Any, name: str, table: ibis.Table) -> ibis.Table:
    return connection.create_table(name, table, temp=True)


def let_go(connection: Any, name: str) -> None:
    # Ibis' own way to drop a table is in words that DuckDB 2 does not parse.
    connection.con.execute(f'drop table temp.main."{name}"')


def stream(connection: Any, table: ibis.Table, batch_rows: int) -> Iterator[pa.RecordBatch]:
    # Ibis' own `to_pyarrow_batches` calls a method that DuckDB 2 no longer has.
    yield from connection.con.sql(connection.compile(table)).to_arrow_reader(batch_rows)

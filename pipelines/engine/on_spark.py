"""The words of `pipelines.engine` on Spark; PySpark and Java are there where this is imported.

What is computed goes from the executors to the folder of spill as Parquet, and is read from there: by Spark itself, or
by the driver, row group by row group. So a folder that all of them see is needed, and nothing grows on the driver.
"""

import contextlib
import itertools
import re
import shutil
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.backends.pyspark import Backend
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import functions, types

from pipelines.engine.spark_words import SparkWords
from pipelines.harness import BadConfig

SAID = re.compile(
    r"(?:^|Caused by: )[\w.$]*(?:Exception|Error)?:? ?(\[[A-Z][A-Z_.]+\][^\n]*)", re.M
)
"""What Spark says of a failure, among what it tells of its own inside."""
UTC = dt.Timestamp("UTC")
WHOLE_FILES = {
    "spark.sql.files.maxPartitionBytes": str(1 << 60),
    "spark.sql.files.minPartitionNum": "1",
}
"""With these a file is read by one task, in its order."""


class SparkError(Exception):
    """What Spark said about a table that it could not read or compute, without what it tells of its own inside."""


ERRORS: tuple[type[Exception], ...] = (SparkError,)
READING_ERRORS = ERRORS


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (PySparkException, Py4JError) as error:
        said = [words.partition("SQLSTATE")[0].strip() for words in SAID.findall(str(error))]
        raise SparkError("\n".join(dict.fromkeys(said)) or str(error)) from error


class Spark(Backend):  # type: ignore[misc] # ibis has no types
    """Ibis' connection to Spark, whose moments have their zone, and a folder for what is computed."""

    compiler = SparkWords()
    spill: Path
    numbers: Iterator[int]

    def get_schema(self, table_name: str, **where: Any) -> ibis.Schema:
        """As Ibis' own, with moments in UTC where Spark's are moments: it takes them for readings of a clock."""
        found = dict(super().get_schema(table_name, **where).items())
        for field in self._session.table(f"`{table_name}`").schema:
            if isinstance(field.dataType, types.TimestampType):
                found[field.name] = UTC
        return ibis.schema(found)

    def to_pyarrow(self, expr: ibis.Expr, /, **how: Any) -> Any:
        """A small result; not by way of pandas, as Ibis' own goes."""
        table = expr.as_table()
        schema = table.schema().to_pyarrow()
        with _told():
            rows = self._session.sql(self.compile(table, **how)).toArrow()
        found = _cast(rows, schema)
        return expr.__pyarrow_result__(found)

    def folder(self, name: str) -> str:
        """A new folder for what is computed."""
        return str(self.spill / f"{next(self.numbers):04d}-{name}")


@contextlib.contextmanager
def opened(session: Any, spill: Path) -> Iterator[Spark]:
    """A connection in a session of Spark."""
    spill.mkdir(parents=True, exist_ok=True)
    connection = Spark().connect(session)
    connection.spill, connection.numbers = spill.absolute(), itertools.count()
    try:
        yield connection
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def _frame(connection: Spark, table: ibis.Table) -> Any:
    with _told():
        return connection._session.sql(connection.compile(table))


def _named(connection: Spark, frame: Any, name: str | None = None) -> ibis.Table:
    """A frame as a table of Ibis."""
    name = name or f"_read_{next(connection.numbers)}"
    frame.createOrReplaceTempView(f"`{name}`")
    return connection.table(name)


def _cast(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows with the types and names that Ibis promises; moments without a zone are of UTC."""
    return pa.table(
        [column.cast(field.type) for column, field in zip(rows.columns, schema, strict=True)],
        schema=schema,
    )


def read_parquet(connection: Spark, paths: list[str]) -> ibis.Table:
    with _told():
        frame = connection._session.read.parquet(*paths)
    for name, moment in _odd_times(paths[0]).items():
        frame = frame.withColumn(name, moment)
    return _named(connection, frame)


def _odd_times(path: str) -> dict[str, Any]:
    """Columns of times that Spark reads in another way than DuckDB, as moments or as readings of a clock.

    Spark takes nanoseconds for whole numbers, and the twelve bytes of old files for moments.
    """
    found = {}
    schema = pq.ParquetFile(path).schema
    for at in range(len(schema.names)):
        column = schema.column(at)
        cell, kind = functions.col(f"`{column.name}`"), str(column.logical_type)
        if "timeUnit=nanoseconds" in kind:
            cell = functions.timestamp_micros(functions.floor(cell / functions.lit(1000)))
        elif column.physical_type != "INT96":
            continue
        zoned = "isAdjustedToUTC=true" in kind
        found[column.name] = cell if zoned else cell.cast("timestamp_ntz")
    return found


def read_numbered(connection: Spark, paths: list[str], file: str, row: str) -> ibis.Table:
    frame = connection._session.read.parquet(*paths)
    names = {"row_index": row, "file_name": file}
    found = [functions.col(f"_metadata.{about}").alias(name) for about, name in names.items()]
    return _named(connection, frame.select("*", *found))


def _texts(names: list[str]) -> types.StructType:
    return types.StructType([types.StructField(name, types.StringType()) for name in names])


def read_delimited(
    connection: Spark, paths: list[str], names: list[str], delimiter: str, quote: str
) -> ibis.Table:
    _refuse_packed(paths)
    frame = connection._session.read.csv(
        paths,
        schema=_texts(names),
        sep=delimiter,
        quote=quote,
        escape=quote or "\0",
        header=True,
        multiLine=bool(quote),
        enforceSchema=True,
        mode="FAILFAST",
        maxCharsPerColumn=-1,
    )
    return _named(connection, frame)


def read_json(connection: Spark, paths: list[str], names: list[str], listed: bool) -> ibis.Table:
    _refuse_packed(paths)
    how = {"multiLine": listed, "mode": "FAILFAST"}
    if not names:
        frame = connection._session.read.json(paths, primitivesAsString=True, **how)
        names = frame.columns
    return _named(connection, connection._session.read.json(paths, schema=_texts(names), **how))


def _refuse_packed(paths: list[str]) -> None:
    packed = [path for path in paths if path.endswith((".zst", ".zstd"))]
    if packed:
        raise BadConfig(
            f"{packed[0]}: Spark reads no text packed with zstd: unpack it, or pack it with gzip, or write it as Parquet"
        )


def numbered(connection: Spark, table: ibis.Table, row: str) -> ibis.Table:
    session = connection._session
    before = {name: session.conf.get(name, None) for name in WHOLE_FILES}
    for name, value in WHOLE_FILES.items():
        session.conf.set(name, value)
    try:
        frame = _frame(connection, table).withColumn(row, functions.monotonically_increasing_id())
        return _kept(connection, f"_numbered_{next(connection.numbers)}", frame)
    finally:
        for name, former in before.items():
            session.conf.unset(name) if former is None else session.conf.set(name, former)


def frame(connection: Spark, table: ibis.Table) -> Any:
    return _frame(connection, table)


def marked(connection: Spark, name: str, frame: Any, marks: Mapping[str, Any]) -> ibis.Table:
    texts = [field.name for field in frame.schema if isinstance(field.dataType, types.StringType)]
    # A text of bytes that are none would pass for one, with marks in their place.
    strange = functions.lit(False)
    for text in texts:
        strange = strange | ~functions.is_valid_utf8(functions.col(f"`{text}`"))
    marks = {**marks, "_strange": strange}
    some = frame.withColumns(
        {mark: functions.coalesce(cell, functions.lit(False)) for mark, cell in marks.items()}
    )
    some = some.filter(reduce(or_, (functions.col(f"`{mark}`") for mark in marks)))
    found = _kept(connection, name, some)
    if found.filter(found["_strange"]).count().to_pyarrow().as_py():
        raise SparkError("a text has bytes that are not UTF-8")
    return found.drop("_strange")


def bring(connection: Spark, name: str, rows: pa.Table) -> ibis.Table:
    folder = Path(connection.folder(name))
    folder.mkdir(parents=True)
    # Spark reads no moments finer than microseconds.
    pq.write_table(rows, folder / "rows.parquet", coerce_timestamps="us")
    return _named(connection, connection._session.read.parquet(str(folder)), name)


def keep(connection: Spark, name: str, table: ibis.Table) -> ibis.Table:
    return _kept(connection, name, _frame(connection, table))


def _kept(connection: Spark, name: str, frame: Any) -> ibis.Table:
    folder = connection.folder(name)
    with _told():
        frame.write.parquet(folder)
    return _named(connection, connection._session.read.schema(frame.schema).parquet(folder), name)


def let_go(connection: Spark, name: str) -> None:
    connection._session.catalog.dropTempView(name)
    for folder in connection.spill.glob(f"????-{name}"):
        shutil.rmtree(folder)


def stream(connection: Spark, table: ibis.Table, batch_rows: int) -> Iterator[pa.RecordBatch]:
    folder = Path(connection.folder("stream"))
    schema = table.schema().to_pyarrow()
    with _told():
        _frame(connection, table).write.parquet(str(folder))
    # Spark numbers the parts in the order of the rows.
    for part in sorted(folder.glob("part-*.parquet")):
        for batch in pq.ParquetFile(part).iter_batches(batch_size=batch_rows):
            rows = _cast(pa.Table.from_batches([batch]), schema)
            try:
                rows.validate(full=True)  # Spark lets bytes that are no text pass for one.
            except pa.ArrowInvalid as error:
                raise SparkError(str(error)) from error
            yield from rows.combine_chunks().to_batches()
        part.unlink()
    shutil.rmtree(folder)

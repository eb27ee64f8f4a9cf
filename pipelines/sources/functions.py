"""Functions of the engine that Ibis has no word for, by their names on DuckDB.

Their forms on Spark are in `pipelines.engine.spark_words`.
"""

import ibis
import ibis.expr.datatypes as dt

UTC = dt.Timestamp("UTC")


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
def strptime(text: str, formats: dt.Array(dt.string)) -> dt.timestamp:  # type: ignore[valid-type]
    """A moment without a zone by the first format that fits; fails where none does."""


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
def try_strptime(text: str, formats: dt.Array(dt.string)) -> dt.timestamp:  # type: ignore[valid-type]
    """As `strptime`; null where no format fits."""


@ibis.udf.scalar.builtin(name="timezone")  # type: ignore[untyped-decorator]
def in_zone(zone: str, clock: dt.timestamp) -> UTC:  # type: ignore[valid-type]
    """The moment at which clocks of `zone` show `clock`.

    Where the clock shows an hour twice the second is taken; where it leaves an hour out, the time after the gap.
    """


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
def make_timestamp(micros: int) -> dt.timestamp:
    """Microseconds since 1970."""


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
def error(text: str) -> str:  # type: ignore[empty-body]
    """Fails with `text`, where it is reached."""


@ibis.udf.scalar.builtin(name="from_json")  # type: ignore[untyped-decorator]
def entries(text: str, structure: str) -> dt.Array(dt.string):  # type: ignore[valid-type]
    """The entries of a JSON list, as text."""


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
def json_extract_string(text: str, path: str) -> str:  # type: ignore[empty-body]
    """What lies at `path` in JSON, as text."""

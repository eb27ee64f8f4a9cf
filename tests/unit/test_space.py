"""A full disk is known by its error, however that came wrapped."""

import re
import sqlite3
from pathlib import Path

import duckdb
import pytest

from pipelines.harness import BadData, MissingResource, space

QUOTED = 'IO Error: {"exception_message":"Could not write file \\"/shop/x.parquet\\": No space left on device"}'


def fill_device() -> None:
    with open("/dev/full", "w") as file:
        file.write("x")


def fill_database() -> None:
    base = sqlite3.connect(":memory:")
    base.execute("PRAGMA max_page_count = 3")
    base.execute("CREATE TABLE t (x)")
    base.execute("INSERT INTO t VALUES (zeroblob(100000))")


def fill_spill() -> None:
    raise duckdb.OutOfMemoryException(
        "failed to offload data block.\nThis limit was set by the 'max_temp_directory_size' setting."
    )


def fill_table() -> None:
    raise duckdb.IOException(QUOTED)


def wrapped(fill) -> None:
    try:
        fill()
    except Exception as error:
        raise MissingResource("MLflow is away") from error


def within(fill) -> None:
    try:
        fill()
    finally:
        raise RuntimeError("the run could not be closed")


@pytest.mark.parametrize("around", [lambda fill: fill(), wrapped, within])
@pytest.mark.parametrize(
    ("fill", "where"),
    [
        (fill_device, "/shop/partial"),
        (fill_database, "/shop/mlflow.db"),
        (fill_spill, "/shop/partial"),
        (fill_table, "/shop/x.parquet"),
    ],
)
def test_it_is_found_behind_what_was_raised(fill, where: str, around) -> None:
    with pytest.raises(Exception) as caught:
        around(fill)
    found = space.full(caught.value)
    assert found is not None
    assert space.place(found, Path("/shop/partial"), Path("/shop/mlflow.db")) == Path(where)


@pytest.mark.parametrize(
    "error",
    [
        BadData("reviews.csv, row 3: 'No space left on device' is no rating"),
        OSError(2, "no such file", "x"),
        ValueError("boom"),
    ],
)
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert space.full(error) is None


def test_what_is_told_has_path_and_bytes(tmp_path: Path) -> None:
    text = space.told(tmp_path / "not" / "there.bin", 1000, 5000)
    assert str(tmp_path / "not" / "there.bin") in text
    assert "1,000 bytes written" in text
    free, needed = (
        int(found.replace(",", ""))
        for found in re.search(r"([\d,]+) bytes free .* at least ([\d,]+) bytes", text).groups()
    )
    assert needed == free + 1  # more than there is, though 5,000 were counted

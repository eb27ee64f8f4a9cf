"""Tables in parts: a folder of Parquet files of equal columns, each with the rows of one stretch of time.

A part is a year, a month or a day in UTC, by how many rows there are, and is named by it: `2024`, `2024-03`,
`2024-03-05`. So a day's rows that come later change the part of that day, or one of few rows. Names sort as the times do.
"""

import datetime
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import ibis

ROWS = 200_000
"""A year or a month with more rows than these is cut into shorter parts."""
PART = "_part"
"""The column that names each row's part while a table is on its way into parts."""
UNDATED = "undated"
"""The part of rows with no time, or one that no calendar has."""
NO_DAY = -(10**9)
"""Stands for the day of such rows."""
EPOCH = datetime.date(1970, 1, 1).toordinal()


def files_of(path: Path) -> list[Path]:
    """The Parquet files of a table: itself, or those of its parts in their order."""
    return sorted(path.glob("*.parquet")) if path.is_dir() else [path]


def day(time: ibis.Value) -> ibis.Value:
    """The day of a moment in UTC, counted from 1970-01-01; `NO_DAY` where there is none."""
    return (time.epoch_seconds() / 86_400.0).floor().try_cast("int64").fill_null(NO_DAY)


def days_of(table: ibis.Table, time: str) -> dict[int, int]:
    """The days of a table, and how many rows each has."""
    days = table.select(_day=day(table[time]))
    counted = days.group_by("_day").agg(rows=ibis._.count()).to_pyarrow()
    return dict(zip(counted["_day"].to_pylist(), counted["rows"].to_pylist(), strict=True))


def cut(days: Mapping[int, int], most: int | None = None) -> dict[int, str]:
    """The name of each day's part, by the rows of each day. most: rows of a year or month in one part; None: `ROWS`.

    >>> cut({0: 10, 40: 5, 365: 3}, most=100)
    {0: '1970', 40: '1970', 365: '1971'}
    >>> cut({0: 10, 1: 20, 40: 5, 365: 3}, most=20)
    {0: '1970-01-01', 1: '1970-01-02', 40: '1970-02', 365: '1971'}
    """
    most = ROWS if most is None else most
    dates = {number: _date(number) for number in days}
    rows: Counter[str] = Counter()
    for number, count in days.items():
        date = dates[number]
        for letters in (4, 7) if date else ():
            rows[date[:letters]] += count
    found = {}
    for number, date in dates.items():
        fits = (date[:letters] for letters in (4, 7) if rows[date[:letters]] <= most)
        found[number] = next(fits, date) or UNDATED
    return found


def _date(number: int) -> str:
    """A day as ISO 8601 has it; empty where no calendar has it."""
    try:
        return datetime.date.fromordinal(EPOCH + number).isoformat()
    except (ValueError, OverflowError):
        return ""


def between(table: ibis.Table, time: str, days: Mapping[int, str]) -> ibis.Table:
    """The rows from the first of the days to the last, for files that know their rows' times by the block."""
    if not days or not all(map(_date, days)):
        return table
    first, last = (
        datetime.datetime.fromisoformat(_date(number)).replace(tzinfo=datetime.UTC)
        for number in (min(days), max(days))
    )
    start = table[time] >= ibis.literal(first)
    return table.filter(start, table[time] < ibis.literal(last) + ibis.interval(days=1))

"""Columns of events a block at a time: they may lie in mapped files, which then never stand in memory as a whole."""

import mmap
from collections.abc import Iterator

import numpy as np

BLOCK_EVENTS = 1 << 20
"""Events that are worked on at a time."""
GATHERED = 1 << 14
"""Events that are picked at a time: of a mapped file, many more come with each."""


def parts(count: int, most: int = 0) -> Iterator[slice]:
    """Slices of up to `most` rows of `count`, one at least. most: 0 for `BLOCK_EVENTS`."""
    most = most or BLOCK_EVENTS
    for start in range(0, max(count, 1), most):
        yield slice(start, min(start + most, count))


def stretches(bounds: np.ndarray) -> Iterator[slice]:
    """Slices of the events of whole users, up to `BLOCK_EVENTS` each, but for a user who has more; one at least.

    bounds: (U + 1,) where each user's begin, and where the last one's end.
    """
    start, count = 0, int(bounds[-1])
    while True:
        end = int(bounds[np.searchsorted(bounds, start + BLOCK_EVENTS, "right") - 1])
        if end == start < count:
            end = int(bounds[np.searchsorted(bounds, start, "right")])
        yield slice(start, end)
        start = end
        if start >= count:
            return


def release(*columns: np.ndarray) -> None:
    """Let go of the pages of mapped files that hold these; they are read again when they are asked for.

    Nothing happens to an array in memory, or to one that may have been written to.
    """
    for column in columns:
        home: object = column
        while isinstance(home, np.ndarray):
            home = home.base
        if isinstance(home, mmap.mmap) and not column.flags.writeable:
            home.madvise(mmap.MADV_DONTNEED)


def picked(column: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`column[rows]` of a column (E,) that may be mapped. rows: positions (m,)."""
    found = np.empty(len(rows), column.dtype)
    for part in parts(len(rows), GATHERED):
        found[part] = column[rows[part]]
        release(column)
    return found

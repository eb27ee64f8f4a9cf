"""Events that don't fit into memory: their columns as files without a name, sorted by user and time, mapped.

The files take 18 bytes an event (22 where kinds say more or less) of the folder's disk, as much again while they are made.
They have no name there, and go when nothing holds their columns any more, also where the process is killed.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.recommenders.columns import parts, release, stretches
from models.recommenders.events import (
    Events,
    days_of,
    encoded,
    hashed,
    ordered,
    said_by,
    scaled,
    settled,
)
from pipelines.tables import Interactions

COLUMNS = [Interactions.USER, Interactions.ITEM, Interactions.TIME, Interactions.EVENT]
BATCH_ROWS = 65_536
TYPES: dict[str, type[np.generic]] = {
    "user": np.int32,
    "item": np.int32,
    "day": np.float64,
    "kind": np.int16,
}


@dataclass(frozen=True)
class EventFiles:
    """Columns as in `Events`, and kind: (E,) positions in `names`. folder: where files are made."""

    users: list[str]
    items: list[str]
    user: np.ndarray
    item: np.ndarray
    day: np.ndarray
    kind: np.ndarray
    names: list[str]
    folder: Path

    def __len__(self) -> int:
        return len(self.user)

    @property
    def columns(self) -> list[np.ndarray]:
        return [self.user, self.item, self.day, self.kind]

    @cached_property
    def newest(self) -> float:
        """The day of the newest event, 0 where there is none."""
        found = 0.0
        for part in parts(len(self)):
            found = max(found, float(self.day[part].max(initial=0.0)))
            release(self.day)
        return found

    def events(self, kinds: Mapping[str, float] | None = None, now: float | None = None) -> Events:
        """As what models are fitted on. kinds: how much an event of each kind says. now: see `Events.from_arrays`."""
        weight = None
        if kinds and self.names:
            there = np.zeros(len(self.names), bool)
            for part in parts(len(self)):
                there[self.kind[part]] = True
                release(self.kind)
            kinds = scaled(np.flatnonzero(there), self.names, kinds)
            if said_by(np.flatnonzero(there), self.names, kinds) is not None:
                weight = self._weights(kinds)
        now = self.newest if now is None else now
        return Events(
            self.users,
            self.items,
            self.user,
            self.item,
            self.day,
            now,
            True,
            weight,
            ordered(kinds),
        )

    def _weights(self, kinds: Mapping[str, float]) -> np.ndarray:
        each = np.ones(len(self.names), np.float32)
        told = said_by(np.arange(len(self.names)), self.names, kinds)
        each = each if told is None else told
        with _file(self.folder) as file:
            for part in parts(len(self)):
                each[self.kind[part]].tofile(file)
                release(self.kind)
            return _mapped(file, np.float32)

    def where(
        self,
        keep: Callable[[np.ndarray, np.ndarray], np.ndarray],
        items: list[str] | None = None,
    ) -> "EventFiles":
        """The events that are kept, by item and kind (m,) to booleans; all users. items: a beginning of the items that
        all of these are of."""

        def kept(part: slice) -> np.ndarray:
            return keep(self.item[part], self.kind[part])

        found = replace(self, items=items or self.items)
        if all(kept(part).all() for part in parts(len(self))):
            return found
        with _Files(self.folder) as files:
            for part in parts(len(self)):
                mask = kept(part)
                files.add([column[part][mask] for column in self.columns])
                release(*self.columns)
            user, item, day, kind = files.mapped()
        return replace(found, user=user, item=item, day=day, kind=kind)


def batches(paths: Iterable[Path], before: pa.Scalar | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of Parquet files, of which `COLUMNS` matter; those before a moment."""
    for path in paths:
        with pq.ParquetFile(path) as file:
            # Of all groups at once, what was read of each would stay until the last.
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=COLUMNS):
                    kept = None if before is None else pc.less(batch[Interactions.TIME], before)
                    yield batch if kept is None else batch.filter(kept)


def written(found: Iterable[pa.RecordBatch], items: list[str], folder: Path) -> EventFiles:
    """The events of batches in any order; those of items that are not in `items` are left out, their users stay."""
    folder.mkdir(parents=True, exist_ok=True)
    catalogue = pd.Index(items, dtype=object)
    numbers: dict[str, int] = {}
    kinds: dict[str, int] = {}
    with _Files(folder) as raw, _Files(folder) as files:
        for batch in found:
            user, names = encoded(batch.column(Interactions.USER))
            item, ids = encoded(batch.column(Interactions.ITEM))
            place = catalogue.get_indexer(pd.Index(ids, dtype=object))[item]
            of = np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int32)
            known = place >= 0
            moments = batch.column(Interactions.TIME).to_numpy(zero_copy_only=False)
            kind = np.zeros(len(known), np.int16)
            if Interactions.EVENT in batch.schema.names:
                codes, told = encoded(batch.column(Interactions.EVENT))
                kind = np.array([kinds.setdefault(one, len(kinds)) for one in told], np.int16)[
                    codes
                ]
            raw.add([of[user[known]], place[known], days_of(moments[known]), kind[known]])
        users = sorted(numbers)
        rank = np.zeros(len(users), np.int32)
        rank[[numbers[name] for name in users]] = np.arange(len(users))
        del numbers
        of_items: list[np.ndarray] = []

        def of_item() -> np.ndarray:
            if not of_items:
                of_items.append(hashed(items))
            return of_items[0]

        for columns in _by_stretch(raw, rank, folder):
            files.add(settled(columns, users, of_item))
        user, item, day, kind = files.mapped()
    return EventFiles(users, items, user, item, day, kind, list(kinds), folder)


class _Files:
    """Columns that are being written, in the order of `TYPES`."""

    def __init__(self, folder: Path) -> None:
        self.files = [_file(folder) for _ in TYPES]

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self.files:
            file.close()

    def add(self, columns: Sequence[np.ndarray]) -> None:
        for file, column, kind in zip(self.files, columns, TYPES.values(), strict=True):
            file.write(np.ascontiguousarray(column, kind).data)

    def mapped(self) -> list[np.ndarray]:
        """What was added. The files may be closed."""
        return [_mapped(file, kind) for file, kind in zip(self.files, TYPES.values(), strict=True)]


def _file(folder: Path) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=folder)


def _mapped(file: IO[bytes], kind: type[np.generic]) -> np.ndarray:
    file.flush()
    if not file.tell():
        return np.zeros(0, kind)
    return np.asarray(np.memmap(file, kind, "r"))


def _by_stretch(raw: _Files, rank: np.ndarray, folder: Path) -> Iterator[list[np.ndarray]]:
    """The columns of one stretch of users after the other, in the order in which they were added.

    rank: (U,) the number that a user has, of the number that was added. Rows are dealt to the places of their stretches.
    """
    user, item, day, kind = raw.mapped()
    counts = np.zeros(len(rank), np.int64)
    for part in parts(len(user)):
        counts += np.bincount(rank[user[part]], minlength=len(rank))
        release(user)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    slices = list(stretches(bounds))
    starts = np.array([one.start for one in slices])
    if len(slices) == 1:
        yield [rank[user], item, day, kind]
        return
    ends = starts.copy()
    of_user = np.searchsorted(starts, bounds[:-1], "right") - 1
    with _Files(folder) as dealt:
        for part in parts(len(user)):
            numbers = rank[user[part]]
            stretch = of_user[numbers]
            order = np.argsort(stretch, kind="stable")
            columns = [numbers[order], *(column[part][order] for column in (item, day, kind))]
            there, begins, held = np.unique(stretch[order], return_index=True, return_counts=True)
            for one, begin, count in zip(there, begins, held, strict=True):
                for file, column in zip(dealt.files, columns, strict=True):
                    file.seek(int(ends[one]) * column.itemsize)
                    file.write(column[begin : begin + count].data)
                ends[one] += count
            release(user, item, day, kind)
        for file in dealt.files:
            file.seek(0, 2)
        columns = dealt.mapped()
        for part in slices:
            yield [column[part] for column in columns]
            release(*columns)

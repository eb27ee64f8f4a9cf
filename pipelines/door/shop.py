"""A shop as plain files: events, what is known of items, who is listed and what may be."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.recommenders.catalogue import Catalogue
from models.recommenders.cuts import Protocol
from models.recommenders.events import SECONDS_A_DAY, Events, by_kind, hash_order
from pipelines.door import files
from pipelines.door.verb import Asked
from pipelines.harness import BadData

USER, ITEM, TIME, PLACE, EVENT = "user", "item", "ts", "pos", "event"
TEXT = {USER: pa.string(), ITEM: pa.string()}
UNITS = ((1e16, 1e9), (1e13, 1e6), (1e10, 1e3))
"""A number above the first is in parts of a second, so many a second."""
HELD_BACK = 0.08
"""Share of the events that is held back where no validation file is given."""
ONE_EACH = 0.95
"""Share of validation users with a single event from which they are taken for everyone's next event."""


@dataclass(frozen=True)
class Log:
    """Events of one file. user, item: ids as texts. day: days, or the order of each user's events. tie: orders what day
    ties, NaN where nothing does. event: the kind, "" where it is not told."""

    user: np.ndarray
    item: np.ndarray
    day: np.ndarray
    tie: np.ndarray
    event: np.ndarray
    clock: bool

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True)
class ShopFiles:
    """events: of train and valid. listed: events of everyone who gets a list.

    features: of these users. order: (users,) their places in `listed`, in the asked order. allowed: (items,) or None for
    all.
    """

    events: Events
    listed: Events
    catalogue: Catalogue
    features: Catalogue
    order: np.ndarray
    protocol: Protocol
    allowed: np.ndarray | None
    user_type: pa.DataType
    item_type: pa.DataType


def read_shop(asked: Asked, kinds: Mapping[str, float]) -> ShopFiles:
    """What the files of `recommend` give. kinds: how much an event of each kind says. Raises `BadData` naming file, column and row."""
    logs = {
        flag: read_log(asked.files[flag])
        for flag in ("train", "valid", "fold-in")
        if flag in asked.files
    }
    if not len(logs["train"]):
        raise BadData(f"{asked.files['train']}: there is no event; at least one is needed")
    if len({log.clock for log in logs.values()}) > 1:
        raise BadData("some files of events have ts, others only pos: give all the same column")
    given = {
        flag: files.read(asked.files[flag], {ITEM: pa.string()})
        for flag in ("items", "candidates")
        if flag in asked.files
    }
    known = [log.item for log in logs.values()]
    known += [table[ITEM].to_numpy(zero_copy_only=False) for table in given.values()]
    items = hash_order(pd.unique(np.concatenate(known)).tolist())
    learnt = [logs[flag] for flag in ("train", "valid") if flag in logs]
    events = _events(learnt, items, kinds)
    listed = _events(list(logs.values()), items, kinds) if "fold-in" in logs else events
    listed = replace(listed, now=events.now) if events.clock else listed
    features = Catalogue.none(len(listed.users))
    asked_for = [logs[flag].user for flag in ("fold-in", "train", "valid") if flag in logs]
    if "users" in asked.files:
        table = files.read(asked.files["users"], {USER: pa.string()})
        asked_for.insert(0, table[USER].to_numpy(zero_copy_only=False).astype(object))
        listed = listed.of(_numbered(np.concatenate(asked_for))[0].tolist())
        features = Catalogue.from_table(table, USER, listed.users)
    allowed = None
    if "candidates" in given:
        allowed = pd.Index(items).isin(given["candidates"][ITEM].to_pylist())
        if not allowed.any():
            raise BadData(f"{asked.files['candidates']}: there is no item; at least one is needed")
    protocol = _protocol(logs)
    if protocol.last and events.clock:
        events, listed = events.without_clock(), listed.without_clock()
    return ShopFiles(
        events=events,
        listed=listed,
        catalogue=Catalogue.from_table(given["items"], ITEM, items)
        if "items" in given
        else Catalogue.none(len(items)),
        features=features,
        order=pd.Index(listed.users).get_indexer(pd.unique(np.concatenate(asked_for))),
        protocol=protocol,
        allowed=allowed,
        user_type=_kind(asked.files["train"], USER),
        item_type=_kind(asked.files["train"], ITEM),
    )


def read_log(path: Path) -> Log:
    """The events of one file."""
    table = files.read(path, TEXT, {EVENT: pa.string()})
    user, item = (
        table[name].to_numpy(zero_copy_only=False).astype(object) for name in (USER, ITEM)
    )
    place = np.full(len(table), np.nan)
    event = np.full(len(table), "", dtype=object)
    if EVENT in table.column_names:
        event = table[EVENT].fill_null("").to_numpy(zero_copy_only=False).astype(object)
    if PLACE in table.column_names:
        place = _numbers(path, PLACE, table[PLACE])
    if TIME in table.column_names:
        return Log(user, item, _days(path, table[TIME]), place, event, True)
    if PLACE not in table.column_names:
        raise BadData(f"{path}: column {TIME!r} (time) or {PLACE!r} (order) is needed")
    return Log(user, item, place, np.full(len(table), np.nan), event, False)


def _numbers(path: Path, name: str, column: pa.ChunkedArray) -> np.ndarray:
    values = pd.to_numeric(pd.Series(column.to_pandas()), errors="coerce").to_numpy(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        found = column[int(bad[0])].as_py()
        raise BadData(
            f"{path}, column {name}, row {bad[0] + 1}: {found!r} is no number; fill it in"
        )
    return values


def _days(path: Path, column: pa.ChunkedArray) -> np.ndarray:
    """Days since 1970 of times, dates, ISO texts, or numbers of seconds (or parts of them)."""
    if pa.types.is_temporal(column.type):
        stamps = (
            column.cast(pa.timestamp("us")) if not pa.types.is_timestamp(column.type) else column
        )
        stamps = stamps.cast(pa.timestamp("us", stamps.type.tz), safe=False)
        days = pc.cast(stamps, pa.int64()).to_pandas().to_numpy(np.float64) / (SECONDS_A_DAY * 1e6)
    else:
        series = column.to_pandas()
        numbers = pd.to_numeric(series, errors="coerce")
        if numbers.notna().all():
            values = numbers.to_numpy(np.float64)
            top = np.abs(values).max(initial=0.0)
            unit = next((unit for above, unit in UNITS if top > above), 1.0)
            days = values / (SECONDS_A_DAY * unit)
        else:
            stamps = pd.to_datetime(series, errors="coerce", utc=True, format="mixed")
            days = stamps.to_numpy("datetime64[us]").astype(np.int64) / (SECONDS_A_DAY * 1e6)
            days = np.where(stamps.isna(), np.nan, days)
    bad = np.flatnonzero(~np.isfinite(days))
    if len(bad):
        found = column[int(bad[0])].as_py()
        raise BadData(f"{path}, column {TIME}, row {bad[0] + 1}: {found!r} is no time; fill it in")
    return days


def _events(logs: list[Log], items: list[str], kinds: Mapping[str, float]) -> Events:
    """All logs as one; users in the order of their ids, the logs in the order of time where only orders are known."""
    user = np.concatenate([log.user for log in logs])
    item = np.concatenate([log.item for log in logs])
    part = np.repeat(np.arange(len(logs)), [len(log) for log in logs])
    day = np.concatenate([log.day for log in logs])
    tie = np.nan_to_num(np.concatenate([log.tie for log in logs]))
    users, owner = _numbered(user)
    place = pd.Index(items).get_indexer(item)
    clock = logs[0].clock
    if not clock:
        # An order holds within a file; the files follow one another.
        order = np.lexsort((day, part, owner))
        day = np.empty(len(day))
        day[order] = np.arange(len(order))
        raw = np.concatenate([log.day for log in logs])
        same = np.r_[
            False,
            (raw[order][1:] == raw[order][:-1])
            & (owner[order][1:] == owner[order][:-1])
            & (part[order][1:] == part[order][:-1]),
        ]
        day[order] -= np.where(
            same,
            np.arange(len(order)) - np.maximum.accumulate(np.where(same, 0, np.arange(len(order)))),
            0,
        )
    elif tie.any():
        order = np.lexsort((tie, day, owner))
        days = day[order]
        # A hundredth of a second apart, so that what the file orders stays in order.
        fresh = np.r_[True, (days[1:] != days[:-1]) | (owner[order][1:] != owner[order][:-1])]
        within = np.arange(len(order)) - np.maximum.accumulate(
            np.where(fresh, np.arange(len(order)), 0)
        )
        day[order] = days + within * 0.01 / SECONDS_A_DAY
    weight = by_kind(np.concatenate([log.event for log in logs]), kinds)
    found = Events.from_arrays(users.tolist(), items, owner, place, day, clock=True, weight=weight)
    return found if clock else found.without_clock()


def _numbered(names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sorted distinct names, and the number of each."""
    codes, distinct = pd.factorize(names)
    order = np.argsort(distinct.astype(str), kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return distinct[order], place[codes]


def _protocol(logs: dict[str, Log]) -> Protocol:
    """How lists will be judged, as far as the files tell."""
    train, valid = logs["train"], logs.get("valid")
    if not train.clock:
        return Protocol(last=True, days=0.0)
    if valid is not None and len(valid):
        counts = pd.Series(valid.user).value_counts()
        mixed = np.quantile(train.day, 0.99) > np.quantile(valid.day, 0.25)
        if (counts == 1).mean() >= ONE_EACH and mixed:
            return Protocol(last=True, days=0.0)
        days = float(valid.day.max() - train.day.max())
        if days > 0:
            return Protocol(last=False, days=days + 1e-6)
    end, start = float(train.day.max()), float(np.quantile(train.day, 1 - HELD_BACK))
    return Protocol(last=False, days=max(end - start, 1.0 / 24))


def _kind(path: Path, name: str) -> pa.DataType:
    """The type that the file's ids have, to write them likewise."""
    if files.form(path) == "parquet":
        kind = pq.read_schema(path).field(name).type
        return kind.value_type if pa.types.is_dictionary(kind) else kind
    if files.form(path) == "lines":
        kind = files.read(path, {}).schema.field(name).type
        return kind
    return pa.string()

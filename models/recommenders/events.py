"""Events as arrays, and histories: what each user did, item by item, weighed by age."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from models.recommenders.columns import parts, picked, release, stretches

SECONDS_A_DAY = 86_400.0
HALF_LIVES = (7.0, 30.0, 90.0, 365.0)
"""Days after which an event counts half; a history keeps one decayed count for each."""

REBOUGHT = 0.01
"""A share of repeated events below which what a user has belongs on no list of theirs."""


def hash_order(ids: Sequence[str]) -> list[str]:
    """Distinct ids ordered by a hash, so that a position tells nothing and ties are broken by chance alone."""
    return sorted(set(ids), key=name_hash)


def name_hash(name: str) -> bytes:
    """What `hash_order` orders by."""
    return hashlib.sha256(name.encode()).digest()


def encoded(column: pa.Array) -> tuple[np.ndarray, list[str]]:
    """A column of text as numbers (n,) and the text that each stands for."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    return column.indices.to_numpy(), column.dictionary.to_pylist()


def days_of(stamps: np.ndarray) -> np.ndarray:
    """Days since 1970, (n,) float64, of moments (n,) in UTC, `datetime64` of any unit."""
    return stamps.astype("datetime64[us]").astype(np.int64) / (SECONDS_A_DAY * 1e6)


@dataclass(frozen=True)
class Events:
    """Events of known items, sorted by user and time.

    users: names (U,). items: names (n,) in `hash_order`. user, item: positions (E,) int32. day: (E,) float64 days since
    1970. now: the moment that ages are counted from, in days. clock: False where only the order is known; then the
    days are minus the number of the user's events that came later, and `now` is 0. weight: (E,) float32, how much each
    says, the greatest 1; None where all say the same. kinds: how much an event of each kind says here, likewise.
    Events of one moment stand in an order that a hash of user and item gives, another one for each user. The columns may
    be mapped files, which are read a block at a time.
    """

    users: list[str]
    items: list[str]
    user: np.ndarray
    item: np.ndarray
    day: np.ndarray
    now: float
    clock: bool = True
    weight: np.ndarray | None = None
    kinds: Mapping[str, float] | None = None

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        items: list[str],
        now: float | None = None,
        kinds: Mapping[str, float] | None = None,
        fixed: bool = False,
    ) -> "Events":
        """From columns user_id, item_id, timestamp [event]; events of items that are not in `items` are left out.

        now: days since 1970; without it the newest event's. kinds: weights of the column event, see `by_kind`. fixed: 1
        is the most that an event says; else the greatest weight that is there.
        """
        place = pd.Index(items).get_indexer(frame["item_id"])
        known = place >= 0
        # By hash, then the few names are sorted: many times quicker than to sort a name of every event.
        user, names = pd.factorize(frame["user_id"], sort=True)
        day = days_of(pd.to_datetime(frame["timestamp"], utc=True).to_numpy("datetime64[us]"))
        weight = None
        if kinds and "event" in frame.columns:
            event, kinds_there = numbered(frame["event"].to_numpy(dtype=object)[known])
            kinds = kinds if fixed else scaled(event, kinds_there, kinds)
            weight = said_by(event, kinds_there, kinds)
        found = cls.from_arrays(
            names.tolist(), items, user[known], place[known], day[known], now, weight=weight
        )
        return replace(found, kinds=ordered(kinds))

    def beside(self, frame: pd.DataFrame) -> "Events":
        """The events of a frame as those here are told, so that who is listed from them is like one who is known.

        Of the same items; each kind says as much as here, even where the frame has no other; ages count from the newest
        of all, or are places where only the order is known. frame: see `from_frame`.
        """
        found = Events.from_frame(frame, self.items, kinds=self.kinds, fixed=True)
        if not self.clock:
            return found.without_clock()
        return replace(found, now=max(found.now, self.now))

    @classmethod
    def from_arrays(
        cls,
        users: list[str],
        items: list[str],
        user: np.ndarray,
        item: np.ndarray,
        day: np.ndarray,
        now: float | None = None,
        clock: bool = True,
        weight: np.ndarray | None = None,
    ) -> "Events":
        """From positions and days in any order. now: without it the newest event's day."""
        kinds = (np.int32, np.int32, np.float64)
        given = zip((user, item, day), kinds, strict=True)
        columns = [values.astype(kind, copy=False) for values, kind in given]
        if weight is not None:
            columns.append(weight)
        columns = settled(columns, users, lambda: hashed(items))
        return cls(
            users=users,
            items=items,
            user=columns[0],
            item=columns[1],
            day=columns[2],
            now=float(day.max(initial=0.0)) if now is None else now,
            clock=clock,
            weight=None if weight is None else columns[3],
        )

    def before(self, day: float) -> "Events":
        """The events before a moment, which becomes `now`. Users stay, also those who have none left."""
        return self._where(lambda part: self.day[part] < day, day)

    def between(self, start: float, end: float) -> "Events":
        """The events from `start` to before `end`."""
        return self._where(lambda part: (self.day[part] >= start) & (self.day[part] < end), end)

    def chosen(self, kept: np.ndarray, now: float) -> "Events":
        """The events that `kept` (E,) marks. Users stay, also those who have none left."""
        return self._where(lambda part: kept[part], now)

    def _where(self, keep: Callable[[slice], np.ndarray], now: float) -> "Events":
        """`chosen`, told of each part of the events: (part,) booleans."""
        found: list[list[np.ndarray]] = [[] for _ in self.columns]
        for part in parts(len(self.user)):
            kept = keep(part)
            for column, into in zip(self.columns, found, strict=True):
                into.append(column[part][kept])
            release(*self.columns)
        return self._of(now, *(np.concatenate(found.pop(0)) for _ in self.columns))

    @property
    def columns(self) -> list[np.ndarray]:
        """What there is of user, item, day and weight."""
        columns = [self.user, self.item, self.day]
        return columns if self.weight is None else [*columns, self.weight]

    def _of(
        self,
        now: float,
        user: np.ndarray,
        item: np.ndarray,
        day: np.ndarray,
        weight: np.ndarray | None = None,
    ) -> "Events":
        return replace(self, now=now, user=user, item=item, day=day, weight=weight)

    @property
    def strongest(self) -> "Events":
        """The events that say most: purchases, where views are known too."""
        weight = self.weight
        if weight is None:
            return self
        top = self._top_before(np.inf)
        return self._where(lambda part: weight[part] >= top, self.now)

    def _top_before(self, end: float) -> float:
        """The greatest weight that is there before a day."""
        if self.weight is None:
            return 1.0
        found = 0.0
        for part in parts(len(self.weight)):
            weight = self.weight[part][self.day[part] < end]
            found = max(found, float(weight.max(initial=0.0)))
            release(*self.columns)
        return found

    @cached_property
    def bounds(self) -> np.ndarray:
        """Where the events of each user begin, and where the last one's end, (U + 1,)."""
        counts = np.zeros(len(self.users) + 1, np.int64)
        for part in parts(len(self.user)):
            user = self.user[part]
            if len(user):
                counts[user[0] + 1 : user[-1] + 2] += np.bincount(user - user[0])
            release(self.user)
        return np.cumsum(counts)

    def stretches(self) -> Iterator[slice]:
        """See `columns.stretches`."""
        return stretches(self.bounds)

    @property
    def later(self) -> np.ndarray:
        """How many events of the same user came after each event, (E,)."""
        return self.later_in(slice(0, len(self.user)))

    def later_in(self, part: slice) -> np.ndarray:
        """`later` of the events of a part."""
        return self.bounds[1:][self.user[part]] - 1 - np.arange(part.start, part.stop)

    def without_clock(self) -> "Events":
        """The same with nothing but the order of each user's events."""
        return replace(self, day=-self.later.astype(np.float64), now=0.0, clock=False)

    def of(self, names: Sequence[str]) -> "Events":
        """The events of these users, who become users 0, 1, … in this order; unknown ones have no events."""
        position = pd.Index(list(names)).get_indexer(self.users)
        known = np.flatnonzero(position >= 0)
        places = np.full(len(names), -1)
        places[position[known]] = known
        return self.at(places, names)

    def at(self, places: np.ndarray, names: Sequence[str]) -> "Events":
        """`of` the users at these places (m,), -1 for who has no events. names: (m,)."""
        there = np.flatnonzero(places >= 0)
        starts = self.bounds[places[there]]
        lengths = self.bounds[places[there] + 1] - starts
        ends = np.cumsum(lengths)
        rows = np.arange(ends[-1] if len(ends) else 0)
        rows += np.repeat(starts - (ends - lengths), lengths)
        user = np.repeat(there, lengths).astype(np.int32)
        told = (picked(column, rows) for column in self.columns[1:])
        return replace(self._of(self.now, user, *told), users=list(names))

    def drawn(self, most: int, seed: int) -> "Events":
        """The events of users who are drawn until they have so many together; all where there are no more."""
        if len(self.user) <= most:
            return self
        order = np.random.default_rng(seed).permutation(len(self.users))
        held = np.cumsum(np.diff(self.bounds)[order])
        few = np.sort(order[: np.searchsorted(held, most, side="right")])
        return self.at(few, [self.users[at] for at in few])

    def popularity(self, half_life: float, until: float | None = None) -> np.ndarray:
        """Decayed number of events of each item, each by its weight, (n,) float64.

        until: a moment that ages are counted from, and before which events count; without it all, from `now`.
        """
        now = self.now if until is None else until
        found = np.zeros(len(self.items))
        for part in parts(len(self.day)):
            day = self.day[part]
            weight = decay(now - day, half_life)
            if until is not None:
                weight[day >= until] = 0.0
            if self.weight is not None:
                weight = weight * self.weight[part]
            np.add.at(found, self.item[part], weight)
            release(*self.columns)
        return found

    @cached_property
    def bought_again(self) -> bool:
        """Whether goods are bought again here: whether `REBOUGHT` of the strongest events are with an item of an earlier day."""
        return self.again_before(np.inf)

    def again_before(self, end: float) -> bool:
        """`bought_again` of what was before a day."""
        again = bought = 0
        top = self._top_before(end)
        for part in self.stretches():
            kept = self.day[part] < end
            if self.weight is not None:
                kept &= self.weight[part] >= top
            user, item, day = (column[part][kept] for column in (self.user, self.item, self.day))
            key = user.astype(np.int64) * len(self.items) + item
            order = np.lexsort((day, key))
            key, day = key[order], np.floor(day[order])
            again += int(((key[1:] == key[:-1]) & (day[1:] > day[:-1])).sum())
            bought += len(key)
            release(*self.columns)
        return bool(again >= REBOUGHT * max(bought, 1))

    @cached_property
    def histories(self) -> "Histories":
        """What each user did, item by item."""
        return Histories.from_events(self)


def ordered(kinds: Mapping[str, float] | None) -> dict[str, float] | None:
    """By name: the order in which weights were written down says nothing, and equal events are equal bytes."""
    return None if kinds is None else dict(sorted(kinds.items()))


def by_kind(kinds: np.ndarray, weights: Mapping[str, float]) -> np.ndarray | None:
    """How much each event says by its kind (E,), (E,) float32, the greatest 1; None where all say the same.

    A kind that has no weight counts as the strongest.

    >>> by_kind(np.array(["view", "purchase"]), {"purchase": 2.0, "view": 0.5}).tolist()
    [0.25, 1.0]
    """
    numbers, names = numbered(kinds)
    return said_by(numbers, names, scaled(numbers, names, weights))


def numbered(kinds: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Kinds (E,) as numbers (E,), and what each stands for; one that is not told is a kind of its own."""
    numbers, names = pd.factorize(kinds, use_na_sentinel=False)
    return numbers, names.tolist()


def scaled(
    numbers: np.ndarray, names: Sequence[str], weights: Mapping[str, float]
) -> dict[str, float]:
    """The weights over the greatest of those kinds that are there. names: of the kinds at `numbers` (E,)."""
    most = max(weights.values(), default=1.0)
    there = np.unique(numbers).tolist()
    top = max((weights.get(names[at], most) for at in there), default=most)
    return {name: weight / top if top > 0 else 1.0 for name, weight in weights.items()}


def said_by(
    numbers: np.ndarray, names: Sequence[str], weights: Mapping[str, float]
) -> np.ndarray | None:
    """How much each event says, (E,) float32, at most 1; None where all say 1. As in `scaled`, whose weights these are."""
    most = max(weights.values(), default=1.0)
    each = np.array([min(weights.get(name, most), 1.0) for name in names], dtype=np.float32)
    found = each[numbers]
    return None if (found == 1.0).all() else found


def settled(
    columns: list[np.ndarray], users: list[str], of_item: Callable[[], np.ndarray]
) -> list[np.ndarray]:
    """Columns user, item, day (E,), … by user and day; what has one of each in the order of `scatter`.

    of_item: gives the hashes of all items' names. Equal events stay as they come.
    """
    user, _, day = columns[:3]
    falls = user[1:] < user[:-1]
    falls |= (user[1:] == user[:-1]) & (day[1:] < day[:-1])
    # A file may be sorted already.
    if falls.any():
        order = np.lexsort((day, user))
        columns = [column[order] for column in columns]
    user, item, day = columns[:3]
    tied = (user[1:] == user[:-1]) & (day[1:] == day[:-1])
    if not tied.any():
        return columns
    at = np.flatnonzero(np.r_[tied, False] | np.r_[False, tied])
    named, code = np.unique(user[at], return_inverse=True)
    of_user = hashed([users[one] for one in named])[code]
    mixed = scatter(of_user, of_item()[item[at]])
    order = at[np.lexsort((mixed, day[at], user[at]))]
    found = [column.copy() for column in columns]
    for column, before in zip(found, columns, strict=True):
        column[at] = before[order]
    return found


def hashed(names: Sequence[str]) -> np.ndarray:
    """A hash of each name, (n,) uint64."""
    return pd.util.hash_array(np.asarray(names, dtype=object), categorize=False)


def scatter(user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Numbers that order what has no order, (E,) uint64, from hashes of the names. Source: Steele et al. (2014), SplitMix's mixing function."""
    mixed = user * np.uint64(0x9E3779B97F4A7C15) + item
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def decay(age: np.ndarray, half_life: float) -> np.ndarray:
    """Weight of an event `age` days old: one half after each half-life; the future counts as now.

    >>> decay(np.array([0.0, 7.0, 14.0]), 7.0).tolist()
    [1.0, 0.5, 0.25]
    """
    return np.exp2(-np.maximum(age, 0.0) / half_life)


@dataclass(frozen=True)
class Histories:
    """One entry for each pair of user and item, users' entries side by side (a CSR layout).

    indptr: (U + 1,); the entries of user u are indptr[u]:indptr[u + 1]. item: (P,) positions. decayed: (P, H) counts
    decayed by each of `HALF_LIVES`. count: (P,) events. recency: (P,) days since the last one. first: (P,) days since
    the first one. place: (P,) how many events of the user came after the last one. strength: (P,) weight of the strongest
    event. decayed counts each event by its weight. items: n.
    """

    indptr: np.ndarray
    item: np.ndarray
    decayed: np.ndarray
    count: np.ndarray
    recency: np.ndarray
    first: np.ndarray
    place: np.ndarray
    strength: np.ndarray
    items: int

    @classmethod
    def from_events(cls, events: Events) -> "Histories":
        """Group events into pairs: of a stretch of users one sort, then sums over runs."""
        n, users = len(events.items), len(events.users)
        sizes = np.zeros(users, np.int64)
        found: list[list[np.ndarray]] = []
        for part in events.stretches():
            owner, *columns = _pairs(events, part)
            if len(owner):
                sizes[owner[0] : owner[-1] + 1] = np.bincount(owner - owner[0])
            found.append(columns)
            release(*events.columns)
        indptr = np.concatenate([[0], np.cumsum(sizes)])
        # A column's parts go as soon as it is joined.
        names = [one.name for one in fields(cls) if one.name not in ("indptr", "items")]
        joined: dict[str, Any] = {
            name: np.concatenate([one.pop(0) for one in found]) for name in names
        }
        return cls(indptr=indptr, items=n, **joined)

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def owner(self) -> np.ndarray:
        """The user of each entry, (P,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.indptr))

    def owner_of(self, entries: np.ndarray) -> np.ndarray:
        """The users of these entries."""
        return np.searchsorted(self.indptr, entries, side="right") - 1

    def entries(self, users: np.ndarray) -> np.ndarray:
        """Positions of the entries of these users, in this order."""
        lengths = np.diff(self.indptr)[users]
        ends = np.cumsum(lengths)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        return np.repeat(self.indptr[users], lengths) + within

    def take(self, users: np.ndarray) -> "Histories":
        """The histories of these users (positions), in this order."""
        entries = self.entries(users)
        indptr = np.concatenate([[0], np.cumsum(np.diff(self.indptr)[users])])
        return self._of(indptr, entries)

    def without_each(self, entries: np.ndarray) -> "Histories":
        """For each of `entries` (E,) its user's history as if that user had never touched that item, (E users)."""
        owner = self.owner_of(entries)
        copies = self.take(owner)
        keep = np.ones(len(copies.item), dtype=bool)
        keep[copies.indptr[:-1] + entries - self.indptr[owner]] = False
        return copies.kept(keep)

    def beyond(self, other: "Histories") -> "Histories":
        """The same users' entries with items that they have not in `other`."""
        return self.kept(~self.also_of(other))

    def also_of(self, other: "Histories") -> np.ndarray:
        """Whether the user of each entry has its item in `other`, too, (P,). Users are the same in both."""
        keys = [pairs.owner * np.int64(self.items) + pairs.item for pairs in (self, other)]
        return np.isin(*keys)

    def some(self, entries: np.ndarray) -> "Histories":
        """These entries, as if they were all of one user."""
        return self._of(np.array([0, len(entries)]), entries)

    def kept(self, keep: np.ndarray) -> "Histories":
        """The entries that `keep` (P,) marks; users stay."""
        return self._of(np.concatenate([[0], np.cumsum(keep)])[self.indptr], keep)

    def _of(self, indptr: np.ndarray, entries: np.ndarray) -> "Histories":
        """These entries of every array."""
        arrays = [one.name for one in fields(self) if one.name not in ("indptr", "items")]
        return replace(
            self, indptr=indptr, **{name: getattr(self, name)[entries] for name in arrays}
        )


def _pairs(events: Events, part: slice) -> list[np.ndarray]:
    """The owner of each pair of user and item of a stretch, and its columns in the order of `Histories`."""
    n = len(events.items)
    user, item, day = (column[part] for column in (events.user, events.item, events.day))
    key = user.astype(np.int64) * n + item
    order = np.argsort(key, kind="stable")
    key = key[order]
    age = events.now - day[order]
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(key) else np.zeros(0, int)
    weights = np.stack([decay(age, half) for half in HALF_LIVES], axis=1)
    strength = np.ones(len(key), dtype=np.float32)
    if events.weight is not None:
        strength = events.weight[part][order]
        weights *= strength[:, None]
    later = events.later_in(part)[order]
    first = age
    if len(key):
        first = np.maximum.reduceat(age, starts)
        later = np.minimum.reduceat(later, starts)
        strength = np.maximum.reduceat(strength, starts)
        decayed = np.add.reduceat(weights, starts, axis=0)
        recency = np.minimum.reduceat(age, starts)
        count = np.diff(np.r_[starts, len(key)])
    else:
        decayed, recency, count = weights, age, np.zeros(0, int)
    return [
        key[starts] // n if n else key,
        (key[starts] % n if n else key).astype(np.int32),
        decayed.astype(np.float32),
        count.astype(np.float32),
        np.maximum(recency, 0.0).astype(np.float32),
        np.maximum(first, 0.0).astype(np.float32),
        later.astype(np.float32),
        strength,
    ]

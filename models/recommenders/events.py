"""Events as arrays, and histories: what each user did, item by item, weighed by age."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa

SECONDS_A_DAY = 86_400.0
HALF_LIVES = (7.0, 30.0, 90.0, 365.0)
"""Days after which an event counts half; a history keeps one decayed count for each."""

BLOCK_EVENTS = 1 << 24
"""Events that are weighed at a time."""
REBOUGHT = 0.01
"""A share of repeated events below which what a user has belongs on no list of theirs."""


def hash_order(ids: Sequence[str]) -> list[str]:
    """Distinct ids ordered by a hash, so that a position tells nothing and ties are broken by chance alone."""
    return sorted(set(ids), key=lambda name: hashlib.sha256(name.encode()).digest())


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
    Events of one moment stand in an order that a hash of user and item gives, another one for each user.
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
    def from_batches(
        cls,
        batches: Iterable[pa.RecordBatch],
        items: list[str],
        now: float | None = None,
        kinds: Mapping[str, float] | None = None,
    ) -> "Events":
        """`from_frame` of batches of rows, one at a time: of an event stay two positions, a day and its kind."""
        catalogue = pd.Index(items)
        numbers: dict[str, int] = {}
        names_of: dict[str, int] = {}
        types = (np.int32, np.int32, np.float64, np.int16)
        parts: list[list[np.ndarray]] = [[np.zeros(0, kind)] for kind in types]
        for batch in batches:
            user, names = encoded(batch.column("user_id"))
            item, found = encoded(batch.column("item_id"))
            place = catalogue.get_indexer(pd.Index(found, dtype=object))[item]
            of = np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int32)
            known = place >= 0
            moments = batch.column("timestamp").to_numpy(zero_copy_only=False)
            event = np.zeros(len(known), np.int16)
            if kinds and "event" in batch.schema.names:
                codes, names = encoded(batch.column("event"))
                numbered = [names_of.setdefault(name, len(names_of)) for name in names]
                event = np.array(numbered, np.int16)[codes]
            days = days_of(moments[known])
            cells = (of[user[known]], place[known].astype(np.int32), days, event[known])
            for part, cell in zip(parts, cells, strict=True):
                part.append(cell)
        # A column's parts go as soon as it is joined.
        user, item, day, event = (np.concatenate(parts.pop(0)) for _ in types)
        users = sorted(numbers)
        rank = np.zeros(len(users), np.int32)
        rank[[numbers[name] for name in users]] = np.arange(len(users))
        weight = None
        if names_of and kinds:
            kinds = scaled(event, list(names_of), kinds)
            weight = said_by(event, list(names_of), kinds)
        user = rank[user]
        del numbers, rank, event
        made = cls.from_arrays(users, items, user, item, day, now, weight=weight)
        return replace(made, kinds=ordered(kinds))

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
        order = _by_time(columns[0], columns[2])
        if order is not None:
            columns = [column[order] for column in columns]
        columns = _settled(columns, users, items)
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
        return self.chosen(self.day < day, day)

    def between(self, start: float, end: float) -> "Events":
        """The events from `start` to before `end`."""
        return self.chosen((self.day >= start) & (self.day < end), end)

    def chosen(self, kept: np.ndarray, now: float) -> "Events":
        """The events that `kept` (E,) marks. Users stay, also those who have none left."""
        return replace(
            self,
            user=self.user[kept],
            item=self.item[kept],
            day=self.day[kept],
            now=now,
            weight=None if self.weight is None else self.weight[kept],
        )

    @property
    def strongest(self) -> "Events":
        """The events that say most: purchases, where views are known too."""
        if self.weight is None:
            return self
        return self.chosen(self.weight >= self.weight.max(initial=0.0), self.now)

    @property
    def later(self) -> np.ndarray:
        """How many events of the same user came after each event, (E,)."""
        ends = np.cumsum(np.bincount(self.user, minlength=len(self.users)))
        return ends[self.user] - 1 - np.arange(len(self.user))

    def without_clock(self) -> "Events":
        """The same with nothing but the order of each user's events."""
        return replace(self, day=-self.later.astype(np.float64), now=0.0, clock=False)

    def of(self, names: Sequence[str]) -> "Events":
        """The events of these users, who become users 0, 1, … in this order; unknown ones have no events."""
        position = pd.Index(list(names)).get_indexer(self.users)
        user = position[self.user]
        kept = user >= 0
        # The sort is stable: a user's events stay in their order.
        order = np.argsort(user[kept], kind="stable")
        return replace(
            self,
            users=list(names),
            user=user[kept][order].astype(np.int32),
            item=self.item[kept][order],
            day=self.day[kept][order],
            weight=None if self.weight is None else self.weight[kept][order],
        )

    def drawn(self, most: int, seed: int) -> "Events":
        """The events of users who are drawn until they have so many together; all where there are no more."""
        if len(self.user) <= most:
            return self
        order = np.random.default_rng(seed).permutation(len(self.users))
        held = np.cumsum(np.bincount(self.user, minlength=len(self.users))[order])
        few = np.sort(order[: np.searchsorted(held, most, side="right")])
        return self.of([self.users[at] for at in few])

    def popularity(self, half_life: float, until: float | None = None) -> np.ndarray:
        """Decayed number of events of each item, each by its weight, (n,) float64.

        until: a moment that ages are counted from, and before which events count; without it all, from `now`.
        """
        now = self.now if until is None else until
        found = np.zeros(len(self.items))
        for start in range(0, len(self.day), BLOCK_EVENTS):
            part = slice(start, start + BLOCK_EVENTS)
            weight = decay(now - self.day[part], half_life)
            if until is not None:
                weight[self.day[part] >= until] = 0.0
            if self.weight is not None:
                weight = weight * self.weight[part]
            found += np.bincount(self.item[part], weight, len(self.items))
        return found

    @cached_property
    def bought_again(self) -> bool:
        """Whether goods are bought again here: whether `REBOUGHT` of the strongest events are with an item of an earlier day."""
        bought = self.strongest
        key = bought.user.astype(np.int64) * len(self.items) + bought.item
        order = np.lexsort((bought.day, key))
        key, day = key[order], np.floor(bought.day[order])
        again = (key[1:] == key[:-1]) & (day[1:] > day[:-1])
        return bool(again.sum() >= REBOUGHT * max(len(key), 1))

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


def _by_time(user: np.ndarray, day: np.ndarray) -> np.ndarray | None:
    """The order of events (E,) by user and day, equal ones as they come; None where it is that already, as in a file that is sorted."""
    falls = user[1:] < user[:-1]
    falls |= (user[1:] == user[:-1]) & (day[1:] < day[:-1])
    return np.lexsort((day, user)) if falls.any() else None


def _settled(columns: list[np.ndarray], users: list[str], items: list[str]) -> list[np.ndarray]:
    """Columns user, item, day (E,), …, which are by user and day, with what has one of each in the order of `scatter`."""
    user, item, day = columns[:3]
    tied = (user[1:] == user[:-1]) & (day[1:] == day[:-1])
    if not tied.any():
        return columns
    at = np.flatnonzero(np.r_[tied, False] | np.r_[False, tied])
    of_user, of_item = (pd.util.hash_array(np.asarray(ids, dtype=object)) for ids in (users, items))
    mixed = scatter(of_user[user[at]], of_item[item[at]])
    order = at[np.lexsort((mixed, day[at], user[at]))]
    found = [column.copy() for column in columns]
    for column, before in zip(found, columns, strict=True):
        column[at] = before[order]
    return found


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
        """Group events into pairs: one sort, then sums over runs."""
        n, users = len(events.items), len(events.users)
        key = events.user.astype(np.int64) * n + events.item
        order = np.argsort(key, kind="stable")
        key = key[order]
        age = events.now - events.day[order]
        starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(key) else np.zeros(0, int)
        weights = np.stack([decay(age, half) for half in HALF_LIVES], axis=1)
        strength = np.ones(len(key), dtype=np.float32)
        if events.weight is not None:
            strength = events.weight[order]
            weights *= strength[:, None]
        later = events.later[order]
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
        owner, item = key[starts] // n, key[starts] % n
        return cls(
            indptr=np.searchsorted(owner, np.arange(users + 1)),
            item=item.astype(np.int32),
            decayed=decayed.astype(np.float32),
            count=count.astype(np.float32),
            recency=np.maximum(recency, 0.0).astype(np.float32),
            first=np.maximum(first, 0.0).astype(np.float32),
            place=later.astype(np.float32),
            strength=strength,
            items=n,
        )

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
        keys = [pairs.owner * np.int64(self.items) + pairs.item for pairs in (self, other)]
        return self.kept(~np.isin(*keys))

    def kept(self, keep: np.ndarray) -> "Histories":
        """The entries that `keep` (P,) marks; users stay."""
        return self._of(np.concatenate([[0], np.cumsum(keep)])[self.indptr], keep)

    def _of(self, indptr: np.ndarray, entries: np.ndarray) -> "Histories":
        """These entries of every array."""
        arrays = [one.name for one in fields(self) if one.name not in ("indptr", "items")]
        return replace(
            self, indptr=indptr, **{name: getattr(self, name)[entries] for name in arrays}
        )

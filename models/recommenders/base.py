"""What every recommender can do: score histories, list the best, and say why."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import numpy as np
import pandas as pd

from models.bundle import Bundle, DamagedBundle
from models.recommenders.events import Events, Histories
from models.recommenders.stored import packed, unpacked

BLOCK_CELLS = 16_000_000
"""Scores held at a time: users x items (64 MB)."""
GROUP = 64
"""Items of one group in `highest`."""
EXPLAINED, ENTRIES = 128, 200_000
"""Users whose reasons are looked for at once, at most, and entries of their histories; one user may have more."""


@dataclass(frozen=True)
class Scored:
    """What a model says of users. scores: (users, items). explain: from lists (users, k) to reasons, see `Recommender`."""

    scores: np.ndarray
    explain: Callable[[np.ndarray], np.ndarray]


class Recommender(ABC):
    """A fitted model over the items `items` (names, in `hash_order`). A data class: its fields are what a bundle holds."""

    kind: ClassVar[str]
    items: list[str]

    @property
    def kinds(self) -> Mapping[str, float] | None:
        """How much an event of each kind says to it; None: all say the same."""
        return None

    @abstractmethod
    def scores(self, histories: Histories) -> np.ndarray:
        """Scores (users, items) float32: higher is better. A user without a history gets the popular items."""

    def observe(self, events: Events) -> "Recommender":
        """The same model knowing these events: what is popular now, who did what. Nothing is trained."""
        return self

    def falls(self, histories: Histories, left: np.ndarray, items: np.ndarray) -> np.ndarray:
        """By how much a user's scores of the user's `items` fall without one entry of the history, (F, k).

        left: (F,) entries, in rising order, each left out once. items: (users, k) positions.
        """
        owner = histories.owner_of(left)
        found = np.empty((len(left), items.shape[1]))
        for part in blocks(len(left), histories.items):
            rest = self.scores(histories.without_each(left[part]))
            found[part] = -np.take_along_axis(rest, items[owner[part]], axis=1)
        for part in blocks(len(histories), histories.items):
            mine = slice(*np.searchsorted(owner, (part[0], part[-1] + 1)))
            whole = np.take_along_axis(self.scores(histories.take(part)), items[part], axis=1)
            found[mine] += whole[owner[mine] - part[0]]
        return found

    def explain(self, histories: Histories, lists: np.ndarray) -> np.ndarray:
        """The history item that raised each listed item's score most, (users, k) positions; -1 where none did.

        "Most" is exact: the item without which the score falls furthest. lists: (users, k) positions, -1 for none.
        """
        reasons = np.full(lists.shape, -1)
        for users in gathered(histories, EXPLAINED):
            mine = histories.take(users)
            falls = self.falls(mine, np.arange(len(mine.item)), np.maximum(lists[users], 0))
            for at, user in enumerate(users):
                own = slice(mine.indptr[at], mine.indptr[at + 1])
                reasons[user] = strongest(mine.item[own], falls[own], lists[user])
        return reasons

    def scored(self, histories: Histories) -> Scored:
        """Scores, and the reasons of whatever lists are made of them: what both need is made once."""
        return Scored(self.scores(histories), partial(self.explain, histories))

    def to_bundle(self) -> Bundle:
        """Everything that the model is made from."""
        return packed(self.kind, self)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Self:
        """The model that `to_bundle` told. Raises `DamagedBundle` where it is none of this class."""
        model = unpacked(bundle)
        if not isinstance(model, cls):
            raise DamagedBundle(f"a bundle of {type(model).__name__}, not of {cls.__name__}")
        return model


def strongest(history: np.ndarray, falls: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The item of a user's `history` (entries,) without which each of `items` (k,) falls furthest, (k,); -1 where none falls.

    falls: (entries, k). items: positions, -1 for none.
    """
    best = falls.argmax(0)
    helped = (falls[best, np.arange(len(items))] > 0) & (items >= 0)
    return np.where(helped, history[best], -1)


def blocks(users: int, items: int) -> Iterator[np.ndarray]:
    """Positions of users in blocks whose scores fit into `BLOCK_CELLS`."""
    step = max(1, BLOCK_CELLS // max(items, 1))
    for start in range(0, users, step):
        yield np.arange(start, min(start + step, users))


def gathered(histories: Histories, most: int) -> Iterator[np.ndarray]:
    """Positions of users with a history, up to `most` at a time and as many as have `ENTRIES` together, one at least."""
    sizes = np.diff(histories.indptr)
    there = np.flatnonzero(sizes)
    at = 0
    while at < len(there):
        held = np.cumsum(sizes[there[at : at + most]])
        end = at + max(int(np.searchsorted(held, ENTRIES, side="right")), 1)
        yield there[at:end]
        at = end


def products(
    owner: np.ndarray, rows: np.ndarray, items: np.ndarray, vectors: np.ndarray
) -> np.ndarray:
    """Each of `rows` (F, d) times the vectors of its user's items, (F, k).

    owner: (F,) the users of the rows, in rising order. items: (users, k). vectors: (n, d).
    """
    found = np.empty((len(rows), items.shape[1]), dtype=np.float32)
    for user, start, end in runs(owner):
        found[start:end] = rows[start:end] @ vectors[items[user]].T
    return found


def runs(owner: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Each user in `owner` (F,), which rises, with the first of its places and the one behind the last."""
    users, starts = np.unique(owner, return_index=True)
    yield from zip(users.tolist(), starts.tolist(), [*starts[1:].tolist(), len(owner)], strict=True)


def top_k(scores: np.ndarray, k: int, allowed: np.ndarray | None = None) -> np.ndarray:
    """Positions (users, k) of the best allowed items, best first; -1 where fewer than k are allowed.

    allowed: (items,) or (users, items) booleans. Ties go to the lower position, which is a hash's order.
    """
    users, n = scores.shape
    ranked = scores if allowed is None else np.where(allowed, scores, -np.inf)
    width = min(k, n)
    # One more than asked, to see whether the last place is tied with the first left out.
    edge = min(width + 1, n)
    chosen = highest(ranked, edge)
    values = np.take_along_axis(ranked, chosen, axis=1)
    order = np.lexsort((chosen, -values), axis=1)
    chosen = np.take_along_axis(chosen, order, axis=1)
    values = np.take_along_axis(values, order, axis=1)
    if edge > width:
        tied = np.flatnonzero((values[:, -2] == values[:, -1]) & np.isfinite(values[:, -1]))
        for user in tied:
            # What is above the tie is known; the lowest positions of the tied fill the rest.
            above = int((values[user] > values[user, -1]).sum())
            equal = np.flatnonzero(ranked[user] == values[user, -1])
            chosen[user, above:] = equal[: edge - above]
    lists = np.where(np.isfinite(values), chosen, -1)[:, :width]
    return np.pad(lists, ((0, 0), (0, k - width)), constant_values=-1)


def highest(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions (users, k) of the k highest scores (users, n) in no order; any of equal ones. k is at most n.

    Exact: items are dealt into groups of `GROUP`, and but for ties nothing outside the k groups of the highest maxima is
    among the k highest. The maxima take one pass, which is cheap beside the product that scores come from.
    """
    users, n = scores.shape
    groups = n // GROUP
    if groups < 4 * k:
        return np.argpartition(-scores, k - 1, axis=1)[:, :k]
    dealt = groups * GROUP
    # Group g holds the items g, g + groups, ...: neighbours in memory are compared side by side.
    maxima = scores[:, :dealt].reshape(users, GROUP, groups).max(axis=1)
    best = np.argpartition(-maxima, k - 1, axis=1)[:, :k, None]
    places = (best + np.arange(0, dealt, groups)).reshape(users, -1)
    rest = np.broadcast_to(np.arange(dealt, n), (users, n - dealt))
    places = np.concatenate([places, rest], axis=1)
    values = np.take_along_axis(scores, places, axis=1)
    kept = np.argpartition(-values, k - 1, axis=1)[:, :k]
    return np.take_along_axis(places, kept, axis=1)


def recommend(
    model: Recommender,
    histories: Histories,
    k: int,
    allowed: np.ndarray | None = None,
    again: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """The lists (users, k) of positions and their scores, in blocks of bounded memory.

    allowed: (items,) booleans or None. again: whether what the user had may be listed. Scores are NaN where a list is
    short.
    """
    lists, values = [], []
    for block in blocks(len(histories), histories.items):
        mine = histories.take(block)
        scores = model.scores(mine)
        if not again:
            scores[mine.owner, mine.item] = -np.inf
        best = top_k(scores, k, allowed)
        found = np.take_along_axis(scores, np.maximum(best, 0), axis=1)
        lists.append(best)
        values.append(np.where(best >= 0, found, np.nan))
    empty = np.zeros((0, k))
    return (
        np.concatenate(lists) if lists else empty.astype(int),
        np.concatenate(values) if values else empty,
    )


def predict(
    model: Recommender, known: Events, frame: pd.DataFrame, k: int, again: bool = True
) -> pd.DataFrame:
    """Lists as a table: user_id, item_id, rank (from 1), score. again: whether what the user had may be listed.

    frame: `user_id` alone (known users, or new ones without a history), or with `item_id` and `timestamp` [`event`]: the
    events that a user is listed from instead of those that are known, told as these are (`Events.beside`).
    """
    names = list(dict.fromkeys(frame["user_id"]))
    if "item_id" in frame.columns and "timestamp" in frame.columns:
        events = known.beside(frame).of(names)
    else:
        events = known.of(names)
    lists, values = recommend(model, events.histories, k, again=again)
    user, place = np.nonzero(lists >= 0)
    chosen = lists[user, place]
    return pd.DataFrame(
        {
            "user_id": np.asarray(names, dtype=object)[user],
            "item_id": np.asarray(model.items, dtype=object)[chosen],
            "rank": place + 1,
            "score": values[user, place],
        }
    )

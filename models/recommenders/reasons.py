"""Why `auto` lists what it lists: the item of a history without which the ranker's value of a listed item falls furthest.

Exact for what is tried: each of the `CONTENDERS` entries that members and blend speak of most is left out once, the
members' opinions of all the user's candidates are made again without it, and the ranker is asked anew. Everything is done
for many users at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.recommenders.base import EXPLAINED, Recommender, gathered
from models.recommenders.catalogue import Catalogue
from models.recommenders.events import Histories
from models.recommenders.features import WHOLE, Shop, pairs
from models.recommenders.ranker import Ranker, Rows, opinions

CONTENDERS = 3
"""Entries of a history that are tried as the reason of a listed item."""


@dataclass(frozen=True)
class Candidates:
    """What the members propose. row, item: (R,) user and item of each, in rising order. raw: (R, m) the members' scores."""

    row: np.ndarray
    item: np.ndarray
    raw: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence["Candidates"]) -> "Candidates":
        """All of them; the users of each part come after those of the one before."""
        if not parts:
            none = np.zeros(0, dtype=np.int64)
            return cls(none, none, np.zeros((0, 0)))
        return cls(
            *(
                np.concatenate([getattr(one, name) for one in parts])
                for name in ("row", "item", "raw")
            )
        )

    def take(self, users: np.ndarray) -> "Candidates":
        """Those of these users, who rise and are numbered from 0."""
        kept = np.isin(self.row, users)
        return Candidates(np.searchsorted(users, self.row[kept]), self.item[kept], self.raw[kept])

    def among(self, lists: np.ndarray, items: int) -> np.ndarray:
        """Which items of `lists` (users, k), -1 for none, are candidates of their users, (users, k) booleans."""
        asked = np.arange(len(lists))[:, None] * np.int64(items) + lists
        return (lists >= 0) & np.isin(asked, self.row * np.int64(items) + self.item)

    def table(self, users: int) -> tuple[np.ndarray, np.ndarray]:
        """indptr (users + 1,), and each user's items (users, most), the last again where there are fewer."""
        indptr = np.searchsorted(self.row, np.arange(users + 1))
        lengths = np.diff(indptr)
        place = np.minimum(np.arange(lengths.max(initial=1)), np.maximum(lengths - 1, 0)[:, None])
        return indptr, self.item[indptr[:-1, None] + place]


@dataclass(frozen=True)
class Why:
    """members: in the order of the columns of `Candidates.raw`. otherwise: explains what is listed without being a candidate."""

    members: Sequence[Recommender]
    ranker: Ranker
    shop: Shop
    catalogue: Catalogue
    otherwise: Callable[[Histories, np.ndarray], np.ndarray]

    def reasons(
        self, histories: Histories, candidates: Candidates, lists: np.ndarray
    ) -> np.ndarray:
        """As `Recommender.explain`, (users, k) positions of items, -1 where none is a reason."""
        ranked = candidates.among(lists, histories.items)
        found = np.full(lists.shape, -1)
        others = np.flatnonzero(((lists >= 0) & ~ranked).any(axis=1))
        if len(others):
            rest = np.where(ranked, -1, lists)[others]
            found[others] = self.otherwise(histories.take(others), rest)
        for users in gathered(histories, EXPLAINED):
            users = users[ranked[users].any(axis=1)]
            if len(users):
                mine, listed = histories.take(users), np.where(ranked, lists, -1)[users]
                own = self._of_candidates(mine, listed, candidates.take(users))
                found[users] = np.where(listed >= 0, own, found[users])
        return found

    def _of_candidates(
        self, histories: Histories, lists: np.ndarray, candidates: Candidates
    ) -> np.ndarray:
        """`reasons` of lists (users, k) of candidates, -1 for none. No history is empty, nor is a list."""
        users = len(histories)
        listed = np.maximum(lists, 0)
        indptr, asked = candidates.table(users)
        keys = candidates.row * np.int64(histories.items) + candidates.item
        wanted = np.arange(users)[:, None] * np.int64(histories.items) + listed
        there = lists >= 0
        place = np.searchsorted(keys, wanted)
        # What is left out: each contender once, whichever of the user's items it is one for.
        named = self._contenders(histories, listed, candidates.raw, indptr)
        tried = (named >= 0) & there[:, :, None]
        user, at, which = np.nonzero(tried)
        entry = named[user, at, which]
        left, view = np.unique(entry, return_inverse=True)
        owner = histories.owner_of(left)
        # What members say of all candidates without it: ranks among them change with the scores.
        lost = [member.falls(histories, left, asked) for member in self.members]
        lengths = np.diff(indptr)[owner]
        inside = np.arange(asked.shape[1]) < lengths[:, None]
        same = (indptr[owner, None] + np.arange(asked.shape[1]))[inside]
        rest = candidates.raw[same] - np.stack([fall[inside] for fall in lost], axis=1)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        # The ranker's values of the listed items, with the whole history and without.
        reader, slot = np.nonzero(there)
        whole = np.zeros(lists.shape)
        whole[reader, slot] = self._told(
            histories,
            candidates.raw,
            indptr,
            place[reader, slot],
            (reader, listed[reader, slot], np.full(len(reader), WHOLE)),
        )
        then = self._told(
            histories,
            rest,
            starts,
            starts[view] + place[user, at] - indptr[user],
            (user, listed[user, at], entry),
        )
        fell = np.full(named.shape, -np.inf)
        fell[user, at, which] = whole[user, at] - then
        best = fell.argmax(2)[:, :, None]
        helped = np.take_along_axis(fell, best, axis=2)[:, :, 0] > 0
        chosen = np.take_along_axis(named, best, axis=2)[:, :, 0]
        return np.where(helped, histories.item[np.maximum(chosen, 0)], -1)

    def _contenders(
        self, histories: Histories, listed: np.ndarray, raw: np.ndarray, indptr: np.ndarray
    ) -> np.ndarray:
        """Entries of each user that the blend's members speak of most for each of `listed`, (users, k, CONTENDERS).

        They rise; -1 where a history is shorter.
        """
        width = np.maximum.reduceat(raw, indptr[:-1]) - np.minimum.reduceat(raw, indptr[:-1])
        shares = self.ranker.weights.reshape(2, -1).sum(0) / np.maximum(width, 1e-9)
        owner, entries = histories.owner, np.arange(len(histories.item))
        fell = np.zeros((len(entries), listed.shape[1]))
        for member, share in zip(self.members, shares.T, strict=True):
            fell += share[owner, None] * member.falls(histories, entries, listed)
        found = np.full((*listed.shape, CONTENDERS), -1)
        for user, (start, end) in enumerate(
            zip(histories.indptr, histories.indptr[1:], strict=False)
        ):
            most = min(CONTENDERS, end - start)
            named = np.argpartition(-fell[start:end], most - 1, axis=0)[:most]
            found[user, :, :most] = np.sort(named.T + start, axis=1)
        return found

    def _told(
        self,
        histories: Histories,
        raw: np.ndarray,
        indptr: np.ndarray,
        at: np.ndarray,
        asked: tuple[np.ndarray, np.ndarray, np.ndarray],
    ) -> np.ndarray:
        """The ranker's values of the candidates `at` (T,), positions in `raw`, (T,).

        raw: (R, m) what members say; the candidates of one view of a history are one part of `indptr`. asked: user, item
        and left-out entry of each, see `features.pairs`.
        """
        said = opinions(raw, indptr)
        nothing = np.zeros((len(said), 0))
        values = self.ranker.blended(Rows(indptr, nothing, said, nothing, nothing, nothing))[at]
        if self.ranker.trees and len(at):
            seen = np.hstack([said[at], pairs(histories, self.shop, self.catalogue, *asked)])
            values = values + self.ranker.grown.predict(seen, raw_score=True)
        return values

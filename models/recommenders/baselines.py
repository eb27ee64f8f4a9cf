"""Baselines as citizens: the same interface as the trained recommenders, nothing trained."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from models.recommenders.base import Recommender, blocks, runs, top_k
from models.recommenders.columns import release
from models.recommenders.events import HALF_LIVES, Events, Histories

TOGETHER = 4096
"""Known users who are compared at a time."""


def matrix(histories: Histories) -> sp.csr_matrix:
    """Who touched what, (users, items) of ones."""
    ones = np.ones(len(histories.item), dtype=np.float32)
    shape = (len(histories), histories.items)
    return sp.csr_matrix((ones, histories.item, histories.indptr), shape=shape)


def touched(events: Events) -> sp.csr_matrix:
    """`matrix` of the histories of these events, without what else a history tells."""
    return _touched(events.item, events.bounds, len(events.items))


def _touched(item: np.ndarray, indptr: np.ndarray, items: int) -> sp.csr_matrix:
    ones = np.ones(len(item), dtype=np.float32)
    found = sp.csr_matrix((ones, item, indptr), shape=(len(indptr) - 1, items), copy=True)
    found.sum_duplicates()
    found.data[:] = 1.0
    return found


def nearest_of(events: Events, histories: Histories, k: int) -> np.ndarray:
    """Positions of the users, in rising order, who are among the k + 1 nearest of anyone of `histories`, by `UserNeighbours`'
    cosine; one more than k, as one's own row may be among them.

    So many of the known users at a time as are `TOGETHER`, and of these only who is nearer than those who were found before.
    """
    mine = matrix(histories)
    size = np.sqrt(np.maximum(np.asarray(mine.sum(1), dtype=np.float32), 1.0))[:, 0]
    best = np.zeros((len(histories), k + 1), dtype=np.float32)
    position = np.full(best.shape, -1)
    # Of each pair who share an item some fifty bytes stand in memory.
    asked = [(block, mine[block]) for block in blocks(len(histories), 4 * TOGETHER)]
    for first in range(0, len(events.users), TOGETHER):
        bounds = events.bounds[first : first + TOGETHER + 1]
        item = events.item[bounds[0] : bounds[-1]]
        known = _touched(item, bounds - bounds[0], len(events.items))
        release(events.item)
        other = np.sqrt(np.maximum(np.asarray(known.sum(1), dtype=np.float32), 1.0))[:, 0]
        across = known.T.tocsr()
        for block, rows in asked:
            shared = (rows @ across).tocoo()
            cosine = shared.data / size[block][shared.row] / other[shared.col]
            nearer = np.flatnonzero(cosine > best[block, -1][shared.row])
            there, before = np.nonzero(position[block] >= 0)
            row = block[0] + np.r_[there, shared.row[nearer]]
            column = np.r_[position[block][there, before], first + shared.col[nearer]]
            cosine = np.r_[best[block][there, before], cosine[nearer]]
            order = np.lexsort((column, -cosine, row))
            row, column, cosine = row[order], column[order], cosine[order]
            place = np.arange(len(row)) - np.searchsorted(row, row)
            kept = place <= k
            best[row[kept], place[kept]] = cosine[kept]
            position[row[kept], place[kept]] = column[kept]
    return np.unique(position[position >= 0])


@dataclass(frozen=True)
class Popularity(Recommender):
    """The same list for everyone: what sold lately. weight: (items,) decayed counts."""

    items: list[str]
    weight: np.ndarray
    half_life: float
    kind = "popularity"

    @classmethod
    def fit(cls, events: Events, half_life: float, until: float | None = None) -> "Popularity":
        """until: as of a day, of what was before it; without it all."""
        weight = events.popularity(half_life, until).astype(np.float32)
        return cls(events.items, weight, half_life)

    def scores(self, histories: Histories) -> np.ndarray:
        return np.repeat(self.weight[None, :], len(histories), axis=0)

    def falls(self, histories: Histories, left: np.ndarray, items: np.ndarray) -> np.ndarray:
        return np.zeros((len(left), items.shape[1]))

    def observe(self, events: Events) -> "Popularity":
        return Popularity.fit(events, self.half_life)


@dataclass(frozen=True)
class PersonalPopularity(Recommender):
    """Each user's own purchases, decayed; popularity fills what is left and breaks ties.

    half_life: one of `HALF_LIVES`.
    """

    items: list[str]
    popular: Popularity
    half_life: float
    kind = "personal-popularity"

    @classmethod
    def fit(
        cls, events: Events, half_life: float, until: float | None = None
    ) -> "PersonalPopularity":
        """until: see `Popularity.fit`."""
        return cls(events.items, Popularity.fit(events, 30.0, until), half_life)

    def scores(self, histories: Histories) -> np.ndarray:
        scores = self.popular.scores(histories)
        scores *= 1e-3 / max(float(scores.max(initial=0.0)), 1e-9)
        own = histories.decayed[:, HALF_LIVES.index(self.half_life)]
        scores[histories.owner, histories.item] += own
        return scores

    def falls(self, histories: Histories, left: np.ndarray, items: np.ndarray) -> np.ndarray:
        own = histories.decayed[left, HALF_LIVES.index(self.half_life)]
        return (histories.item[left][:, None] == items[histories.owner_of(left)]) * own[:, None]

    def observe(self, events: Events) -> "PersonalPopularity":
        return replace(self, popular=self.popular.observe(events))


@dataclass(frozen=True)
class UserNeighbours(Recommender):
    """User-to-user collaborative filtering: cosine of what users touched, the `k` nearest, weighted votes.

    known: (users, items) rows of length 1, as sparse ones over norms. A neighbour at a cosine of 1 who touched the
    same items is as good as any; a user's own row, where it is among the known, is not a neighbour: it is left out by
    its identity, which `scores` takes to be an equal row. Source: Herlocker et al. (1999), An algorithmic framework
    for performing collaborative filtering.
    """

    items: list[str]
    known: sp.csr_matrix
    popular: Popularity
    k: int
    kind = "user-neighbours"

    @classmethod
    def fit(cls, events: Events, k: int, whom: Histories | None = None) -> "UserNeighbours":
        """whom: those who will be listed, where they are known: only who votes for them is kept. Their lists are the same."""
        popular = Popularity.fit(events, 30.0)
        if whom is not None:
            # Where nobody is like anyone, one stands for all.
            near = nearest_of(events, whom, k)
            near = near if len(near) else np.arange(min(len(events.users), 1))
            events = events.at(near, [events.users[at] for at in near])
        return cls(events.items, touched(events), popular, k)

    def neighbours(self, histories: Histories) -> tuple[np.ndarray, np.ndarray]:
        """Positions and cosines (users, k) of the nearest known users, own row left out; cosine 0 for none.

        A block of users against all: `BLOCK_CELLS` numbers in memory, never all pairs.
        """
        mine, count = matrix(histories), self.known.shape[0]
        k = min(self.k, count)
        found = [self._nearest(mine[block], k) for block in blocks(len(histories), count)]
        if not found:
            return np.zeros((0, k), dtype=int), np.zeros((0, k), dtype=np.float32)
        nearest, cosine = zip(*found, strict=True)
        return np.concatenate(nearest), np.concatenate(cosine)

    @cached_property
    def _touched_by(self) -> sp.csr_matrix:
        """The users of each item, (items, users): turned round once, not for each user who asks."""
        return self.known.T.tocsr()

    @cached_property
    def _sizes(self) -> np.ndarray:
        """How many items each known user touched, (users, 1) float32."""
        return np.asarray(self.known.sum(1), dtype=np.float32)

    def _nearest(self, mine: sp.csr_matrix, k: int) -> tuple[np.ndarray, np.ndarray]:
        size, other = np.asarray(mine.sum(1), dtype=np.float32), self._sizes
        cosine = (mine @ self._touched_by).toarray()
        same = (cosine == size) & (cosine == other.T)
        # Only one equal row is oneself; twins beyond it are neighbours.
        own = same.argmax(1)
        has = np.flatnonzero(same[np.arange(len(own)), own] & (size[:, 0] > 0))
        cosine /= np.sqrt(np.maximum(size, 1.0))
        cosine /= np.sqrt(np.maximum(other.T, 1.0))
        cosine[has, own[has]] = 0.0
        nearest = np.maximum(top_k(cosine, k), 0)
        return nearest, np.take_along_axis(cosine, nearest, axis=1)

    def scores(self, histories: Histories) -> np.ndarray:
        nearest, weight = self.neighbours(histories)
        users, k = nearest.shape
        rows = np.repeat(np.arange(users), k)
        votes = sp.csr_matrix(
            (weight.ravel(), (rows, nearest.ravel())), shape=(users, self.known.shape[0])
        )
        scores = self.popular.scores(histories)
        scores *= 1e-6 / max(float(scores.max(initial=0.0)), 1e-9)
        return scores + (votes @ self.known).toarray().astype(np.float32)

    def falls(self, histories: Histories, left: np.ndarray, items: np.ndarray) -> np.ndarray:
        """As in `base`, of the votes of the neighbours that the whole history has."""
        nearest, cosine = self.neighbours(histories)
        found = np.empty((len(left), items.shape[1]))
        for user, start, end in runs(histories.owner_of(left)):
            # One who is like the user in nothing has no vote: its cosine is 0.
            voters = cosine[user] > 0
            near, vote = nearest[user, voters], cosine[user, voters]
            size = histories.indptr[user + 1] - histories.indptr[user]
            columns = np.concatenate([histories.item[left[start:end]], items[user]])
            touched = self.known[near][:, columns].toarray()
            shared, had = touched[:, : end - start], touched[:, end - start :]
            # Without an entry both the overlap and the user's own length are less.
            length = np.sqrt(np.maximum(self._sizes[near], 1.0))
            less = np.sqrt(max(size - 1, 1))
            found[start:end] = shared.T @ (had / (length * less))
            found[start:end] += (vote * (1.0 - np.sqrt(size) / less)) @ had
        return found

    def observe(self, events: Events) -> "UserNeighbours":
        return UserNeighbours.fit(events, self.k)

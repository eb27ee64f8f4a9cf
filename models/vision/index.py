"""The nearest of many vectors: exactly, in blocks, or among the cells of an index, whose recall can be measured."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from models.vision.agreement import NOBODY
from models.vision.families import unit

BLOCK = 512
SCORES = 2**25
"""Cosines that stand in memory at a time, at most; where their places stand beside them, half as many."""
ASKED = 4096
"""Asked rows that go through the cells together, at most: the more, the less often each cell is fetched."""
LEARNED = 64
"""Vectors a cell from which the cells are learned, and how often they are moved."""
ROUNDS = 8
TRIED = 512
"""Vectors by which it is chosen how many cells are looked at."""
WANTED = 0.99
"""Of the true nearest, the share that is in the cells that are looked at."""

Agreement = tuple[np.ndarray, np.ndarray]
"""Numbers of the asked (q,) and of the gallery (n,), see `agreement.groups`: an asked one finds those of its own number."""


def nearest(
    asked: np.ndarray, gallery: np.ndarray, count: int, agreement: Agreement | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each of asked (q, d) the places and scores (cosines) of its `count` nearest of gallery (n, d), best first.

    Vectors are of length 1. Ties go to the earlier row. A block of asked rows at a time: memory is a block's scores.
    With an agreement only those are found that agree; where they are fewer than `count`, the last places are `NOBODY`
    and their scores -inf.
    """
    count = min(count, len(gallery))
    block = max(min(BLOCK, SCORES // max(len(gallery), 1)), 1)
    for start in range(0, len(asked), block):
        scores = asked[start : start + block] @ gallery.T
        if agreement is not None:
            own = agreement[0][start : start + block, None]
            scores[(own != agreement[1]) | (own == NOBODY)] = -np.inf
        part = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        yield ordered(part, np.take_along_axis(scores, part, axis=1))


def ordered(places: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places and scores (q, k), best first, among equals the earlier place; `NOBODY` where a score is -inf."""
    by_place = np.argsort(places, axis=1)
    places, scores = (np.take_along_axis(one, by_place, axis=1) for one in (places, scores))
    order = np.argsort(-scores, axis=1, kind="stable")
    places, scores = (np.take_along_axis(one, order, axis=1) for one in (places, scores))
    return np.where(np.isneginf(scores), NOBODY, places), scores


@dataclass(frozen=True)
class Cells:
    """Vectors gathered around centres (c, d). An asked one looks at the `looked` cells whose centres are nearest.

    order (n,): the vectors' rows, cell by cell; place (n,): where each row stands there; starts (c + 1,): of the cells, none of
    which is empty.
    Source: Sivic and Zisserman (2003), Video Google; Jégou, Douze and Schmid (2011), Product quantization for nearest
    neighbor search (inverted file).
    """

    centres: np.ndarray
    order: np.ndarray
    place: np.ndarray
    starts: np.ndarray
    looked: int

    @classmethod
    def of(cls, vectors: np.ndarray, seed: int) -> "Cells":
        """From vectors (n, d) of length 1; all cells are looked at."""
        count = min(2 * int(np.sqrt(len(vectors))), len(vectors))
        centres = _centres(vectors, count, np.random.default_rng(seed))
        used, own = np.unique(_owners(vectors, centres), return_inverse=True)
        centres, count = centres[used], len(used)
        order = np.argsort(own, kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return cls(centres, order, place, np.searchsorted(own[order], np.arange(count + 1)), count)

    def rank(self, asked: np.ndarray, found: np.ndarray) -> np.ndarray:
        """How many cells are nearer to each of asked (q, d) than those of the rows found (q, k)."""
        near = np.argsort(-(asked @ self.centres.T), axis=1, kind="stable")
        ranks = np.empty_like(near)
        np.put_along_axis(ranks, near, np.arange(near.shape[1])[None], axis=1)
        cells = np.searchsorted(self.starts, self.place[found], side="right") - 1
        return np.take_along_axis(ranks, cells, axis=1)


def _owners(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The nearest centre of each of vectors: (n,)."""
    parts = [
        (vectors[at : at + ASKED] @ centres.T).argmax(1) for at in range(0, len(vectors), ASKED)
    ]
    return np.concatenate(parts)


def _centres(vectors: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
    """Directions (count, d) that vectors (n, d) gather around: k-means on the sphere (Dhillon and Modha, 2001)."""
    rows = draw.choice(len(vectors), min(len(vectors), LEARNED * count), replace=False)
    sample = vectors[rows]
    centres = sample[:count]
    for _ in range(ROUNDS):
        own = _owners(sample, centres)
        ones = np.ones(len(own), np.float32)
        sums = csr_array((ones, (own, np.arange(len(own)))), shape=(count, len(own))) @ sample
        # A centre that none is nearest to stays where it is.
        centres = np.where(np.bincount(own, minlength=count)[:, None] > 0, unit(sums), centres)
    return centres


@dataclass(frozen=True)
class Index:
    """Vectors (n, d) of length 1 to be searched, exactly where there are no cells. With cells they stand cell by cell.

    reach: neighbours that the cells that are looked at suffice for; where more are asked for, all are compared.
    """

    vectors: np.ndarray
    cells: Cells | None = None
    reach: int = 0

    @classmethod
    def of(cls, vectors: np.ndarray, least: int, reach: int, seed: int) -> "Index":
        """With cells from `least` vectors on (0: never), where a quarter of them hold `WANTED` of the `reach` nearest."""
        if not least or len(vectors) < max(least, 2 * reach):
            return cls(vectors)
        cells = Cells.of(vectors, seed)
        count = min(TRIED, len(vectors))
        asked = vectors[np.random.default_rng(seed).choice(len(vectors), count, replace=False)]
        # A row of the gallery is its own nearest; what is asked later has no such help.
        parts = [place[:, 1:] for place, _ in nearest(asked, vectors, reach + 1)]
        ranks = cells.rank(asked, np.concatenate(parts))
        looked = int(np.quantile(ranks, WANTED, method="higher")) + 1
        if looked > len(cells.centres) // 4:
            return cls(vectors)
        return cls(vectors[cells.order], replace(cells, looked=looked), reach)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def exact(self) -> bool:
        """Whether all vectors are compared."""
        return self.cells is None

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of these rows, as they were given."""
        return self.vectors[rows if self.cells is None else self.cells.place[rows]]

    def nearest(
        self, asked: np.ndarray, count: int, agreement: Agreement | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As the function `nearest`, among the cells that are looked at; among all with an agreement, which may leave few."""
        if self.cells is None or agreement is not None or count > self.reach:
            return self.exactly(asked, count, agreement)
        return self._near(asked, min(count, len(self)), self.cells)

    def exactly(
        self, asked: np.ndarray, count: int, agreement: Agreement | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As the function `nearest`."""
        if self.cells is None:
            yield from nearest(asked, self.vectors, count, agreement)
            return
        order = self.cells.order
        moved = agreement and (agreement[0], agreement[1][order])
        for place, score in nearest(asked, self.vectors, count, moved):
            yield ordered(np.where(place == NOBODY, NOBODY, order[place]), score)

    def recall(self, asked: np.ndarray, count: int) -> float:
        """The share of the `count` true nearest of asked (q, d) that `nearest` finds."""
        found = [place for place, _ in self.nearest(asked, count)]
        true = [place for place, _ in self.exactly(asked, count)]
        if not true:
            return 1.0
        pairs = np.concatenate(found)[:, :, None] == np.concatenate(true)[:, None, :]
        return float(pairs.any(axis=1).mean())

    def _near(
        self, asked: np.ndarray, count: int, cells: Cells
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        block = max(min(ASKED, SCORES // (2 * cells.looked * count)), 1)
        for start in range(0, len(asked), block):
            yield self._block(asked[start : start + block], count, cells)

    def _block(self, asked: np.ndarray, count: int, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
        """The nearest in each cell that is looked at, then the nearest of these."""
        near = asked @ cells.centres.T
        chosen = np.argpartition(-near, cells.looked - 1, axis=1)[:, : cells.looked]
        shape = (len(asked), cells.looked, count)
        scores, places = np.full(shape, -np.inf, np.float32), np.full(shape, NOBODY, np.int64)
        askers = np.argsort(chosen, axis=None, kind="stable")
        ends = np.searchsorted(chosen.ravel()[askers], np.arange(len(cells.centres) + 1))
        for cell in range(len(cells.centres)):
            who = askers[ends[cell] : ends[cell + 1]]
            first, last = cells.starts[cell], cells.starts[cell + 1]
            if not len(who):
                continue
            rows, slots = np.divmod(who, cells.looked)
            at = 0
            for place, score in nearest(asked[rows], self.vectors[first:last], count):
                here = (rows[at : at + len(place)], slots[at : at + len(place)])
                scores[*here, : place.shape[1]] = score
                places[*here, : place.shape[1]] = cells.order[first + place]
                at += len(place)
        best = np.argpartition(-scores.reshape(len(asked), -1), count - 1, axis=1)[:, :count]
        places, scores = ordered(
            *(
                np.take_along_axis(one.reshape(len(asked), -1), best, axis=1)
                for one in (places, scores)
            )
        )
        # Cells with fewer rows than are asked for, all in all.
        few = np.flatnonzero(places[:, -1] == NOBODY)
        whole = list(self.exactly(asked[few], count))
        if whole:
            places[few] = np.concatenate([place for place, _ in whole])
            scores[few] = np.concatenate([score for _, score in whole])
        return places, scores

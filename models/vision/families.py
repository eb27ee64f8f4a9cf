"""Rows that show the same thing: nearly the same picture, so that held-out rows are not seen in training."""

from collections.abc import Sequence

import numpy as np

WIDTH = 128
BLOCK = 1024
MOST = 0.1
CERTAIN = 0.995


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows (n, d) at length 1; zeros stay."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 1e-12)


def families(vectors: np.ndarray, alike: float) -> np.ndarray:
    """A number for each row of vectors (n, d): rows whose centred cosine is at least `alike` share it, in chains.

    Compared in `WIDTH` random directions of the features, a block at a time. Where a chain holds more than `MOST` of
    the rows, `alike` is brought nearer to 1.
    """
    while True:
        found = _chains(vectors, alike)
        sizes = np.bincount(found, minlength=1)
        if alike > CERTAIN or sizes.max() <= max(MOST * len(vectors), 1.0):
            return found
        alike = (1 + alike) / 2


def _chains(vectors: np.ndarray, alike: float) -> np.ndarray:
    count = len(vectors)
    seen = vectors - vectors.mean(0) if count else vectors
    if seen.shape[1] > WIDTH:
        draw = np.random.default_rng(0).normal(size=(seen.shape[1], WIDTH)).astype(np.float32)
        seen = seen @ draw
    seen = unit(seen.astype(np.float32))
    sets = _Sets(count)
    for start in range(0, count, BLOCK):
        close = seen[start : start + BLOCK] @ seen.T >= alike
        for row, other in zip(*np.nonzero(close), strict=True):
            sets.join(start + int(row), int(other))
    return sets.names()


def corners(vectors: np.ndarray, labels: np.ndarray, share: float) -> np.ndarray:
    """Rows of vectors (n, d) that stand apart from others of their class, as those of another shop or camera do: (n,) bool.

    Of each class about `share` of its rows: of the quarter that is farthest from the class's mean direction, the one
    whose nearest are farthest, with these. A class of fewer than four rows, or of too few for the share, has none.
    """
    seen = unit((vectors - vectors.mean(0)).astype(np.float32))
    found = np.zeros(len(labels), bool)
    for name in np.unique(labels):
        rows = np.flatnonzero(labels == name)
        count = round(share * len(rows))
        if len(rows) < 4 or not count:
            continue
        usual = seen[rows] @ seen[rows].mean(0)
        far = np.argsort(usual, kind="stable")[: len(rows) // 4][:BLOCK]
        near = np.argsort(-(seen[rows[far]] @ seen[rows].T), axis=1, kind="stable")[:, :count]
        found[rows[near[usual[near].mean(1).argmin()]]] = True
    return found


def joined(numbers: Sequence[np.ndarray]) -> np.ndarray:
    """A number for each row (n,): rows that share one in any of `numbers`, each (n,), share it, in chains."""
    sets = _Sets(len(numbers[0]))
    for of in numbers:
        first: dict[int, int] = {}
        for row, name in enumerate(of.tolist()):
            sets.join(first.setdefault(name, row), row)
    return sets.names()


class _Sets:
    """Disjoint sets of rows."""

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))

    def root(self, at: int) -> int:
        while self.parent[at] != at:
            self.parent[at] = self.parent[self.parent[at]]
            at = self.parent[at]
        return at

    def join(self, one: int, two: int) -> None:
        one, two = self.root(one), self.root(two)
        self.parent[max(one, two)] = min(one, two)

    def names(self) -> np.ndarray:
        return np.array([self.root(at) for at in range(len(self.parent))], dtype=np.int64)

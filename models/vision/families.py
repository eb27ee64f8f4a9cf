"""Rows that show the same thing: nearly the same picture, so that held-out rows are not seen in training."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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
    names = np.arange(count)
    for start in range(0, count, BLOCK):
        close = seen[start : start + BLOCK] @ seen[start:].T >= alike
        rows, others = np.nonzero(close)
        names = _met(names, start + rows, start + others)
    return names


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
    names = np.arange(len(numbers[0]))
    for of in numbers:
        _, first, place = np.unique(of, return_index=True, return_inverse=True)
        names = _met(names, np.arange(len(of)), first[place])
    return names


def _met(names: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The names (n,) once each of `rows` (m,) has met that of `others` (m,): those who met, by others, too, share one.

    Each name is the place of a row that has it.
    """
    count = len(names)
    ends = (np.concatenate([np.arange(count), rows]), np.concatenate([names, others]))
    pairs = coo_array((np.ones(len(ends[0]), bool), ends), shape=(count, count))
    _, found = connected_components(pairs, directed=False)
    return np.unique(found, return_index=True)[1][found]

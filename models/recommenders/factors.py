"""Vectors from who bought what, in closed form: of items, and of the values of their attributes."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import svds

from models.recommenders.events import HALF_LIVES, Histories

HALF_LIFE = 90.0
LENGTH = 0.1
"""Root mean square of the vectors' lengths, whatever the catalogue's size."""
SMALL = 4
"""Below so many times the wanted directions, a matrix is decomposed whole."""


def counts(histories: Histories) -> sp.csr_matrix:
    """Decayed counts, (users, items)."""
    weight = histories.decayed[:, HALF_LIVES.index(HALF_LIFE)].astype(np.float64)
    shape = (len(histories), histories.items)
    return sp.csr_matrix((weight, histories.item, histories.indptr), shape=shape)


def singular_vectors(matrix: sp.csr_matrix, dim: int, seed: int) -> np.ndarray:
    """The first right singular vectors of the logs of counts (users, columns), as (columns, dim) float32.

    Each user's row is given length 1, so that a heavy buyer counts as much as a light one. Columns without a count and
    directions beyond the rank are zeros. Source: Cremonesi et al. (2010), Performance of recommender algorithms on
    top-n recommendation tasks (PureSVD).
    """
    logs = matrix.log1p()
    found = np.zeros((matrix.shape[1], dim), dtype=np.float32)
    # Each is as large as the histories: one at a time stays.
    del matrix
    lengths = np.sqrt(np.asarray(logs.multiply(logs).sum(1)).ravel())
    logs = sp.diags(1.0 / np.maximum(lengths, 1e-9)) @ logs
    used = np.flatnonzero(np.bincount(logs.indices, minlength=len(found)))
    if not len(used):
        return found
    part = logs[:, used]
    del logs
    if min(part.shape) <= SMALL * dim:
        right = np.linalg.svd(part.toarray(), full_matrices=False)[2][:dim]
    else:
        start = np.random.default_rng(seed).standard_normal(min(part.shape))
        right = svds(part, k=dim, v0=start, return_singular_vectors="vh")[2][::-1]
    found[used, : len(right)] = right.T * (LENGTH * np.sqrt(len(used) / len(right)))
    return found


def item_vectors(histories: Histories, active: np.ndarray, dim: int, seed: int) -> np.ndarray:
    """Vectors of items by who bought them, (items, dim) float32; zeros where not active.

    active: (items,) booleans.
    """
    columns = np.flatnonzero(active)
    found = np.zeros((histories.items, dim), dtype=np.float32)
    found[columns] = singular_vectors(counts(histories)[:, columns], dim, seed)
    return found


def value_vectors(
    histories: Histories, codes: np.ndarray, sizes: tuple[int, ...], dim: int, seed: int
) -> np.ndarray:
    """Vectors of attribute values by who bought items that have them, (sum of sizes, dim) float32.

    codes: (items, columns), 0 for no value; value c of column j is row `offsets(sizes)[j] + c`.
    """
    at = sp.csr_matrix(_has(codes, sizes))
    return singular_vectors(sp.csr_matrix(counts(histories) @ at), dim, seed)


def described(values: np.ndarray, codes: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Vectors of items by their attribute values: the mean over columns, (items, dim) float32."""
    return np.asarray(_has(codes, sizes) @ values, dtype=np.float32) / max(len(sizes), 1)


def _has(codes: np.ndarray, sizes: tuple[int, ...]) -> sp.csr_matrix:
    """Ones where an item has a value, (items, sum of sizes)."""
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    item, column = np.nonzero(codes)
    places = codes[item, column] + offsets[column]
    ones = np.ones(len(item), dtype=np.float32)
    return sp.csr_matrix((ones, (item, places)), shape=(len(codes), int(np.sum(sizes))))


def turned(vectors: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """`vectors` (n, d) rotated to lie nearest to `towards` (n, d): singular vectors are unique but for a rotation.

    Source: Schönemann (1966), A generalized solution of the orthogonal Procrustes problem.
    """
    left, _, right = np.linalg.svd(vectors.T @ towards)
    return vectors @ (left @ right)

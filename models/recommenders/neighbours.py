"""User-to-user similarity: who is most like whom, by what they touched, and what they share.

Source: Herlocker et al. (1999), An algorithmic framework for performing collaborative filtering.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from models.recommenders.base import blocks, top_k


@dataclass(frozen=True)
class Neighbours:
    """The nearest others of each user. position: (users, k), -1 where fewer are alike at all. cosine: (users, k), 0
    there."""

    position: np.ndarray
    cosine: np.ndarray


def unit_rows(rows: sp.csr_matrix) -> sp.csr_matrix:
    """Rows (users, items) divided by their lengths; empty ones stay empty."""
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(1), dtype=np.float64).ravel())
    return sp.csr_matrix(sp.diags(1.0 / np.maximum(lengths, 1e-12)) @ rows)


def nearest_others(rows: sp.csr_matrix, k: int) -> Neighbours:
    """The `k` users with the highest cosine to each user of `rows` (users, items), the user left out.

    Exact, a block of users against all: `BLOCK_CELLS` numbers in memory, never all pairs. Users who share nothing are
    no neighbours.
    """
    unit = unit_rows(rows)
    users = unit.shape[0]
    columns = unit.T.tocsr()
    position, cosine = np.full((users, k), -1), np.zeros((users, k))
    for block in blocks(users, users):
        found = (unit[block] @ columns).toarray()
        found[np.arange(len(block)), block] = 0.0
        near = top_k(np.where(found > 0, found, -np.inf), k)
        position[block] = near
        values = np.take_along_axis(found, np.maximum(near, 0), axis=1)
        cosine[block] = np.where(near >= 0, values, 0.0)
    return Neighbours(position, cosine)


def collaborative_filtering(
    user_item_matrix: np.ndarray | sp.spmatrix, num_neighbors: int = 5
) -> np.ndarray:
    """Scores (users, items) float64: the mean of the nearest users' rows, weighted by their cosines.

    user_item_matrix: (users, items), 0 where a user never touched an item. What a user touched has -inf, so that no
    ranking lists it. Users whom nobody is like (without a history, or the only one with theirs) get the mean of all rows.
    """
    rows = sp.csr_matrix(user_item_matrix, dtype=np.float64)
    rows.eliminate_zeros()
    near = nearest_others(rows, num_neighbors)
    users, k = near.position.shape
    there = near.position >= 0
    parts = (near.cosine[there], (np.nonzero(there)[0], near.position[there]))
    votes = sp.csr_matrix(parts, shape=(users, users))
    total = near.cosine.sum(1, keepdims=True)
    usual = np.asarray(rows.sum(0)) / max(users, 1)
    scores = np.where(total > 0, (votes @ rows).toarray() / np.where(total > 0, total, 1.0), usual)
    scores[rows.nonzero()] = -np.inf
    return scores


def shared(
    rows: sp.csr_matrix, near: Neighbours, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What each pair of neighbours shares: user (S,), place among the neighbours (S,), item (S,), the rarest first.

    rows: (users, items). At most `most` items a pair, in the order of users and places.
    """
    buyers = np.bincount(rows.indices, minlength=rows.shape[1])
    users, k = near.position.shape
    parts = []
    for block in blocks(users, k * 1000):
        user, place = np.nonzero(near.position[block] >= 0)
        both = rows[block[user]].multiply(rows[near.position[block[user], place]]).tocsr()
        pair = np.repeat(np.arange(len(user)), np.diff(both.indptr))
        order = np.lexsort((both.indices, buyers[both.indices], pair))
        rank = np.arange(len(order)) - both.indptr[pair]
        kept = order[rank < most]
        parts.append((block[user[pair[kept]]], place[pair[kept]], both.indices[kept]))
    if not parts:
        return np.zeros(0, int), np.zeros(0, int), np.zeros(0, int)
    first, second, third = (np.concatenate(part) for part in zip(*parts, strict=True))
    return first, second, third

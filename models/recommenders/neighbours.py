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


@dataclass(frozen=True)
class Shared:
    """What pairs of neighbours share. user, place, item: (S,) of each item named. counts: (users, k) how many they share."""

    user: np.ndarray
    place: np.ndarray
    item: np.ndarray
    counts: np.ndarray


def shared(rows: sp.csr_matrix, near: Neighbours, most: int) -> Shared:
    """What each pair of neighbours shares, the rarest first: at most `most` items, in the order of users and places.

    rows: (users, items).
    """
    buyers = np.bincount(rows.indices, minlength=rows.shape[1])
    users, k = near.position.shape
    counts = np.zeros((users, k), dtype=np.int64)
    none = np.zeros(0, dtype=np.int64)
    parts = [(none, none, none)]
    for block in blocks(users, k * 1000):
        user, place = np.nonzero(near.position[block] >= 0)
        both = rows[block[user]].multiply(rows[near.position[block[user], place]]).tocsr()
        counts[block[user], place] = np.diff(both.indptr)
        pair = np.repeat(np.arange(len(user)), np.diff(both.indptr))
        order = np.lexsort((both.indices, buyers[both.indices], pair))
        rank = np.arange(len(order)) - both.indptr[pair]
        kept = order[rank < most]
        parts.append((block[user[pair[kept]]], place[pair[kept]], both.indices[kept]))
    user, place, item = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Shared(user, place, item, counts)

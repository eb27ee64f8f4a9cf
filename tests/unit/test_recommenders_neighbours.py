"""User-to-user similarity against loops that are slow and obvious."""

import numpy as np
import pytest
import scipy.sparse as sp

from models.recommenders import base, neighbours


def matrix(seed: int, users: int = 23, items: int = 17) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = rng.integers(1, 5, (users, items)) * (rng.random((users, items)) < 0.3)
    made[4] = 0
    made[5] = 0
    made[5, 3] = 2
    made[:, 3] *= np.arange(users) == 5
    return made.astype(float)


def slow(rows: np.ndarray, k: int) -> np.ndarray:
    users, items = rows.shape
    scores = np.zeros((users, items))
    for user in range(users):
        cosines = []
        for other in range(users):
            lengths = np.linalg.norm(rows[user]) * np.linalg.norm(rows[other])
            if other != user and lengths and rows[user] @ rows[other] > 0:
                cosines.append((rows[user] @ rows[other] / lengths, other))
        cosines = sorted(cosines, reverse=True)[:k]
        if cosines:
            total = sum(cosine for cosine, _ in cosines)
            scores[user] = sum(cosine * rows[other] for cosine, other in cosines) / total
        else:
            scores[user] = rows.mean(0)
        scores[user, rows[user] > 0] = -np.inf
    return scores


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_collaborative_filtering_equals_brute_force(seed: int, k: int) -> None:
    rows = matrix(seed) + np.random.default_rng(seed).random((23, 17)) * (matrix(seed) > 0)
    np.testing.assert_allclose(neighbours.collaborative_filtering(rows, k), slow(rows, k))
    np.testing.assert_allclose(
        neighbours.collaborative_filtering(sp.csr_matrix(rows), k), slow(rows, k)
    )


def test_blocks_change_no_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = sp.csr_matrix(matrix(4))
    whole = neighbours.nearest_others(rows, 5)
    monkeypatch.setattr(base, "BLOCK_CELLS", 60)
    parts = neighbours.nearest_others(rows, 5)
    np.testing.assert_array_equal(whole.position, parts.position)
    np.testing.assert_array_equal(whole.cosine, parts.cosine)


def test_what_neighbours_share_is_in_both_rows_and_the_rarest() -> None:
    dense = matrix(5)
    rows = sp.csr_matrix(dense)
    near = neighbours.nearest_others(rows, 3)
    found = neighbours.shared(rows, near, 2)
    user, place, item = found.user, found.place, found.item
    other = near.position[user, place]
    assert len(user) and (dense[user, item] > 0).all() and (dense[other, item] > 0).all()
    buyers = (dense > 0).sum(0)
    for one, two in {(int(a), int(b)) for a, b in zip(user, place, strict=True)}:
        both = np.flatnonzero((dense[one] > 0) & (dense[near.position[one, two]] > 0))
        mine = item[(user == one) & (place == two)]
        assert sorted(buyers[mine]) == sorted(buyers[both])[: len(mine)]
        assert len(mine) == min(2, len(both))
        assert found.counts[one, two] == len(both)

"""Ranking metrics against scikit-learn's, and against loops."""

import numpy as np
from sklearn.metrics import average_precision_score, ndcg_score

from models import metrics


def judged(seed: int, users: int = 40, items: int = 30, k: int = 30) -> tuple[np.ndarray, ...]:
    """Lists (users, k), truth, and scores and relevance (users, items) that say the same."""
    rng = np.random.default_rng(seed)
    scores = rng.permuted(np.tile(np.arange(items, dtype=float), (users, 1)), axis=1)
    relevant = rng.random((users, items)) < 0.2
    relevant[:, 0] |= ~relevant.any(1)
    lists = np.argsort(-scores, axis=1)[:, :k]
    indptr = np.concatenate([[0], np.cumsum(relevant.sum(1))])
    return lists, indptr, np.nonzero(relevant)[1], scores, relevant


def test_ndcg_equals_scikit_learns() -> None:
    for seed, k in ((1, 5), (2, 10), (3, 30)):
        lists, indptr, items, scores, relevant = judged(seed, k=k)
        ours = metrics.ndcg(lists, indptr, items)
        theirs = [ndcg_score(relevant[[user]], scores[[user]], k=k) for user in range(len(scores))]
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


def test_average_precision_of_whole_lists_equals_scikit_learns() -> None:
    lists, indptr, items, scores, relevant = judged(4)
    ours = metrics.average_precision(lists, indptr, items)
    theirs = [average_precision_score(relevant[u], scores[u]) for u in range(len(scores))]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


def test_shortened_lists_equal_slow_ones() -> None:
    lists, indptr, items, _, _ = judged(5, k=12)
    lists[3, 4:] = -1
    slow = {"recall": [], "hit": [], "first": [], "precision": []}
    for user in range(len(lists)):
        true = set(items[indptr[user] : indptr[user + 1]].tolist())
        hits = [place for place, item in enumerate(lists[user].tolist(), 1) if item in true]
        slow["recall"].append(len(hits) / len(true))
        slow["hit"].append(float(bool(hits)))
        slow["first"].append(1 / hits[0] if hits else 0.0)
        found = sum(at / place for at, place in enumerate(hits, 1))
        slow["precision"].append(found / min(len(true), 12))
    for name, ours in (
        ("recall", metrics.recall),
        ("hit", metrics.hit_rate),
        ("first", metrics.reciprocal_rank),
        ("precision", metrics.average_precision),
    ):
        found = ours(lists, indptr, items)
        np.testing.assert_allclose(found, slow[name], rtol=0, atol=1e-9)


def test_coverage_is_the_mean_of_what_lists_add_to_it() -> None:
    lists, *_ = judged(6, k=4)
    lists[3, 2:] = -1
    shares = metrics.coverage_shares(lists, 40)
    np.testing.assert_allclose(shares.mean(), metrics.coverage(lists, 40))


def test_variety_equals_a_slow_one() -> None:
    lists, *_ = judged(7, k=6)
    lists[0], lists[1, 1:] = -1, -1
    groups = np.random.default_rng(7).integers(-1, 4, 30)
    slow = []
    for line in lists:
        there = [groups[item] for item in line if item >= 0]
        pairs = [(a, b) for at, a in enumerate(there) for b in there[at + 1 :]]
        other = [a != b or a < 0 for a, b in pairs]
        slow.append(sum(other) / len(pairs) if pairs else 0.0)
    np.testing.assert_allclose(metrics.variety(lists, groups), slow)


def test_confidence_is_most_honest_where_it_is_the_share_of_right_answers() -> None:
    right = np.repeat([1.0, 0.0], [30, 70])
    means = {sure: metrics.honesty(np.full(100, sure), right).mean() for sure in (0.1, 0.3, 0.6)}
    assert max(means, key=means.__getitem__) == 0.3

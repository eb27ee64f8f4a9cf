"""Intervals by bootstrap, and the ranking metrics that lists are judged by."""

from dataclasses import dataclass

import numpy as np

LOW, HIGH = ", low", ", high"
"""What follows a figure's name where the ends of its interval are told."""


@dataclass(frozen=True)
class Interval:
    """A mean with its two-sided interval."""

    mean: float
    low: float
    high: float

    def named(self, name: str) -> dict[str, float]:
        """The mean and both ends as figures.

        >>> Interval(0.5, 0.25, 0.75).named("recall")
        {'recall': 0.5, 'recall, low': 0.25, 'recall, high': 0.75}
        """
        return {name: self.mean, f"{name}{LOW}": self.low, f"{name}{HIGH}": self.high}


def bootstrap_means(
    values: np.ndarray, seed: int, rounds: int = 2000, block: int = 100
) -> np.ndarray:
    """Means of `rounds` resamples with replacement. values: (n,) or (n, m). Returns (rounds,) or (rounds, m).

    Rows are resampled by multinomial counts, `block` rounds at a time, so that memory stays at block x n.
    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 6.
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if n == 0:
        raise ValueError("no rows: nothing to resample")
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, rounds, block):
        draws = rng.integers(0, n, size=(min(block, rounds - start), n))
        counts = np.apply_along_axis(np.bincount, 1, draws, minlength=n)
        parts.append(counts @ values / n)
    return np.concatenate(parts)


def interval(values: np.ndarray, seed: int, level: float = 0.95, rounds: int = 2000) -> Interval:
    """Mean of `values` (n,) with its percentile interval.

    >>> interval(np.ones(5), seed=1)
    Interval(mean=1.0, low=1.0, high=1.0)
    """
    values = np.asarray(values, dtype=np.float64)
    if np.isnan(values).any():
        raise ValueError("NaN among the values: a missing figure is no figure")
    means = bootstrap_means(values, seed, rounds)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def paired_interval(
    ours: np.ndarray, theirs: np.ndarray, seed: int, level: float = 0.95, rounds: int = 2000
) -> Interval:
    """Mean of `ours - theirs` on the same rows, with its percentile interval. Both (n,)."""
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    if ours.shape != theirs.shape:
        raise ValueError(f"not the same rows: {ours.shape} and {theirs.shape}")
    return interval(ours - theirs, seed, level, rounds)


def hits(lists: np.ndarray, truth_indptr: np.ndarray, truth_items: np.ndarray) -> np.ndarray:
    """Which entries of each list are true. Shapes: lists (users, k), -1 where a list is short.

    truth_indptr (users + 1,), truth_items: the true items of user u are truth_items[indptr[u]:indptr[u + 1]].
    Returns (users, k) booleans.
    """
    users, k = lists.shape
    if users == 0:
        return np.zeros((0, k), dtype=bool)
    top = int(max(lists.max(initial=0), truth_items.max(initial=0))) + 1
    owner = np.repeat(np.arange(users), np.diff(truth_indptr))
    known = owner.astype(np.int64) * top + truth_items
    asked = np.arange(users, dtype=np.int64)[:, None] * top + lists
    return np.isin(asked, known) & (lists >= 0)


def ndcg(lists: np.ndarray, truth_indptr: np.ndarray, truth_items: np.ndarray) -> np.ndarray:
    """NDCG@k of each user with binary relevance, (users,). True items must be unique within a user.

    Source: Järvelin and Kekäläinen (2002), Cumulated gain-based evaluation of IR techniques.

    >>> ndcg(np.array([[4, 7]]), np.array([0, 1]), np.array([7])).round(4).tolist()
    [0.6309]
    """
    k = lists.shape[1]
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    gained = hits(lists, truth_indptr, truth_items) @ discount
    best = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(np.diff(truth_indptr), k)]
    return np.divide(gained, best, out=np.zeros_like(gained), where=best > 0)


def recall(lists: np.ndarray, truth_indptr: np.ndarray, truth_items: np.ndarray) -> np.ndarray:
    """Share of each user's true items that the list holds, (users,)."""
    found = hits(lists, truth_indptr, truth_items).sum(1)
    return found / np.maximum(np.diff(truth_indptr), 1)


def hit_rate(lists: np.ndarray, truth_indptr: np.ndarray, truth_items: np.ndarray) -> np.ndarray:
    """1 for each user whose list holds a true item, else 0, (users,)."""
    return np.asarray(hits(lists, truth_indptr, truth_items).any(1), dtype=np.float64)


def reciprocal_rank(
    lists: np.ndarray, truth_indptr: np.ndarray, truth_items: np.ndarray
) -> np.ndarray:
    """One over the rank of the first true item of each list, 0 without one, (users,): its mean is the MRR."""
    found = hits(lists, truth_indptr, truth_items)
    return np.where(found.any(1), 1.0 / (found.argmax(1) + 1.0), 0.0)


def average_precision(
    lists: np.ndarray, truth_indptr: np.ndarray, truth_items: np.ndarray
) -> np.ndarray:
    """Mean precision at the ranks of true items, (users,): its mean is MAP@k. Divided by the most hits there can be.

    >>> average_precision(np.array([[4, 7, 9]]), np.array([0, 2]), np.array([4, 9])).round(4).tolist()
    [0.8333]
    """
    found = hits(lists, truth_indptr, truth_items)
    precision = np.cumsum(found, 1) / np.arange(1, lists.shape[1] + 1)
    most = np.minimum(np.diff(truth_indptr), lists.shape[1])
    return (precision * found).sum(1) / np.maximum(most, 1)


def honesty(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    """One minus the squared distance of each answer's confidence from how right it was (0 to 1), any shape.

    It is highest in the mean where confidences are true probabilities: too bold and too shy both cost.
    Source: Brier (1950), Verification of forecasts expressed in terms of probability.

    >>> honesty(np.array([0.9, 0.9]), np.array([1.0, 0.0])).round(2).tolist()
    [0.99, 0.19]
    """
    return (
        1.0 - (np.asarray(confidence, dtype=np.float64) - np.asarray(right, dtype=np.float64)) ** 2
    )


def coverage(lists: np.ndarray, items: int) -> float:
    """Share of the catalogue's `items` that stand on at least one list."""
    return len(np.unique(lists[lists >= 0])) / max(items, 1)


def coverage_shares(lists: np.ndarray, items: int) -> np.ndarray:
    """What each list adds to `coverage`, (users,): their mean is the coverage, so that it can be resampled by user.

    An item counts once, shared among the lists that it stands on.

    >>> lists = np.array([[0, 1], [0, 2]])
    >>> coverage_shares(lists, 4).tolist(), coverage(lists, 4)
    ([0.75, 0.75], 0.75)
    """
    there = lists >= 0
    counts = np.bincount(lists[there], minlength=items)
    shares = there / np.maximum(counts, 1)[np.maximum(lists, 0)]
    return shares.sum(1) * len(lists) / max(items, 1)


def variety(lists: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Share of the pairs of items on each list that are of different groups, (users,); 0 for a list of one item.

    groups: (items,) codes, -1 where unknown: such an item shares its group with none.

    >>> variety(np.array([[0, 1, 2], [0, 1, -1]]), np.array([5, 5, 6])).round(2).tolist()
    [0.67, 0.0]
    """
    there = lists >= 0
    of = np.where(there, groups[np.maximum(lists, 0)], -1)
    same = ((of[:, :, None] == of[:, None, :]) & (of >= 0)[:, :, None]).sum((1, 2)) - (of >= 0).sum(
        1
    )
    count = there.sum(1)
    pairs = count * (count - 1)
    return np.where(pairs > 0, 1.0 - same / np.maximum(pairs, 1), 0.0)


def gini(lists: np.ndarray, items: int) -> float:
    """How unequally the places on lists are shared among all items: 0 equal, near 1 for the same list for everyone.

    Source: Fleder and Hosanagar (2009), Blockbuster culture's next rise or fall.
    """
    counts = np.sort(np.bincount(lists[lists >= 0], minlength=items).astype(np.float64))
    if not counts.sum():
        return 0.0
    place = np.arange(1, items + 1)
    return float((2 * place - items - 1) @ counts / (items * counts.sum()))


def novelty(lists: np.ndarray, buyers: np.ndarray) -> np.ndarray:
    """Mean surprise in bits of each list's items, (users,). buyers: (items,) how many users had each; 0 counts as 1.

    Source: Zhou et al. (2010), Solving the apparent diversity-accuracy dilemma of recommender systems.
    """
    bits = -np.log2(np.maximum(buyers, 1) / max(float(np.max(buyers, initial=1)), 1.0))
    there = lists >= 0
    return (bits[np.maximum(lists, 0)] * there).sum(1) / np.maximum(there.sum(1), 1)

"""A second opinion on each cell of a field, from the row's vector and all other rows.

A ridge regression on the values' indicators has its leave-one-out answers in closed form, so that each row, also one
with a wrong value, is judged by a model that never saw it, at the cost of one fit. A softmax at a temperature makes
probabilities of them. A share of the cells is held to be wrong, with values drawn like any; that share and the
temperature are those that make the values that stand there likeliest.
Sources: Allen (1974), The relationship between variable selection and data augmentation (PRESS); Rifkin and Lippert
(2007), Notes on regularized least squares; Northcutt, Jiang and Chuang (2021), Confident learning.
"""

from dataclasses import dataclass

import numpy as np

from models.vision.head import log_softmax

BLOCK = 8192
RIDGES = (0.01, 0.1)
"""Strengths tried, as shares of the mean eigenvalue."""
WARMTHS = np.geomspace(0.02, 1.0, 21)
ERRORS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Shares of wrong cells and temperatures tried."""
JUDGED = 2048
"""Rows on which strength and temperature are chosen."""
MOST_LEVERAGE = 0.999


@dataclass(frozen=True)
class Opinion:
    """For each row (n,): `best`, the likeliest value's place but for the own, and the probabilities of two events.

    wrong: what stands in the cell is not so; 1 where it is empty. sure: it is not, and `best` is.
    """

    best: np.ndarray
    wrong: np.ndarray
    sure: np.ndarray


def second_opinion(vectors: np.ndarray, labels: np.ndarray, classes: int) -> Opinion:
    """An opinion on every row of vectors (n, d), float16 or float32, by labels (n,), -1 where the cell is empty.

    Each is formed without the row's own label. Memory: d x d, d x classes and a block of rows. Raises `ValueError`
    where no label is known.
    """
    known = np.flatnonzero(labels >= 0)
    if not len(known):
        raise ValueError("no label is known")
    mean, scale = _standard(vectors, known)
    gram, sums = _moments(vectors, labels, known, classes, mean, scale)
    shares = np.bincount(labels[known], minlength=classes) / len(known)
    sums -= shares * gram[-1][:, None]
    level = float(np.trace(gram)) / len(gram)
    some = known[np.unique(np.linspace(0, len(known) - 1, JUDGED).astype(int))]
    tried = []
    for ridge in RIDGES:
        inverse = np.linalg.inv(gram + ridge * level * np.eye(len(gram))).astype(np.float32)
        weights = inverse @ sums.astype(np.float32)
        scores = _scores(vectors[some], labels[some], inverse, weights, shares, mean, scale)
        for warmth in WARMTHS:
            own = np.exp(log_softmax(scores / warmth)[np.arange(len(some)), labels[some]])
            for errors in ERRORS:
                cost = -np.log((1 - errors) * own + errors * shares[labels[some]]).mean()
                tried.append((cost, warmth, errors, inverse, weights))
    _, warmth, errors, inverse, weights = min(tried, key=lambda one: one[0])
    best = np.empty(len(labels), np.int64)
    wrong, sure = np.ones(len(labels)), np.empty(len(labels))
    for start in range(0, len(labels), BLOCK):
        own = labels[start : start + BLOCK]
        part = slice(start, start + len(own))
        scores = _scores(vectors[part], own, inverse, weights, shares, mean, scale)
        found = np.exp(log_softmax(scores / warmth))
        rows = np.flatnonzero(own >= 0)
        chance = errors * shares[own[rows]]
        given = found[rows, own[rows]]
        wrong[start + rows] = chance / ((1 - errors) * given + chance)
        # What the value is where it is not the own.
        found[rows, own[rows]] = 0.0
        found[rows] /= np.maximum(1 - given, 1e-9)[:, None]
        best[part], sure[part] = found.argmax(1), found.max(1) * wrong[part]
    return Opinion(best, wrong, sure)


def _standard(vectors: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and one over the deviation (d,) of the chosen rows, a block at a time."""
    total, squares = np.zeros(vectors.shape[1]), np.zeros(vectors.shape[1])
    for start in range(0, len(rows), BLOCK):
        block = vectors[rows[start : start + BLOCK]].astype(np.float32)
        total += block.sum(0, dtype=np.float64)
        squares += np.square(block).sum(0, dtype=np.float64)
    mean = total / len(rows)
    deviation = np.sqrt(np.maximum(squares / len(rows) - mean**2, 0))
    floor = 0.05 * float(deviation.mean()) + 1e-6
    return mean.astype(np.float32), (1.0 / (deviation + floor)).astype(np.float32)


def _seen(vectors: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Standardised vectors with a column of ones after them."""
    plain = (vectors.astype(np.float32) - mean) * scale
    return np.concatenate([plain, np.ones((len(plain), 1), np.float32)], axis=1)


def _moments(
    vectors: np.ndarray,
    labels: np.ndarray,
    rows: np.ndarray,
    classes: int,
    mean: np.ndarray,
    scale: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """X'X (d + 1, d + 1) and X'Y (d + 1, classes) over the chosen rows, Y being their labels' indicators."""
    width = vectors.shape[1] + 1
    gram, sums = np.zeros((width, width)), np.zeros((width, classes))
    for start in range(0, len(rows), BLOCK):
        chosen = rows[start : start + BLOCK]
        seen = _seen(vectors[chosen], mean, scale)
        gram += seen.T @ seen
        marks = np.zeros((len(chosen), classes), np.float32)
        marks[np.arange(len(chosen)), labels[chosen]] = 1.0
        sums += seen.T @ marks
    return gram, sums


def _scores(
    vectors: np.ndarray,
    labels: np.ndarray,
    inverse: np.ndarray,
    weights: np.ndarray,
    shares: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
) -> np.ndarray:
    """Scores (n, classes) of rows as if each with a label had not been fitted on."""
    seen = _seen(vectors, mean, scale)
    fitted = seen @ weights
    leverage = np.minimum(np.einsum("nd,nd->n", seen @ inverse, seen), MOST_LEVERAGE)
    rows = np.flatnonzero(labels >= 0)
    target = np.zeros((len(rows), len(shares)), np.float32) - shares.astype(np.float32)
    target[np.arange(len(rows)), labels[rows]] += 1.0
    own = leverage[rows, None]
    fitted[rows] = (fitted[rows] - own * target) / (1.0 - own)
    return fitted + shares.astype(np.float32)

"""Pictures that are asked together speak for one another.

A shelf is photographed several times, a product from several sides: what is told of a picture is drawn to what is told of
those that look most like it. How alike two must be to show the same is learned from pairs of labelled pictures. Sources: Zhou
et al. (2004), Learning with local and global consistency (the spreading of labels over neighbours); Heskes (1998), Selecting
weighting factors in logarithmic opinion pools (the geometric mean of what they say).
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import coo_array
from scipy.special import expit

from models.vision.families import unit
from models.vision.head import log_softmax

NEAREST = 3
"""Pictures that each listens to; those that listen to it are heard, too."""
ROUNDS = 5
BLOCK = 1024
PAIRED = 1000
"""Labelled pictures whose pairs are looked at, at most."""
STRANGERS = np.array([-50.0, 0.0])
"""Where pictures say nothing of one another."""


def looks(views: Sequence[np.ndarray]) -> np.ndarray:
    """Directions (n, d) whose products are the mean cosines of n pictures over `views`, each (n, d_v) and centred."""
    parts = [unit((view - view.mean(0)).astype(np.float32)) for view in views]
    return np.concatenate(parts, axis=1) / np.float32(np.sqrt(len(parts)))


def fit_kin(seen: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Intercept and slope (2,) of the logit that two pictures are of one class, by their cosine.

    seen (n, d): see `looks`, of pictures from which what looked has not learned. labels (n,). `STRANGERS` where no two are of one
    class, or all are, or those of one class are not more alike.
    """
    rows = np.random.default_rng(seed).permutation(len(labels))[:PAIRED]
    first, second = np.triu_indices(len(rows), 1)
    cosines = (seen[rows] @ seen[rows].T)[first, second].astype(np.float64)
    same = labels[rows[first]] == labels[rows[second]]
    if not 0 < same.sum() < len(same):
        return STRANGERS

    def cost(line: np.ndarray) -> tuple[float, np.ndarray]:
        logits = line[0] + line[1] * cosines
        slope = expit(logits) - same
        value = np.logaddexp(0.0, logits).sum() - logits[same].sum()
        return float(value), np.array([slope.sum(), slope @ cosines])

    found = minimize(cost, np.array([-3.0, 5.0]), jac=True, method="BFGS").x
    return np.asarray(found) if found[1] > 0 else STRANGERS


def drawn(logs: np.ndarray, seen: np.ndarray, kin: np.ndarray) -> np.ndarray:
    """Log probabilities (n, c) drawn to those of the pictures most alike, normalised. seen (n, d): see `looks`.

    kin: see `fit_kin`. A picture is heard for what it is likelier to show the same than what is told is to be right. All stay
    what they were where pictures that look alike are told to show different things (see `agreed`).
    """
    own = log_softmax(logs)
    if len(logs) < 2:
        return own
    heard, other, cosines = _neighbours(seen)
    sure = float(np.exp(own.max(1)).mean())
    loud = np.maximum(expit(kin[0] + kin[1] * cosines) - sure, 0.0) / max(1 - sure, 1e-9)
    if not agreed(own, heard, other, loud, sure):
        return own
    voices = coo_array((loud, (heard, other)), shape=(len(logs), len(logs))).tocsr()
    voices = voices.maximum(voices.T)
    whole = 1 + voices.sum(axis=1)[:, None]
    found = own
    for _ in range(ROUNDS):
        found = (own + voices @ found) / whole
    return log_softmax(found)


def agreed(
    logs: np.ndarray, heard: np.ndarray, other: np.ndarray, loud: np.ndarray, sure: float
) -> bool:
    """Whether pairs of pictures (p,) are told to show the same about as often as if they did.

    logs (n, c): log probabilities; loud (p,): how much each pair counts; sure: the mean of the highest probabilities. Two
    pictures of one thing, each told right with a chance of `sure`, are told the same with one of its square at least, were they
    told apart from one another. Pictures of which each shows something else agree far less.
    """
    told = logs.argmax(1)
    same = float(loud @ (told[heard] == told[other]))
    return bool(loud.any()) and same >= sure**2 * float(loud.sum())


def _neighbours(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who listens to whom, and their cosine: (n k,) each."""
    count = len(seen)
    nearest = min(NEAREST, count - 1)
    others, cosines = [], []
    for start in range(0, count, BLOCK):
        alike = seen[start : start + BLOCK] @ seen.T
        rows = np.arange(len(alike))
        alike[rows, start + rows] = -np.inf
        best = np.argpartition(-alike, nearest - 1, axis=1)[:, :nearest]
        others.append(best)
        cosines.append(np.take_along_axis(alike, best, axis=1))
    heard = np.repeat(np.arange(count), nearest)
    return heard, np.concatenate(others).ravel(), np.concatenate(cosines).ravel()

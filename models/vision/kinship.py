"""Pictures that are asked together speak for one another.

A shelf is photographed several times, a product from several sides: what is told of a picture is drawn to what is told of
those that look most like it. Sources: Zhou et al. (2004), Learning with local and global consistency (the spreading of labels
over neighbours); Heskes (1998), Selecting weighting factors in logarithmic opinion pools (the geometric mean of what they say).
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array

from models.vision.families import unit
from models.vision.head import log_softmax

NEAREST = 3
"""Pictures that each listens to; those that listen to it are heard, too."""
SHARP = 4
"""The power of a cosine that says how much they are heard: half as alike is a sixteenth as loud."""
ROUNDS = 5
BLOCK = 1024
WEIGHT = 1.0
"""How loud a picture that looks just the same is, beside one's own voice."""


def looks(views: Sequence[np.ndarray]) -> np.ndarray:
    """Directions (n, d) whose products are the mean cosines of n pictures over `views`, each (n, d_v) and centred."""
    parts = [unit((view - view.mean(0)).astype(np.float32)) for view in views]
    return np.concatenate(parts, axis=1) / np.float32(np.sqrt(len(parts)))


def drawn(logs: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Log probabilities (n, c) drawn to those of the pictures most alike, normalised. seen (n, d): see `looks`.

    They are what they were where pictures that look alike seem to show different things (see `akin`).
    """
    own = log_softmax(logs)
    if len(logs) < 2:
        return own
    heard, other, loud = _neighbours(seen)
    if not akin(own, heard, other, loud):
        return own
    voices = coo_array((WEIGHT * loud, (heard, other)), shape=(len(logs), len(logs))).tocsr()
    voices = voices.maximum(voices.T)
    whole = 1 + voices.sum(axis=1)[:, None]
    found = own
    for _ in range(ROUNDS):
        found = (own + voices @ found) / whole
    return log_softmax(found)


def akin(logs: np.ndarray, heard: np.ndarray, other: np.ndarray, loud: np.ndarray) -> bool:
    """Whether pairs of pictures (p,) are told to show the same about as often as if they did.

    logs (n, c): log probabilities; loud (p,): how much each pair counts. Two pictures of one thing, each told right with a
    chance of p, are told the same with one of p² at least, were they told apart from one another. Pictures of which each
    shows something else agree far less.
    """
    told, sure = logs.argmax(1), float(np.exp(logs.max(1)).mean())
    agreed = loud @ (told[heard] == told[other]) / max(float(loud.sum()), 1e-9)
    return bool(agreed >= sure**2)


def _neighbours(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who listens to whom, and how much: (n k,) each."""
    count = len(seen)
    nearest = min(NEAREST, count - 1)
    others, voices = [], []
    for start in range(0, count, BLOCK):
        alike = seen[start : start + BLOCK] @ seen.T
        rows = np.arange(len(alike))
        alike[rows, start + rows] = -np.inf
        best = np.argpartition(-alike, nearest - 1, axis=1)[:, :nearest]
        others.append(best)
        voices.append(np.maximum(np.take_along_axis(alike, best, axis=1), 0.0) ** SHARP)
    heard = np.repeat(np.arange(count), nearest)
    return heard, np.concatenate(others).ravel(), np.concatenate(voices).ravel()

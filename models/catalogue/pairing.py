"""Whether a product's picture and its words belong together.

The directions in which pictures and words go together are learned from all products but those judged (in `FOLDS` parts):
both are whitened, and the singular values of what they share say how much each direction tells. A product's score
is the cosine of its picture and its words in these directions. The same products with one another's words tell what
the score of a wrong picture looks like; how many products score like that tells how many are wrong.
Sources: Hotelling (1936), Relations between two sets of variates; Vinod (1976), Canonical ridge; Storey (2002), A
direct approach to false discovery rates.
"""

import numpy as np
from sklearn.isotonic import IsotonicRegression

from models.vision.families import unit
from models.vision.whitening import Whitening

WIDTH = 128
SHRINK = 0.1
FOLDS = 5
STRANGERS = 5
"""Others' words that each picture is scored with."""
FEWEST = 100
"""Products below which nothing is said."""
BLOCK = 8192
LOWEST = 20
"""Products with the lowest scores, at least, that tell how many are wrong. A handful may be chance."""
MOST = 0.25
"""Where more would be wrong, pictures and words tell too little of each other: none is doubted."""


def misfits(pictures: np.ndarray, words: np.ndarray, seed: int) -> np.ndarray:
    """The probability that a product's picture is not its own, (n,).

    pictures (n, d) and words (n, e): vectors of the products' pictures and of what is said of them, float16 or float32.
    Memory: both in `WIDTH` directions, d x d, e x e. Of fewer than `FEWEST` products none is doubted, nor where
    pictures and words tell next to nothing of each other.
    """
    count = len(pictures)
    if count < FEWEST or not pictures.shape[1] or not words.shape[1]:
        return np.zeros(count)
    seen, told = _whitened(pictures, seed), _whitened(words, seed)
    draw = np.random.default_rng(seed)
    fold = draw.permutation(count) % FOLDS
    whole = seen.T @ told
    own = np.empty(count)
    strange = np.empty((count, STRANGERS))
    for part in range(FOLDS):
        rows = np.flatnonzero(fold == part)
        looks, reads = _shared(seen[rows], told[rows], whole - seen[rows].T @ told[rows])
        own[rows] = np.einsum("nd,nd->n", looks, reads)
        order = draw.permutation(len(rows))
        for at in range(STRANGERS):
            # Along a random ring, so that nobody meets their own words.
            others = np.empty_like(order)
            others[order] = np.roll(order, at + 1)
            strange[rows, at] = np.einsum("nd,nd->n", looks, reads[others])
    return _wrong(own, strange.ravel())


def _whitened(vectors: np.ndarray, seed: int) -> np.ndarray:
    turn = Whitening.of(vectors, min(WIDTH, vectors.shape[1]), SHRINK, seed)
    blocks = range(0, len(vectors), BLOCK)
    return np.concatenate([turn(vectors[at : at + BLOCK].astype(np.float32)) for at in blocks])


def _shared(
    seen: np.ndarray, told: np.ndarray, moments: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both in the directions that `moments`, seen'told of the products to learn from, say they share; of length 1."""
    left, strength, right = np.linalg.svd(moments, full_matrices=False)
    return unit(seen @ left * strength), unit(told @ right.T * strength)


def _wrong(own: np.ndarray, strange: np.ndarray) -> np.ndarray:
    """Probabilities (n,) by the products' scores (n,) and those of wrong pictures (m,)."""
    marks = np.concatenate([np.zeros(len(own)), np.ones(len(strange))])
    weights = np.concatenate(
        [np.full(len(own), 1 / len(own)), np.full(len(strange), 1 / len(strange))]
    )
    like = IsotonicRegression(y_min=0, y_max=1, increasing=False, out_of_bounds="clip")
    like.fit(np.concatenate([own, strange]), marks, sample_weight=weights)
    share = _share(own, strange)
    if share > MOST:
        return np.zeros(len(own))
    found = like.predict(own)
    return np.minimum(share * found / np.maximum(1 - found, 1e-9), 1.0)


def _share(own: np.ndarray, strange: np.ndarray) -> float:
    """The share of wrong pictures, cautiously.

    Were all products with the lowest scores wrong, their number over the part of the strangers that score so low would be
    the number of all wrong ones. The right ones among them are fewer the lower the score, hence the least of several
    answers; each is taken half a deviation of its count lower.
    """
    count = np.array([LOWEST << at for at in range(64) if LOWEST << at <= len(own) // 2])
    highest = np.sort(own)[count - 1]
    below = np.searchsorted(np.sort(strange), highest, "right") + 1
    return float(((count - np.sqrt(count) / 2) / below).min() * len(strange) / len(own))

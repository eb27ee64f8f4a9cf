"""Vectors turned so that no few directions drown the others, or so that those that show the same come together."""

from dataclasses import dataclass

import numpy as np

from models.vision.families import unit

SAMPLE = 20_000
"""Rows from which directions are learned, at most."""
EMPTY = 1e-12


@dataclass(frozen=True)
class Directions:
    """mean (d,), turn (d, w) orthonormal: the directions of most spread, whose variances are spread (w,), falling."""

    mean: np.ndarray
    turn: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray, width: int, seed: int) -> "Directions":
        """The `width` directions of most spread of vectors (n, d)."""
        rows = np.arange(len(vectors))
        if len(rows) > SAMPLE:
            rows = np.random.default_rng(seed).choice(rows, SAMPLE, replace=False)
        chosen = vectors[rows].astype(np.float64)
        mean = chosen.mean(0) if len(chosen) else np.zeros(vectors.shape[1])
        spread, turn = np.linalg.eigh((chosen - mean).T @ (chosen - mean) / max(len(chosen), 1))
        return cls(mean, turn[:, ::-1][:, :width], spread[::-1][:width].clip(0))

    def evened(self, width: int, shrink: float) -> "Whitening":
        """The first `width` directions with alike spread.

        Source: Jégou and Chum (2012), Negative evidences and co-occurrences in image retrieval; directions of little
        spread are not blown up: `shrink` times the mean spread is added to each.
        """
        spread = self.spread[:width]
        turn = self.turn[:, :width] / np.sqrt(spread + shrink * spread.mean() + EMPTY)
        return Whitening(self.mean.astype(np.float32), turn.astype(np.float32))

    def paired(
        self, vectors: np.ndarray, pairs: np.ndarray, width: int, shrink: float
    ) -> "Whitening":
        """Where pairs of rows (2, p) of vectors (n, d), that show the same, differ alike in all directions.

        Of these directions the `width` of most spread are kept. `shrink` times the mean difference is added to each.
        Source: Mikolajczyk and Matas (2007), Improving descriptors for fast tree matching by optimal linear projection.
        """
        placed = (vectors - self.mean.astype(np.float32)) @ self.turn.astype(np.float32)
        apart = (placed[pairs[0]] - placed[pairs[1]]).astype(np.float64)
        spread, turn = np.linalg.eigh(apart.T @ apart / max(2 * len(apart), 1))
        spread = spread.clip(0)
        # Pairs of pictures that are the same to the pixel tell of no direction.
        least = EMPTY + 1e-6 * self.spread.mean()
        turn = turn / np.sqrt(spread + shrink * max(spread.mean(), least) + EMPTY)
        found = placed @ turn
        most = np.linalg.eigh(np.atleast_2d(np.cov(found.T))).eigenvectors[:, ::-1]
        whole = self.turn @ turn @ most[:, :width]
        return Whitening(self.mean.astype(np.float32), whole.astype(np.float32))


@dataclass(frozen=True)
class Whitening:
    """mean (d,), turn (d, w): a vector less the mean, times turn, has directions that count alike."""

    mean: np.ndarray
    turn: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray, width: int, shrink: float, seed: int) -> "Whitening":
        """Learned from vectors (n, d); the `width` directions of most spread are kept. See `Directions.evened`."""
        return Directions.of(vectors, width, seed).evened(width, shrink)

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(n, d) to (n, w) of length 1."""
        return unit((vectors - self.mean) @ self.turn)

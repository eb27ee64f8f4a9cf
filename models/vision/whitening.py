"""Vectors turned so that no few directions drown the others."""

from dataclasses import dataclass

import numpy as np

from models.vision.families import unit

SAMPLE = 20_000
"""Rows from which the whitening is learned, at most."""


@dataclass(frozen=True)
class Whitening:
    """mean (d,), turn (d, w): a vector less the mean, times turn, has directions of alike spread.

    Source: Jégou and Chum (2012), Negative evidences and co-occurrences in image retrieval; directions of little
    spread are not blown up: `shrink` times the mean spread is added to each.
    """

    mean: np.ndarray
    turn: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray, width: int, shrink: float, seed: int) -> "Whitening":
        """Learned from vectors (n, d); the `width` directions of most spread are kept."""
        rows = np.arange(len(vectors))
        if len(rows) > SAMPLE:
            rows = np.random.default_rng(seed).choice(rows, SAMPLE, replace=False)
        chosen = vectors[rows].astype(np.float64)
        mean = chosen.mean(0) if len(chosen) else np.zeros(vectors.shape[1])
        spread, turn = np.linalg.eigh((chosen - mean).T @ (chosen - mean) / max(len(chosen), 1))
        spread, turn = spread[::-1][:width].clip(0), turn[:, ::-1][:, :width]
        turn = turn / np.sqrt(spread + shrink * spread.mean() + 1e-12)
        return cls(mean.astype(np.float32), turn.astype(np.float32))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(n, d) to (n, w) of length 1."""
        return unit((vectors - self.mean) @ self.turn)

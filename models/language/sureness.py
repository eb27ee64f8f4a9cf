"""How sure a model of answers is, as a chance that comes true."""

from dataclasses import dataclass

import numpy as np

EDGE = 1e-4


def logit(chances: np.ndarray) -> np.ndarray:
    """The logarithm of the odds; of 0 and 1 finite, too."""
    inside = np.clip(np.asarray(chances, dtype=np.float64), EDGE, 1 - EDGE)
    return np.log(inside / (1 - inside))


@dataclass(frozen=True)
class Sureness:
    """What a model says of itself, made true. lines (2, 2): slope and shift of the logit, of no answer and of an answer.

    Source: Platt (1999), Probabilistic Outputs for Support Vector Machines.
    """

    lines: np.ndarray

    @classmethod
    def untrained(cls) -> "Sureness":
        """Leaves everything as it is."""
        return cls(np.asarray([[1.0, 0.0], [1.0, 0.0]]))

    def __call__(self, confidence: np.ndarray, answered: np.ndarray) -> np.ndarray:
        """Chances (n,) of being right, for those of the model and whether it answered."""
        line = self.lines[np.asarray(answered, dtype=np.int64)]
        return 1 / (1 + np.exp(-(line[:, 0] * logit(confidence) + line[:, 1])))

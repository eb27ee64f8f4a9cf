"""Coarser classes: what is told of a picture where the fine class is unsure.

Source: Deng et al. (2012), Hedging your bets: optimizing accuracy-specificity trade-offs in large scale visual recognition
(a class above others is as likely as these together).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Hierarchy:
    """names: of the coarse classes, sorted. parent (classes,): for each fine class the place of its own among them.

    >>> fruit = Hierarchy.of(["apple", "pear", "apple"])
    >>> fruit.shares(np.array([[0.25, 0.5, 0.25], [0.0, 1.0, 0.0]])).tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    >>> fruit.told(np.array([[0.375, 0.5, 0.125]]))
    (['apple'], array([0.5]))
    """

    names: list[str]
    parent: np.ndarray

    @classmethod
    def of(cls, parents: Sequence[str]) -> "Hierarchy":
        """From the coarse class of each fine one."""
        names, parent = np.unique(np.asarray(parents, dtype=object), return_inverse=True)
        return cls(names.tolist(), parent)

    def shares(self, fine: np.ndarray) -> np.ndarray:
        """Probabilities (n, classes) of the fine classes, summed over each coarse one: (n, coarse) float64.

        They are of one model, so that no fine answer is likelier than the coarse class that it belongs to.
        """
        members = self.parent[:, None] == np.arange(len(self.names))
        return fine.astype(np.float64) @ members.astype(np.float64)

    def told(self, fine: np.ndarray) -> tuple[list[str], np.ndarray]:
        """The likeliest coarse class of each row of (n, classes) and its probability (n,); among equals the first name."""
        shares = self.shares(fine)
        return [self.names[at] for at in shares.argmax(1)], shares.max(1, initial=0.0)

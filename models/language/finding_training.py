"""How much what the finder knows counts, learned from questions whose reviews are marked."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from models.language.finding import EVEN, OPINIONS, standing

PULL = 20.0
"""How strongly weights are drawn to those where nothing was learned, in questions."""
BOUNDS = [(0.0, None)] * len(OPINIONS) + [(None, None)]
"""No opinion counts against a review. That it is taken may: where each review was picked for one question, it answers no other."""


def fit_weights(known: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> np.ndarray:
    """Weights (4,) of COLUMNS with which the reviews that are right come first.

    known: of each question (n, 4); right: (n,) booleans. Minimises the cross-entropy of a softmax over a question's
    reviews. Questions without a right review, or without another, tell nothing; without any all count the same. Source: Cao
    et al. (2007), Learning to rank: from pairwise to listwise approach.
    """
    told = [
        (standing(table), marks / marks.sum())
        for table, marks in zip(known, right, strict=True)
        if 0 < marks.sum() < len(marks)
    ]

    def cost(weights: np.ndarray) -> tuple[float, np.ndarray]:
        value = PULL * float(((weights - EVEN) ** 2).sum())
        slope = 2 * PULL * (weights - EVEN)
        for table, wanted in told:
            logs = log_softmax(table @ weights)
            value -= float(wanted @ logs)
            slope = slope + table.T @ (np.exp(logs) - wanted)
        return value, slope

    found = minimize(cost, EVEN, jac=True, method="L-BFGS-B", bounds=BOUNDS)
    return np.asarray(found.x)

"""Fitting of `Sureness` on questions that the model was not fitted on."""

import numpy as np
from scipy.optimize import minimize

from models.language.sureness import Sureness, logit

PRIOR = 2.0
"""How much slope and shift are held to leaving things as they are: few questions must not turn them."""


def fit_sureness(confidence: np.ndarray, answered: np.ndarray, gained: np.ndarray) -> Sureness:
    """The lines with which confidences (n,) fit best what was gained (n,), 0 to 1; answered (n,): booleans."""
    answered = np.asarray(answered, dtype=bool)
    lines = []
    for which in (False, True):
        rows = answered == which
        given, truth = logit(np.asarray(confidence)[rows]), np.asarray(gained)[rows]

        def loss(line: np.ndarray, given: np.ndarray = given, truth: np.ndarray = truth) -> float:
            told = line[0] * given + line[1]
            cross = (np.logaddexp(0, told) - truth * told).sum()
            return float(cross + PRIOR * ((line[0] - 1) ** 2 + line[1] ** 2))

        found = minimize(loss, [1.0, 0.0], method="L-BFGS-B", bounds=[(0.05, 5.0), (-5.0, 5.0)])
        lines.append(found.x)
    return Sureness(np.asarray(lines))

"""Who agrees with whom: rows whose cells are the same in several columns."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

NOBODY = -1
"""The number of a row that agrees with none."""


def groups(columns: Sequence[np.ndarray], rows: int) -> np.ndarray:
    """A number (rows,) that rows share whose texts are equal in all `columns`, each (rows,); `NOBODY` where one is empty.

    Without columns all share one.

    >>> kind, shade = np.array(["cup", "cup", "mug", "cup"]), np.array(["red", "red", "red", ""])
    >>> groups([kind, shade], 4).tolist(), groups([], 2).tolist()
    ([0, 0, 1, -1], [0, 0])
    """
    found = np.zeros(rows, np.int64)
    for column in columns:
        places, names = pd.factorize(column)
        empty = (column == "") | (found == NOBODY)
        # Numbered anew after each column, so that the product stays below the square of the rows.
        found, _ = pd.factorize(found * len(names) + places)
        found = np.where(empty, NOBODY, found)
    return found

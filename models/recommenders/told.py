"""What reviews tell of items, as of any day."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

SILENT = 1.0
"""So many reviews that say nothing are added to those of each item: one review is not trusted as ten are."""


@dataclass(frozen=True)
class Told:
    """item: (R,) positions of what each review is of. day: (R,) when, in days since 1970. vectors: (R, f) float32."""

    item: np.ndarray
    day: np.ndarray
    vectors: np.ndarray

    def until(self, day: float, items: int) -> np.ndarray:
        """The mean of the vectors of each item's reviews from before `day`, (items, f) float32; zeros without one.

        Later ones would tell who was going to buy: a review follows a purchase.
        """
        before = np.flatnonzero(self.day < day)
        ones = np.ones(len(before), dtype=np.float32)
        rows = sp.csr_matrix((ones, (self.item[before], before)), shape=(items, len(self.item)))
        count = np.bincount(self.item[before], minlength=items).astype(np.float32)
        return (rows @ self.vectors) / (count + np.float32(SILENT))[:, None]

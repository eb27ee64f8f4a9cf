"""Rows whose pictures are nearly the same."""

import numpy as np

from models.vision.families import unit

BLOCK = 1024
WIDTH = 128
DOUBT = 0.03
"""How much lower a cosine in `WIDTH` random directions may be than the true one near 1 (many deviations)."""


def nearest_twin(vectors: np.ndarray, alike: float) -> tuple[np.ndarray, np.ndarray]:
    """For each of vectors (n, d) the nearest earlier row and the centred cosine, where that is at least `alike`.

    Returns places (n,), -1 where there is none, and cosines (n,), 0 there. Exact for cosines near 1: pairs are found
    in random directions (Johnson and Lindenstrauss, 1984), then compared in full; a block of rows at a time.
    """
    count = len(vectors)
    place, found = np.full(count, -1, np.int64), np.zeros(count, np.float32)
    if not count:
        return place, found
    mean = np.mean(vectors, axis=0, dtype=np.float64).astype(np.float32)
    width = min(WIDTH, vectors.shape[1])
    draw = np.random.default_rng(0).normal(size=(vectors.shape[1], width)).astype(np.float32)
    small = np.concatenate(
        [
            unit((vectors[at : at + BLOCK].astype(np.float32) - mean) @ draw)
            for at in range(0, count, BLOCK)
        ]
    )
    for start in range(0, count, BLOCK):
        end = min(start + BLOCK, count)
        close = small[start:end] @ small[:end].T
        rows, others = np.nonzero(close >= alike - DOUBT)
        earlier = others < rows + start
        rows, others = rows[earlier] + start, others[earlier]
        for at in range(0, len(rows), BLOCK):
            left, right = rows[at : at + BLOCK], others[at : at + BLOCK]
            one, two = (unit(vectors[which].astype(np.float32) - mean) for which in (left, right))
            cosine = np.einsum("nd,nd->n", one, two)
            # The best of a row's pairs, the earliest among equals: ascending, so that it is written last.
            order = np.lexsort((-right, cosine))
            order = order[cosine[order] >= alike]
            better = order[cosine[order] > found[left[order]]]
            place[left[better]], found[left[better]] = right[better], cosine[better]
    return place, found

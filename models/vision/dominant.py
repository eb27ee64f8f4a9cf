"""The dominant colours of products, measured: up to five of each picture, with their shares of the product's area.

A histogram of coarse colours is clustered in CIELAB, and clusters that people would take for shades of one colour are
made one. No chance is in it, and each picture's colours are the same whichever pictures are measured with it.

Sources: Manjunath, Ohm, Vasudevan and Yamada 2001, Color and texture descriptors (MPEG-7's dominant colours); Celebi
2011, Improving the performance of k-means for color quantization (k-means weighted by a histogram).
"""

from dataclasses import dataclass

import numpy as np

from models.vision.colour_names import named
from models.vision.colours import BITS, hyab, tables
from models.vision.ground import products

MOST = 5
"""Colours that are told of a picture."""
CLUSTERS, ROUNDS = 8, 6
"""Clusters that colours are first put into, and how often their means are moved."""
ONE_COLOUR = 15.0
"""Clusters that differ by less than this are one: the middle of the 10 to 20 that MPEG-7's descriptor is used with."""
FEWEST = 0.03
"""A smaller share of the product is a seam, a print's edge or noise, and not told beside larger ones."""
BLOCK = 64
WEIGHT, LAB, RGB = slice(0, 1), slice(1, 4), slice(4, 7)
"""Columns of what is summed over pixels: how much they count, and with that weight their CIELAB and their sRGB."""


@dataclass(frozen=True)
class Palettes:
    """colours (n, 5, 3) uint8 sRGB and their shares (n, 5) of the product's area, descending; share 0: no further colour.

    Shares sum to at most 1: what is in no told colour is left over.
    """

    colours: np.ndarray
    shares: np.ndarray

    def __len__(self) -> int:
        return len(self.shares)

    @property
    def hexes(self) -> np.ndarray:
        """As `#rrggbb` (n, 5), of places without a colour, too."""
        return np.vectorize("#{:06x}".format, otypes=[object])(packed(self.colours))

    @property
    def names(self) -> np.ndarray:
        """The nearest of the basic names (n, 5), of places without a colour, too."""
        return named(self.colours)


def dominant(pictures: np.ndarray, opaque: np.ndarray | None = None) -> Palettes:
    """The dominant colours of pictures (n, s, s, 3) uint8, a block at a time.

    opaque (n, s, s): which pixels are not clear. Shares are of the pixels that `ground.products` counts. Of mirrored
    pictures they are the same.
    """
    parts = [
        _palettes(pictures[at : at + BLOCK], None if opaque is None else opaque[at : at + BLOCK])
        for at in range(0, len(pictures), BLOCK)
    ]
    colours = [one.colours for one in parts] or [np.zeros((0, MOST, 3), np.uint8)]
    shares = [one.shares for one in parts] or [np.zeros((0, MOST))]
    return Palettes(np.concatenate(colours), np.concatenate(shares))


def packed(colours: np.ndarray) -> np.ndarray:
    """Colours (…, 3) uint8 as one number each, (…) int64."""
    wide = colours.astype(np.int64)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _palettes(pictures: np.ndarray, opaque: np.ndarray | None) -> Palettes:
    owner, bins = _histogram(pictures, products(pictures, opaque))
    clusters = _merged(_clustered(owner, bins, len(pictures)))
    weight = clusters[..., WEIGHT]
    shares = weight[..., 0] / weight.sum(1)
    colours = np.rint(clusters[..., RGB] / np.maximum(weight, 1)).astype(np.uint8)
    # A picture of very many colours has at least its largest told.
    told = shares >= np.minimum(FEWEST, shares.max(1, keepdims=True))
    shares = np.where(told, shares, 0.0)
    first = np.lexsort((packed(colours), -shares), axis=1)[:, :MOST]
    return Palettes(
        np.take_along_axis(colours, first[..., None], axis=1),
        np.take_along_axis(shares, first, axis=1),
    )


def _histogram(pictures: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The coarse colours that each picture has, as bins of all pictures one after another.

    counted (n, s, s). Returns which picture a bin is of (b,), ascending, and its sums (b, 7): exact, so that the order of
    pixels does not matter.
    """
    flat, weight = pictures.reshape(-1, 3).astype(np.int64), counted.reshape(-1)
    seen = np.flatnonzero(weight)
    flat, weight = flat[seen], weight[seen]
    red, green, blue = (flat >> (8 - BITS)).T
    code = (red << BITS | green) << BITS | blue
    picture = seen // (counted.shape[1] * counted.shape[2])
    keys, place = np.unique(picture << 3 * BITS | code, return_inverse=True)
    sums = [np.bincount(place, weight)]
    sums += [np.bincount(place, weight * channel) for channel in flat.T]
    owner, code = keys >> 3 * BITS, keys & ((1 << 3 * BITS) - 1)
    mass = sums[0][:, None]
    # The bin's middle stands for it in CIELAB: of its pixels' own mean the last bit could depend on the block.
    middle = tables()[1][code].astype(np.float64)
    return owner, np.concatenate([mass, mass * middle, np.stack(sums[1:], axis=1)], axis=1)


def _clustered(owner: np.ndarray, bins: np.ndarray, count: int) -> np.ndarray:
    """Sums (count, CLUSTERS, 7) of the clusters that k-means finds among each picture's bins.

    A seed is the bin that weighs most times the square of its difference to the nearest seed before: what k-means++
    draws, at its likeliest.
    """
    colour = bins[:, LAB] / bins[:, WEIGHT]
    starts = np.searchsorted(owner, np.arange(count))
    means = np.zeros((count, CLUSTERS, 3))
    score = bins[:, 0]
    gap = np.full(len(owner), np.inf)
    for at in range(CLUSTERS):
        best = np.flatnonzero(score == np.maximum.reduceat(score, starts)[owner])
        means[:, at] = colour[best[np.searchsorted(owner[best], np.arange(count))]]
        gap = np.minimum(gap, hyab(colour, means[owner, at]))
        score = bins[:, 0] * gap**2
    for _ in range(ROUNDS):
        sums = _summed(owner, bins, _nearest(colour, means, owner), count)
        filled = sums[..., WEIGHT] > 0
        means = np.where(filled, sums[..., LAB] / np.maximum(sums[..., WEIGHT], 1), means)
    return _summed(owner, bins, _nearest(colour, means, owner), count)


def _nearest(colour: np.ndarray, means: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Which of its picture's means (n, CLUSTERS, 3) each colour (b, 3) is nearest to (b,), the first of equals."""
    best = np.zeros(len(colour), np.int64)
    least = np.full(len(colour), np.inf)
    for at in range(means.shape[1]):
        gap = hyab(colour, means[owner, at])
        nearer = gap < least
        best[nearer], least[nearer] = at, gap[nearer]
    return best


def _summed(owner: np.ndarray, bins: np.ndarray, cluster: np.ndarray, count: int) -> np.ndarray:
    """Sums (count, CLUSTERS, 7) over the bins of each cluster."""
    slot = owner * CLUSTERS + cluster
    sums = [np.bincount(slot, column, count * CLUSTERS) for column in bins.T]
    return np.stack(sums, axis=-1).reshape(count, CLUSTERS, -1)


def _merged(clusters: np.ndarray) -> np.ndarray:
    """Clusters (n, k, 7), of which the two nearest are made one until no two differ by less than `ONE_COLOUR`."""
    clusters = clusters.copy()
    count = clusters.shape[1]
    for _ in range(count - 1):
        weight = clusters[..., WEIGHT]
        means = clusters[..., LAB] / np.maximum(weight, 1)
        gaps = hyab(means[:, :, None], means[:, None])
        filled = weight[..., 0] > 0
        open_pairs = filled[:, :, None] & filled[:, None] & ~np.eye(count, dtype=bool)
        gaps = np.where(open_pairs, gaps, np.inf).reshape(len(clusters), -1)
        nearest = gaps.argmin(1)
        rows = np.flatnonzero(gaps.min(1) < ONE_COLOUR)
        if not len(rows):
            break
        kept, gone = np.divmod(nearest[rows], count)
        clusters[rows, kept] += clusters[rows, gone]
        clusters[rows, gone] = 0
    return clusters

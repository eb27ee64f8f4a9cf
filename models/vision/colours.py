"""What colours a picture's object has: a histogram in CIELAB over what differs from the picture's border."""

from functools import cache

import numpy as np
from scipy.sparse import csr_array

SAMPLED = 40
"""Pixels a side that are looked at, evenly chosen."""
APART = 28
"""A pixel belongs to the object where a channel differs by more than this from the border's median colour."""
LEAST = 0.04
"""Where the object has a smaller share of the picture than this, the whole picture is looked at."""
BINS = (6, 7, 7)
HISTOGRAM = 6 * 7 * 7
"""Width of one histogram; that of the object comes first."""
LOWEST, HIGHEST = (0.0, -60.0, -60.0), (100.0, 60.0, 60.0)
WHITE = (0.9505, 1.0, 1.089)
TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
BITS = 5
"""Of each channel, that tell colours apart."""


def lab(pixels: np.ndarray) -> np.ndarray:
    """CIELAB (…, 3) float32 of sRGB (…, 3) in 0 to 255. Source: CIE 15, illuminant D65.

    >>> lab(np.array([255.0, 255.0, 255.0])).round(0).tolist()
    [100.0, 0.0, 0.0]
    """
    shares = np.asarray(pixels) / 255.0
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    xyz = (linear @ np.array(TO_XYZ).T) / np.array(WHITE)
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def hyab(one: np.ndarray, other: np.ndarray, lightness: float = 1.0) -> np.ndarray:
    """Differences (…) of colours (…, 3) in CIELAB: that of lightness, weighted, plus the distance in a and b.

    Made for large differences, where Euclid's distance and CIEDE2000 agree less with people.
    Source: Abasi, Amani Tehran and Fairchild 2020, Distance metrics for very large color differences.

    >>> float(hyab(np.array([50.0, 3.0, 4.0]), np.array([40.0, 0.0, 0.0])))
    15.0
    """
    apart = one - other
    return lightness * np.abs(apart[..., 0]) + np.sqrt(apart[..., 1] ** 2 + apart[..., 2] ** 2)


@cache
def tables() -> tuple[csr_array, np.ndarray]:
    """For each coarse colour its shares of the histogram's bins, the two nearest of each channel, and its CIELAB."""
    levels = (np.arange(1 << BITS) + 0.5) * (256 >> BITS) - 0.5
    colours = lab(np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3))
    top = np.array(BINS) - 1
    low, high = np.array(LOWEST), np.array(HIGHEST)
    place = np.clip((colours - low) / (high - low), 0, 1) * top
    below = np.minimum(place.astype(np.int64), top - 1)
    share = place - below
    cells, weights = [], []
    for corner in range(8):
        step = np.array([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
        cell = below + step
        cells.append((cell[:, 0] * BINS[1] + cell[:, 1]) * BINS[2] + cell[:, 2])
        weights.append(np.where(step == 1, share, 1 - share).prod(-1))
    rows = np.tile(np.arange(len(colours)), 8)
    shares = csr_array(
        (np.concatenate(weights), (rows, np.concatenate(cells))), (len(colours), HISTOGRAM)
    )
    return shares.astype(np.float32), colours


def objects(pictures: np.ndarray) -> np.ndarray:
    """Which pixels of pictures (n, s, s, 3) uint8 belong to the object, (n, s, s)."""
    rim = np.concatenate(
        [pictures[:, 0], pictures[:, -1], pictures[:, :, 0], pictures[:, :, -1]], axis=1
    )
    ground = np.median(rim, axis=1).astype(np.int16)
    apart = np.abs(pictures.astype(np.int16) - ground[:, None, None, :]).max(-1) > APART
    small = apart.mean((1, 2)) < LEAST
    return apart | small[:, None, None]


def colour_features(pictures: np.ndarray) -> np.ndarray:
    """Of pictures (n, s, s, 3) uint8, (n, 294 + 294 + 12) float32.

    The square roots of two soft histograms in CIELAB (of the object; of its inner half, which hands, skin and shadows
    touch less), then mean and deviation of both.
    """
    side = pictures.shape[1]
    chosen = np.linspace(0, side - 1, min(SAMPLED, side)).round().astype(int)
    small = pictures[:, chosen][:, :, chosen]
    mask = objects(small).astype(np.float32)
    inner = np.zeros(mask.shape[1:], np.float32)
    low, high = mask.shape[1] // 4, mask.shape[1] - mask.shape[1] // 4
    inner[low:high, low:high] = 1.0
    centre = mask * inner
    # An object that leaves the middle free (a ring, a chain) has no inner half: all of it counts.
    centre = np.where(centre.sum((1, 2), keepdims=True) > 0, centre, mask)
    kept = small.astype(np.int64) >> (8 - BITS)
    codes = ((kept[..., 0] << BITS | kept[..., 1]) << BITS | kept[..., 2]).reshape(len(small), -1)
    shares, colours = tables()
    histograms, moments = [], []
    for weight in (mask, centre):
        flat = weight.reshape(len(small), -1)
        flat = flat / np.maximum(flat.sum(1, keepdims=True), 1e-9)
        ends = np.arange(len(small) + 1) * codes.shape[1]
        counts = csr_array((flat.ravel(), codes.ravel(), ends), (len(small), len(colours)))
        histograms.append(np.sqrt((counts @ shares).toarray()))
        mean, square = counts @ colours, counts @ colours**2
        moments += [mean / 50.0, np.sqrt(np.maximum(square - mean**2, 0.0)) / 50.0]
    return np.concatenate([*histograms, *moments], axis=1).astype(np.float32)

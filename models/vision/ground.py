"""Where the product is in its picture: what differs from a plain ground, which the picture's border tells.

Photos on shelves have no plain border: all of them counts then, their middle most.
"""

import numpy as np
from scipy import ndimage

ALIKE = 12
"""A pixel is like the ground where no channel differs by more than this from the ground expected there."""
REACHED = 48
"""A pixel of the border that differs by more than this from the border's median belongs to what reaches the border."""
SMOOTHED = 9
"""Pixels of a border over which its median runs."""
PLAIN = 0.6
"""Share of the border that must be like the ground for a picture to have one."""
LEAST = 0.02
"""What is left of a picture is no product where it is a smaller share than this."""
HOLE, SHADED, HOLLOW = 6, 48, 0.25
"""A surface in the ground's colour has shades, a hole shows the ground itself: what lies inside the product and differs
from the ground by no more than HOLE is one where pixels that differ by up to SHADED are fewer than HOLLOW times as many."""
PLANE = np.pad(ndimage.generate_binary_structure(2, 1)[None], ((1, 1), (0, 0), (0, 0)))
"""Neighbours within one picture, for stacks of pictures: the four at the sides."""
AROUND = np.pad(ndimage.generate_binary_structure(2, 2)[None], ((1, 1), (0, 0), (0, 0)))
"""The same with those at the corners."""


def products(pictures: np.ndarray, opaque: np.ndarray | None = None) -> np.ndarray:
    """How much each pixel of pictures (n, s, s, 3) uint8 counts as product, (n, s, s) int64; 0: ground.

    opaque (n, s, s): which pixels are not clear; a picture that has clear ones needs no other ground. Where a ground is
    found product pixels count 1; elsewhere all count, the more the nearer they are to the middle lines. Of mirrored
    pictures it is the mirror image.
    """
    side = pictures.shape[1]
    found, plain = _before_ground(pictures)
    if opaque is not None:
        cut_out: np.ndarray = np.logical_not(opaque.all((1, 2)))
        found = np.where(cut_out[:, None, None], opaque, found)
        plain = plain | cut_out
    plain = plain & (found.mean((1, 2)) >= LEAST)
    middle = np.minimum(np.arange(side), np.arange(side)[::-1]) + 1
    return np.where(plain[:, None, None], found, middle[:, None] * middle).astype(np.int64)


def _before_ground(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels (n, s, s) lie before the ground, and which pictures (n,) have a plain one."""
    expected, plain = _expected(pictures)
    apart = np.abs(pictures - expected).max(-1)
    pieces, count = ndimage.label(apart <= ALIKE, PLANE)
    outside = np.zeros(count + 1, bool)
    for rim in (pieces[:, 0], pieces[:, -1], pieces[:, :, 0], pieces[:, :, -1]):
        outside[rim] = True
    outside[0] = False
    product = ~outside[pieces]
    holes = product & (apart <= HOLE)
    shaded = _without_edge(product & ~holes) & (apart <= SHADED)
    hollow = shaded.sum((1, 2)) < HOLLOW * holes.sum((1, 2))
    product &= ~(holes & hollow[:, None, None])
    # Pixels of the edge mix both colours; of what is thin they are nearly all there is.
    inner = _without_edge(product)
    thick = 2 * inner.sum((1, 2)) >= product.sum((1, 2))
    return np.where(thick[:, None, None], inner, product), plain


def _expected(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ground's colour expected at each pixel (n, s, s, 3) float32, and which pictures (n,) have a plain ground.

    It is the median of the four pixels of the border in the pixel's row and column, so that a ground that grows darker
    to one side or to its corners is followed.
    """
    sides = (pictures[:, 0], pictures[:, -1], pictures[:, :, 0], pictures[:, :, -1])
    rims = np.stack(sides, axis=1).astype(np.float32)
    usual = np.median(rims.reshape(len(rims), -1, 3), axis=1)[:, None, None]
    near = np.abs(rims - usual).max(-1) <= REACHED
    window = (1, 1, SMOOTHED, 1)
    smooth = ndimage.median_filter(np.where(near[..., None], rims, usual), window, mode="nearest")
    plain = (near & (np.abs(rims - smooth).max(-1) <= ALIKE)).mean((1, 2)) >= PLAIN
    top, bottom, left, right = np.moveaxis(smooth, 1, 0)
    # The median of four without sorting: the least and the greatest are left out.
    low = np.minimum(top, bottom)[:, None], np.minimum(left, right)[:, :, None]
    high = np.maximum(top, bottom)[:, None], np.maximum(left, right)[:, :, None]
    return (np.maximum(*low) + np.minimum(*high)) / 2, plain


def _without_edge(shapes: np.ndarray) -> np.ndarray:
    """Shapes (n, s, s) without their outermost pixels; the picture's border is no edge."""
    return ndimage.binary_erosion(shapes, AROUND, border_value=1)

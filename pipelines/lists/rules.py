"""The rules of a list: what may be on it, how many of one category or brand, and what fills it when the model is silent."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

WIDTHS = (8, 64)
"""How many times k candidates are looked at before all are."""
CELLS_AT_ONCE = 1 << 21
"""Scores of the rare last look at all items, which takes some 100 bytes for each: so few users at a time."""


@dataclass(frozen=True)
class Rules:
    """k: length of a list. max_per_category, max_per_brand: of one list; 0 is no limit.

    min_price, max_price: of what is listed, in the shop's own unit; 0 is no bound.
    """

    k: int
    max_per_category: int
    max_per_brand: int
    min_price: float = 0.0
    max_price: float = 0.0

    def affordable(self, price: np.ndarray) -> np.ndarray:
        """Which prices (n,) are within the bounds, (n,) booleans; where there is a bound, an unknown price (NaN) is not."""
        found = np.ones(len(price), dtype=bool)
        if self.min_price:
            found &= price >= self.min_price
        if self.max_price:
            found &= price <= self.max_price
        return found


@dataclass(frozen=True)
class Shelf:
    """What holds for every user. n items; items are numbers from 0.

    popular: (n,) all items, the most popular first. category, brand: (n,) number of each item's, -1 for none (which no
    limit counts).
    """

    popular: np.ndarray
    category: np.ndarray
    brand: np.ndarray

    def limits(self, rules: Rules) -> Iterator[tuple[np.ndarray, int]]:
        """The numbers (n,) that a limit counts, and how many of one there may be."""
        for numbers, most in (
            (self.category, rules.max_per_category),
            (self.brand, rules.max_per_brand),
        ):
            if most:
                yield numbers, most


def numbered(names: pd.Series) -> np.ndarray:
    """A number for each name (n,), -1 where there is none."""
    return pd.factorize(names.replace("", None), sort=True)[0]


def choose(
    scores: np.ndarray, allowed: np.ndarray, shelf: Shelf, rules: Rules
) -> tuple[np.ndarray, np.ndarray]:
    """The best `k` allowed items of each user by a ladder of fallbacks.

    scores: (users, n), -inf or NaN where the model says nothing. allowed: (users, n) booleans. Returns items
    (users, k), -1 where fewer than k are allowed, and whether each is the model's choice (users, k).

    The ladder: the model's items within the limits; popular items within them; the model's beyond a limit; popular ones
    beyond one. So a list is short only where fewer than k items are allowed.
    """
    users, n = scores.shape
    items = np.full((users, rules.k), -1, dtype=np.int64)
    ours = np.zeros((users, rules.k), dtype=bool)
    known = allowed & np.isfinite(scores)
    left = np.arange(users)
    looks = [(width * rules.k, fill) for width in WIDTHS for fill in (0, width * rules.k)]
    for depth, filled in [*(look for look in looks if look[0] < n), (n, n)]:
        if not len(left):
            break
        step = max(CELLS_AT_ONCE // n, 1) if depth == n else max(len(left), 1)
        still = []
        for at in range(0, len(left), step):
            rows = left[at : at + step]
            found, by_model, done = _look(
                scores[rows], known[rows], allowed[rows], shelf, rules, depth, filled
            )
            done |= depth == n
            items[rows[done]], ours[rows[done]] = found[done], by_model[done]
            still.append(rows[~done])
        left = np.concatenate(still)
    return items, ours


def _look(
    scores: np.ndarray,
    known: np.ndarray,
    allowed: np.ndarray,
    shelf: Shelf,
    rules: Rules,
    depth: int,
    filled: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One try with the model's best `depth` items and the `filled` most popular; the third value: which rows are final."""
    users, n = scores.shape
    ranked = np.where(known, scores, -np.inf)
    if depth < n:
        best = np.argpartition(-ranked, depth - 1, axis=1)[:, :depth]
        best.sort(axis=1)
    else:
        best = np.broadcast_to(np.arange(n), (users, n))
    order = np.argsort(-np.take_along_axis(ranked, best, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)
    valid = np.take_along_axis(known, best, axis=1)
    model_width = best.shape[1]
    if filled:
        popular = np.broadcast_to(shelf.popular[:filled], (users, min(filled, n)))
        taken = np.zeros((users, n), dtype=bool)
        np.put_along_axis(taken, best, valid, axis=1)
        fresh = np.take_along_axis(allowed & ~taken, popular, axis=1)
        best = np.concatenate([best, popular], axis=1)
        valid = np.concatenate([valid, fresh], axis=1)
    within = _within(best, valid, shelf, rules)
    level = np.where(within, 0, np.where(valid, 1, 2))
    first = np.argsort(level, axis=1, kind="stable")[:, : rules.k]
    found = np.take_along_axis(best, first, axis=1)
    good = np.take_along_axis(valid, first, axis=1)
    exhausted = known.sum(axis=1) <= depth
    final = (within[:, :model_width].sum(axis=1) >= rules.k) | (
        exhausted & bool(filled) & (within.sum(axis=1) >= rules.k)
    )
    if found.shape[1] < rules.k:
        pad = ((0, 0), (0, rules.k - found.shape[1]))
        found, good, first = (np.pad(array, pad) for array in (found, good, first))
    return np.where(good, found, -1), good & (first < model_width), final


def _within(best: np.ndarray, valid: np.ndarray, shelf: Shelf, rules: Rules) -> np.ndarray:
    """Which valid entries are within every limit, where what is beyond one counts for none, (users, m).

    best: (users, m) items in the order in which they are taken. An entry depends on those before it alone, so that each
    turn settles at least one more, and mostly all.
    """
    limits = [(numbers[best], most) for numbers, most in shelf.limits(rules)]
    found = valid
    while True:
        then = valid
        for numbers, most in limits:
            then = then & (_turn(numbers, found) < most)
        if len(limits) < 2 or np.array_equal(then, found):
            return then
        found = then


def _turn(numbers: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """How many counted entries of the same row and number stand before each entry; 0 for number -1. (users, m)."""
    users, m = numbers.shape
    order = np.argsort(numbers, axis=1, kind="stable")
    in_order = np.take_along_axis(numbers, order, axis=1)
    starts = np.ones((users, m), dtype=bool)
    starts[:, 1:] = in_order[:, 1:] != in_order[:, :-1]
    one = np.take_along_axis(counted, order, axis=1).astype(np.int64)
    before = np.cumsum(one, axis=1) - one
    turn = np.empty((users, m), dtype=np.int64)
    count = before - np.maximum.accumulate(np.where(starts, before, 0), axis=1)
    np.put_along_axis(turn, order, count, axis=1)
    return np.where(numbers >= 0, turn, 0)

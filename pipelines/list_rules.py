"""The rules of a list: what may be on it, how many of one category, and what fills it when the model is silent."""

from dataclasses import dataclass

import numpy as np

WIDTHS = (8, 64)
"""How many times k candidates are looked at before all are."""
ROWS_AT_ONCE = 32
"""Rows of the rare last look at all items, so that its memory stays small."""


@dataclass(frozen=True)
class Rules:
    """k: length of a list. max_per_category: of one list; 0 is no limit."""

    k: int
    max_per_category: int


@dataclass(frozen=True)
class Shelf:
    """What holds for every user. n items; items are numbers from 0.

    popular: (n,) all items, the most popular first. category: (n,) number of each item's category, -1 for none
    (which no limit counts).
    """

    popular: np.ndarray
    category: np.ndarray


def choose(
    scores: np.ndarray, allowed: np.ndarray, shelf: Shelf, rules: Rules
) -> tuple[np.ndarray, np.ndarray]:
    """The best `k` allowed items of each user by a ladder of fallbacks.

    scores: (users, n), -inf or NaN where the model says nothing. allowed: (users, n) booleans. Returns items
    (users, k), -1 where fewer than k are allowed, and whether each is the model's choice (users, k).

    The ladder: the model's items within the limit of a category; popular items within it; the model's beyond the
    limit; popular ones beyond it. So a list is short only where fewer than k items are allowed.
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
        step = ROWS_AT_ONCE if depth == n else max(len(left), 1)
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
    within = valid & (_turn(shelf.category[best], valid) < (rules.max_per_category or n + 1))
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


def _turn(category: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """How many valid entries of the same row and category stand before each entry; 0 for category -1. (users, m)."""
    users, m = category.shape
    key = np.where(valid & (category >= 0), category, -1)
    order = np.argsort(key, axis=1, kind="stable")
    in_order = np.take_along_axis(key, order, axis=1)
    starts = np.ones((users, m), dtype=bool)
    starts[:, 1:] = in_order[:, 1:] != in_order[:, :-1]
    place = np.broadcast_to(np.arange(m), (users, m))
    count = place - np.maximum.accumulate(np.where(starts, place, 0), axis=1)
    turn = np.empty((users, m), dtype=np.int64)
    np.put_along_axis(turn, order, count, axis=1)
    return np.where(key >= 0, turn, 0)

"""What the ranker of `auto` sees of a pair of user and item: the members' opinions, what the user did with the item, and
how the item, the user and the item's attributes do at the moment."""

from dataclasses import dataclass

import numpy as np

from models.recommenders.catalogue import Catalogue
from models.recommenders.events import HALF_LIVES, Events, Histories

NEVER = 1e4
"""Days, for what never happened."""
WHOLE = -1
"""No entry: the history as it is."""
GAP_PRIOR = 3.0
"""Gaps of the whole shop that are added to each item's own."""


@dataclass(frozen=True)
class Shop:
    """How items do as of a moment. Arrays (items,) or (items, m), float32."""

    figures: np.ndarray
    repeat: np.ndarray
    gap: np.ndarray
    price: np.ndarray
    values: np.ndarray

    @classmethod
    def at(cls, events: Events, catalogue: Catalogue) -> "Shop":
        """As of `events.now`. figures: logs of decayed counts, trend, days since first and last sale, buyers, repeats.

        values: for each column of values, logs of the value's sales and of its sales an item, and the
        share of its items that were sold.
        """
        n = len(events.items)
        pairs = events.histories
        decayed = np.stack([events.popularity(half) for half in HALF_LIVES], axis=1)
        logs = np.log1p(decayed)
        age = events.now - events.day
        first, last = np.full(n, -1.0), np.full(n, NEVER)
        np.maximum.at(first, events.item, age)
        np.minimum.at(last, events.item, age)
        first[first < 0] = NEVER
        buyers = np.bincount(pairs.item, minlength=n).astype(float)
        again = np.bincount(pairs.item, pairs.count > 1, minlength=n)
        usual = again.sum() / max(buyers.sum(), 1.0)
        repeat = (again + usual * 5.0) / (buyers + 5.0)
        gaps = np.bincount(
            pairs.item, np.where(pairs.count > 1, pairs.first - pairs.recency, 0.0), n
        )
        number = np.bincount(pairs.item, pairs.count - 1.0, n)
        mean = gaps.sum() / max(number.sum(), 1.0)
        gap = (gaps + GAP_PRIOR * mean) / np.maximum(number + GAP_PRIOR, 1e-9)
        figures = np.column_stack(
            [
                logs,
                logs[:, 0] - logs[:, 2],
                logs[:, 1] - logs[:, 3],
                np.log1p(np.maximum(first, 0.0)),
                np.log1p(np.maximum(last, 0.0)),
                np.log1p(buyers),
                repeat,
                np.log1p(gap),
            ]
        )
        values = []
        for column in range(catalogue.codes.shape[1]):
            code = catalogue.codes[:, column]
            size = catalogue.sizes[column] + 1
            sales = np.bincount(code + 1, decayed[:, 1], size)
            held = np.maximum(np.bincount(code + 1, minlength=size), 1)
            sold = np.bincount(code + 1, buyers > 0, size)
            fresh = np.bincount(code + 1, (first < 28.0), size)
            values += [
                np.log1p(sales)[code + 1],
                np.log1p(sales / held)[code + 1],
                ((sold + 1.0) / (held + 2.0))[code + 1],
                ((fresh + 0.1) / (held + 2.0))[code + 1],
            ]
        price = catalogue.numbers[:, 0] if catalogue.numbers.shape[1] else np.full(n, np.nan)
        return cls(
            figures=figures.astype(np.float32),
            repeat=repeat.astype(np.float32),
            gap=gap.astype(np.float32),
            price=price.astype(np.float32),
            values=np.stack(values, axis=1).astype(np.float32)
            if values
            else np.zeros((n, 0), np.float32),
        )


def pairs(
    histories: Histories,
    shop: Shop,
    catalogue: Catalogue,
    row: np.ndarray,
    item: np.ndarray,
    without: np.ndarray | None = None,
) -> np.ndarray:
    """Features (R, f) float32 of the pairs of user `row` (positions in `histories`) and `item`, both (R,).

    without: (R,) the entry of the user's history that each is told as if it were not there, or `WHOLE`.
    """
    gone = np.full(len(row), WHOLE) if without is None else without
    found = [
        _own(histories, shop, row, item, gone),
        shop.figures[item],
        _user(histories, row, gone),
    ]
    if shop.values.shape[1]:
        found += [shop.values[item], _affinity(histories, shop, catalogue, row, item, gone)]
    return np.concatenate(found, axis=1).astype(np.float32)


def _own(
    histories: Histories, shop: Shop, row: np.ndarray, item: np.ndarray, gone: np.ndarray
) -> np.ndarray:
    """What the user did with the item: nothing is NaN, so that trees may tell it from little."""
    keys = histories.owner.astype(np.int64) * histories.items + histories.item
    asked = row.astype(np.int64) * histories.items + item
    # Entries of a user lie in the order of their items.
    at = np.minimum(np.searchsorted(keys, asked), max(len(keys) - 1, 0))
    made = np.full((len(row), len(HALF_LIVES) + 7), np.nan, dtype=np.float32)
    if not len(keys):
        return made
    has = (keys[at] == asked) & (at != gone)
    entry = at[has]
    count, recency = histories.count[entry], histories.recency[entry]
    gap = np.where(count > 1, (histories.first[entry] - recency) / np.maximum(count - 1, 1), np.nan)
    mixed = (np.nan_to_num(gap) * (count - 1) + shop.gap[item[has]]) / count
    made[has] = np.column_stack(
        [
            np.log1p(histories.decayed[entry]),
            np.log1p(count),
            np.log1p(recency),
            np.log1p(histories.place[entry]),
            np.log1p(histories.first[entry]),
            np.log1p(gap),
            np.log((recency + 1.0) / (mixed + 1.0)),
            count / np.maximum(np.diff(histories.indptr)[row[has]] - (gone[has] != WHOLE), 1),
        ]
    )
    return made


def _user(histories: Histories, row: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """Figures of each user, (R, 6): events, distinct items, share of repeats, recency, lately, span."""
    users, owner = len(histories), histories.owner
    distinct = _rest(np.bincount(owner, minlength=users), np.ones(len(owner)), row, gone)
    events = _rest(np.bincount(owner, histories.count, users), histories.count, row, gone)
    late = histories.decayed[:, 1]
    lately = _rest(np.bincount(owner, late, users), late, row, gone)
    recency = np.minimum(_least(histories, histories.recency, row, gone), NEVER)
    first = np.maximum(-_least(histories, -histories.first, row, gone), 0.0)
    return np.column_stack(
        [
            np.log1p(events),
            np.log1p(distinct),
            1.0 - distinct / np.maximum(events, 1.0),
            np.log1p(recency),
            np.log1p(np.maximum(lately, 0.0)),
            np.log1p(first),
        ]
    ).astype(np.float32)


def _rest(total: np.ndarray, part: np.ndarray, row: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """Sums (users,) at `row` (R,), less the `part` (P,) of the entries that are gone, (R,)."""
    found = total[row].astype(np.float64)
    left = gone != WHOLE
    found[left] -= part[gone[left]]
    return found


def _least(
    histories: Histories, values: np.ndarray, row: np.ndarray, gone: np.ndarray
) -> np.ndarray:
    """The least of each user's `values` (P,) but for the entry that is gone, (R,); inf where there is none."""
    order = np.lexsort((values, histories.owner))
    start, size = histories.indptr[row], np.diff(histories.indptr)[row]
    # Behind the last entry of all stands one that no user has.
    order = np.append(order, -1)
    told = np.append(values, np.inf).astype(np.float64)
    lowest = np.where(size > 0, order[np.minimum(start, len(order) - 1)], -1)
    second = np.where(size > 1, order[np.minimum(start + 1, len(order) - 1)], -1)
    return told[np.where((gone != WHOLE) & (lowest == gone), second, lowest)]


def _affinity(
    histories: Histories,
    shop: Shop,
    catalogue: Catalogue,
    row: np.ndarray,
    item: np.ndarray,
    gone: np.ndarray,
) -> np.ndarray:
    """Share of the user's decayed history that has the item's value, by column; the price against the user's usual."""
    owner, users = histories.owner, len(histories)
    weight = np.log1p(histories.decayed[:, 2].astype(np.float64)) + 1e-6
    total = np.maximum(_rest(np.bincount(owner, weight, users), weight, row, gone), 1e-9)
    left = np.flatnonzero(gone != WHOLE)
    found = []
    for column in range(catalogue.codes.shape[1]):
        size = catalogue.sizes[column] + 1
        held, code = catalogue.codes[histories.item, column], catalogue.codes[item, column]
        names, place = np.unique(owner.astype(np.int64) * size + held + 1, return_inverse=True)
        asked = row.astype(np.int64) * size + code + 1
        mass = np.zeros(len(row))
        if len(names):
            at = np.minimum(np.searchsorted(names, asked), len(names) - 1)
            there = (names[at] == asked) & (code >= 0)
            mass[there] = np.bincount(place, weight, len(names))[at[there]]
            lost = left[(held[gone[left]] == code[left]) & there[left]]
            mass[lost] = np.maximum(mass[lost] - weight[gone[lost]], 0.0)
        found.append(mass / total)
    price = shop.price[histories.item].astype(np.float64)
    known = np.isfinite(price) & (price > 0)
    logs = np.log(np.where(known, price, 1.0))
    number = _rest(np.bincount(owner, known, users), known, row, gone)
    usual = _rest(np.bincount(owner, logs, users), logs, row, gone) / np.maximum(number, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found.append(np.log(shop.price[item]) - np.where(number > 0, usual, 0.0))
    return np.nan_to_num(np.stack(found, axis=1), nan=np.nan, posinf=np.nan, neginf=np.nan)

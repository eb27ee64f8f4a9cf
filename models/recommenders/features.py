"""What the ranker of `auto` sees of a pair of user and item: the members' opinions, what the user did with the item, and
how the item, the user and the item's attributes do at the moment."""

from dataclasses import dataclass

import numpy as np

from models.recommenders.catalogue import Catalogue
from models.recommenders.events import HALF_LIVES, Events, Histories

NEVER = 1e4
"""Days, for what never happened."""
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
    histories: Histories, shop: Shop, catalogue: Catalogue, row: np.ndarray, item: np.ndarray
) -> np.ndarray:
    """Features (R, f) float32 of the pairs of user `row` (positions in `histories`) and `item`, both (R,)."""
    found = [_own(histories, shop, row, item), shop.figures[item], _user(histories)[row]]
    if shop.values.shape[1]:
        found += [shop.values[item], _affinity(histories, shop, catalogue, row, item)]
    return np.concatenate(found, axis=1).astype(np.float32)


def _own(histories: Histories, shop: Shop, row: np.ndarray, item: np.ndarray) -> np.ndarray:
    """What the user did with the item: nothing is NaN, so that trees may tell it from little."""
    keys = histories.owner.astype(np.int64) * histories.items + histories.item
    asked = row.astype(np.int64) * histories.items + item
    # Entries of a user lie in the order of their items.
    at = np.minimum(np.searchsorted(keys, asked), max(len(keys) - 1, 0))
    made = np.full((len(row), len(HALF_LIVES) + 7), np.nan, dtype=np.float32)
    if not len(keys):
        return made
    has = keys[at] == asked
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
            count / np.maximum(np.diff(histories.indptr)[row[has]], 1),
        ]
    )
    return made


def _user(histories: Histories) -> np.ndarray:
    """Figures of each user, (users, 6): events, distinct items, share of repeats, recency, lately, span."""
    users = len(histories)
    owner = histories.owner
    events = np.bincount(owner, histories.count, users)
    distinct = np.bincount(owner, minlength=users)
    lately = np.bincount(owner, histories.decayed[:, 1], users)
    recency, first = np.full(users, NEVER), np.zeros(users)
    np.minimum.at(recency, owner, histories.recency)
    np.maximum.at(first, owner, histories.first)
    return np.column_stack(
        [
            np.log1p(events),
            np.log1p(distinct),
            1.0 - distinct / np.maximum(events, 1.0),
            np.log1p(recency),
            np.log1p(lately),
            np.log1p(first),
        ]
    ).astype(np.float32)


def _affinity(
    histories: Histories, shop: Shop, catalogue: Catalogue, row: np.ndarray, item: np.ndarray
) -> np.ndarray:
    """Share of the user's decayed history that has the item's value, by column; the price against the user's usual."""
    owner, users = histories.owner, len(histories)
    weight = np.log1p(histories.decayed[:, 2].astype(np.float64)) + 1e-6
    total = np.maximum(np.bincount(owner, weight, users), 1e-9)
    found = []
    for column in range(catalogue.codes.shape[1]):
        size = catalogue.sizes[column] + 1
        key = owner.astype(np.int64) * size + catalogue.codes[histories.item, column] + 1
        names, place = np.unique(key, return_inverse=True)
        mass = np.bincount(place, weight, len(names))
        code = catalogue.codes[item, column]
        asked = row.astype(np.int64) * size + code + 1
        at = np.minimum(np.searchsorted(names, asked), max(len(names) - 1, 0))
        if len(names):
            share = np.where((names[at] == asked) & (code >= 0), mass[at] / total[row], 0.0)
        else:
            share = np.zeros(len(row))
        found += [share]
    known = np.isfinite(shop.price[histories.item]) & (shop.price[histories.item] > 0)
    logs = np.log(np.where(known, shop.price[histories.item], 1.0))
    usual = np.bincount(owner, logs * known, users) / np.maximum(
        np.bincount(owner, known, users), 1
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        found.append(np.log(shop.price[item]) - usual[row])
    return np.nan_to_num(np.stack(found, axis=1), nan=np.nan, posinf=np.nan, neginf=np.nan)

"""Readable figures of what users did and what was done with items, from sums of events (`pipelines.history.sums`).

They are one row a user or an item:

events, orders: counts. last: when the last event was; recency_days: since then, against the newest of all.
repeat_share: events that were not the first of their user and item. repeat_days: mean days between them. price: mean paid.
price_level: what was paid over the `typical` prices of the categories. category, brand: the most frequent, with its share of
the events (loyalty), and the most frequent ones (favourites).

`rows` makes what hangs on the own events of a user or an item, and on the typical prices of categories, which few days
change. `finished` adds what every day changes in all rows, each from its own cells and one number or a small table. So rows
of an earlier day serve as long as nobody touched them (`pipelines.history.change`).
"""

import ibis

from pipelines.history.sums import (
    EVENTS,
    FIRST,
    LAST,
    PAID,
    PAID_BEYOND,
    PRICED,
    Sums,
    mean,
    number,
    told,
    total,
)
from pipelines.tables import Interactions, Products

FAVOURITES = 3
"""Values of an attribute that are named of a user's or an item's."""
ATTRIBUTES = (Products.CATEGORY, Products.BRAND)
PRICE, LEVEL, TYPICAL = "price", "price_level", "typical"
DAY = 86_400.0
PLACES = 4
"""Figures are rounded to so many."""
POWERS = range(-4, 13)
"""Powers of ten of the first digit of typical prices: what four places and `GREATEST` leave."""


def rows(sums: Sums, products: ibis.Table | None, usual: ibis.Table | None, key: str) -> ibis.Table:
    """One row a `key` (user or item) with the figures of its own events.

    sums: each pair once, an order several times or once. products: None where the shop has none. usual: the `typical` prices
    of categories, which users are held against; None for items, and where there are none.
    """
    pairs, orders = sums.pairs, sums.orders
    if products is not None and usual is not None:
        pairs = _with_usual(pairs, products, usual)
    first, last = (pairs[name].epoch_seconds().cast("float64") for name in (FIRST, LAST))
    # What lies between repeated events of a pair adds up to what lies between its first and its last.
    days, days_beyond = told((last - first) / DAY)
    counts = {
        EVENTS: total(pairs[EVENTS]),
        LAST: pairs[LAST].max(),
        "days": total(days),
        "days_beyond": total(days_beyond),
        "pairs": pairs.count(),
    }
    if PRICED in pairs.columns:
        counts |= {name: total(pairs[name]) for name in (PRICED, PAID, PAID_BEYOND)}
    if TYPICAL in pairs.columns:
        whole, beyond = (pairs[PRICED] * part for part in told(pairs[TYPICAL]))
        compared = {"held": pairs[PAID], "held_beyond": pairs[PAID_BEYOND]}
        compared |= {"usual": whole, "usual_beyond": beyond}
        there = pairs[TYPICAL].notnull()
        counts |= {name: total(ibis.ifelse(there, cell, 0)) for name, cell in compared.items()}
    found = pairs.group_by(key).aggregate(**counts)
    if orders is not None:
        counted = orders.group_by(key).aggregate(orders=orders[Interactions.ORDER].nunique())
        found = found.left_join(counted, key).drop(f"{key}_right")
    again = found[EVENTS] - found.pairs
    said = {
        EVENTS: found[EVENTS],
        LAST: found[LAST],
        "repeat_share": _placed(again / found[EVENTS]),
        "repeat_days": _placed(mean(found.days, found.days_beyond, again)),
    }
    if orders is not None:
        said["orders"] = found.orders.fill_null(0)
    if PRICED in pairs.columns:
        said[PRICE] = _placed(mean(found[PAID], found[PAID_BEYOND], found[PRICED]))
    if TYPICAL in pairs.columns:
        against = number(found.usual, found.usual_beyond).nullif(0)
        said[LEVEL] = _placed(number(found.held, found.held_beyond) / against)
    found = found.select(key, **said)
    for name in ATTRIBUTES:
        if products is not None and name in products.columns:
            if key == Products.ITEM:
                best = _own(products, name)
            else:
                best = _favourites(sums.pairs, products, key, name)
            found = found.left_join(best, key).drop(f"{key}_right")
    return found


def typical(items: ibis.Table) -> ibis.Table | None:
    """What a product of each category typically costs: the mean of `price` over its items, to two digits.

    So a day's sales seldom change it, and where they do all figures follow. items: `rows` of them. None where no price or
    no category is known; a category of which nothing was paid has no row.
    """
    if not {PRICE, Products.CATEGORY} <= set(items.columns):
        return None
    known = items.filter(items[PRICE].notnull(), items[Products.CATEGORY].notnull())
    whole, beyond = told(known[PRICE])
    sums = {"n": known.count(), "whole": total(whole), "beyond": total(beyond)}
    found = known.group_by(Products.CATEGORY).aggregate(**sums)
    found = found.select(Products.CATEGORY, mean=mean(found.whole, found.beyond, found.n))
    places = [(found.mean < 10.0 ** (at + 1), _placed(found.mean, at - 1)) for at in POWERS]
    said = found.mutate(**{TYPICAL: ibis.cases(*places, else_=found.mean)})
    return said.filter(said[TYPICAL] > 0).select(Products.CATEGORY, TYPICAL)


def finished(made: ibis.Table, usual: ibis.Table | None, key: str) -> ibis.Table:
    """`rows` of all keys with what hangs on the newest event of all, and of items on what is typical; sorted."""
    columns = [name for name in made.columns if name not in (EVENTS, LAST)]
    at = made[LAST].epoch_seconds().cast("float64")
    found = made.mutate(recency_days=_placed((at.max().over(ibis.window()) - at) / DAY))
    if usual is not None and key == Interactions.ITEM:
        found = found.left_join(usual, Products.CATEGORY).drop(f"{Products.CATEGORY}_right")
        found = found.mutate(**{LEVEL: _placed(found[PRICE] / found[TYPICAL])})
        columns.insert(columns.index(PRICE) + 1, LEVEL)
    return found.select([key, EVENTS, LAST, "recency_days", *columns[1:]]).order_by(key)


def _placed(number: ibis.Value, power: int = -PLACES) -> ibis.Value:
    """A number to a multiple of a power of ten, halves away from zero.

    Not by the engines' own rounding to places: for halves these disagree on whether the number or its decimal form counts.
    """
    scale = 10.0 ** abs(power)
    if power < 0:
        return (number * scale).round().cast("float64") / scale
    return (number / scale).round().cast("float64") * scale


def _with_usual(pairs: ibis.Table, products: ibis.Table, usual: ibis.Table) -> ibis.Table:
    """The pairs with the column `typical`, of the item's category; null where none is known."""
    items = products.select(Products.ITEM, Products.CATEGORY).inner_join(usual, Products.CATEGORY)
    items = items.select(Products.ITEM, TYPICAL)
    return pairs.left_join(items, Interactions.ITEM).drop(f"{Interactions.ITEM}_right")


def _own(products: ibis.Table, name: str) -> ibis.Table:
    """What `_favourites` would tell of items, which have one value each."""
    known = products.filter(products[name].notnull())
    alone = {
        f"{name}_loyalty": ibis.literal(1).cast("float64"),
        f"{name}_favourites": ibis.array([known[name]]),
    }
    return known.select(Products.ITEM, name, **alone)


def _favourites(pairs: ibis.Table, products: ibis.Table, key: str, name: str) -> ibis.Table:
    """One row a key with an event of a product of which the column `name` is filled."""
    known = products.filter(products[name].notnull()).select(Products.ITEM, name)
    joined = pairs.inner_join(known, Products.ITEM)
    counts = joined.group_by([key, name]).aggregate(n=total(joined[EVENTS]))
    whole = counts.n.sum().over(ibis.window(group_by=key))
    place = ibis.row_number().over(
        ibis.window(group_by=key, order_by=[ibis.desc(counts.n), counts[name]])
    )
    best = counts.mutate(place=place, share=_placed(counts.n / whole))
    best = best.filter(best.place < FAVOURITES)
    places = [best[name].max(where=best.place == at) for at in range(FAVOURITES)]
    favourites = {f"_{at}": place for at, place in enumerate(places)}
    best = best.group_by(key).aggregate(
        **{name: places[0], f"{name}_loyalty": best.share.max(), **favourites}
    )
    listed = ibis.array([best[at] for at in favourites]).filter(lambda cell: cell.notnull())
    return best.mutate(**{f"{name}_favourites": listed}).drop(*favourites)

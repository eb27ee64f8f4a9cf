"""Readable figures of what users did and what was done with items, from sums that can be put together.

`pairs` and `orders` sum up events. What they give of the parts of a table is `merged` into what they give of the whole,
so that a part that stays is read once. All sums are of whole numbers: neither the order of the rows nor where the parts
begin changes a digit. For that a number with a fraction is told by its whole part and the billionths beyond it.
"""

import ibis

from pipelines.tables import Interactions, Products

FAVOURITES = 3
"""Values of an attribute that are named of a user's or an item's."""
BILLION = 1e9
GREATEST = 1e12
"""A price above counts as this: so the sum of nine million of them is a whole number of 64 bits."""
EVENTS, FIRST, LAST = "events", "first", "last"
PRICED, PAID, PAID_BEYOND = "priced", "paid", "paid_beyond"
"""Columns of `pairs`: events, the times of the first and the last; how many had a price, and the sum of these."""


def pairs(events: ibis.Table, *by: str) -> ibis.Table:
    """One row a user and item (and what they are told apart `by` besides) with the sums of their events."""
    sums = {
        EVENTS: events.count(),
        FIRST: events[Interactions.TIME].min(),
        LAST: events[Interactions.TIME].max(),
    }
    if Interactions.PRICE in events.columns:
        price = events[Interactions.PRICE]
        price = ibis.ifelse(price > GREATEST, GREATEST, price)
        whole, beyond = _told(price)
        sums |= {PRICED: price.count(), PAID: _sum(whole), PAID_BEYOND: _sum(beyond)}
        sums |= {name: sums[name].fill_null(0) for name in (PAID, PAID_BEYOND)}
    return events.group_by([*by, Interactions.USER, Interactions.ITEM]).aggregate(**sums)


def orders(events: ibis.Table, *by: str) -> ibis.Table:
    """Who ordered what in which order: each once."""
    names = [*by, Interactions.USER, Interactions.ITEM, Interactions.ORDER]
    return events.filter(events[Interactions.ORDER].notnull()).select(names).distinct()


def merged(parts: ibis.Table) -> ibis.Table:
    """`pairs` of several parts' rows as those of the whole."""
    sums = {
        name: _sum(parts[name])
        for name in (EVENTS, PRICED, PAID, PAID_BEYOND)
        if name in parts.columns
    }
    ends = {FIRST: parts[FIRST].min(), LAST: parts[LAST].max()}
    return parts.group_by([Interactions.USER, Interactions.ITEM]).aggregate(**sums, **ends)


def figures(
    pairs: ibis.Table, orders: ibis.Table | None, products: ibis.Table | None, key: str
) -> ibis.Table:
    """One row a `key` (user or item) with readable figures of what was done, sorted.

    events, orders: counts. recency_days: since the last event, against the newest of all. price: mean paid.
    repeat_share: events that were not the first of their user and item. repeat_days: mean days between them.
    price_level: that mean over the mean paid by all for the same items. category, brand: the most frequent, with its share of
    the events (loyalty), and the most frequent ones (favourites).
    orders, products: None where the shop does not tell them. A row of `orders` may come several times.
    """
    priced = PRICED in pairs.columns
    valued = _with_usual(pairs) if priced else pairs
    first, last = (valued[name].epoch_seconds().cast("float64") for name in (FIRST, LAST))
    # What lies between repeated events of a pair adds up to what lies between its first and its last.
    days, days_beyond = _told((last - first) / 86_400.0)
    sums = {
        EVENTS: _sum(valued[EVENTS]),
        "days": _sum(days),
        "days_beyond": _sum(days_beyond),
        "pairs": valued.count(),
        "at": last.max(),
    }
    if priced:
        usual, usual_beyond = _told(valued.usual)
        compared = ibis.ifelse(valued.usual.notnull(), valued[EVENTS], 0)
        sums |= {name: _sum(valued[name]) for name in (PRICED, PAID, PAID_BEYOND)}
        sums |= {
            "compared": _sum(compared),
            "usual": _sum(compared * usual),
            "usual_beyond": _sum(compared * usual_beyond),
        }
    found = valued.group_by(key).aggregate(**sums)
    if orders is not None:
        counted = orders.group_by(key).aggregate(orders=orders[Interactions.ORDER].nunique())
        found = found.left_join(counted, key).drop(f"{key}_right")
    newest = found["at"].max().over(ibis.window())
    again = found[EVENTS] - found.pairs
    told = {
        EVENTS: found[EVENTS],
        "recency_days": ((newest - found["at"]) / 86_400.0).round(4),
        "repeat_share": (again / found[EVENTS]).round(4),
        "repeat_days": _mean(found.days, found.days_beyond, again).round(4),
    }
    if orders is not None:
        told["orders"] = found.orders.fill_null(0)
    if priced:
        price = _mean(found[PAID], found[PAID_BEYOND], found[PRICED])
        usual = _mean(found.usual, found.usual_beyond, found.compared)
        told |= {"price": price.round(4), "price_level": (price / usual).round(4)}
    found = found.select(key, **told)
    for name in (Products.CATEGORY, Products.BRAND):
        if products is not None and name in products.columns:
            if key == Products.ITEM:
                best = _own(products, name)
            else:
                best = _favourites(pairs, products, key, name)
            found = found.left_join(best, key).drop(f"{key}_right")
    return found.order_by(key)


def _sum(numbers: ibis.Value) -> ibis.Value:
    """The sum of whole numbers as one of 64 bits, which DuckDB makes wider; raised where it is none."""
    # Ibis takes the sum for one of 64 bits already, so that it would leave out the cast alone.
    return numbers.sum().cast("decimal(38, 0)").cast("int64")


def _told(number: ibis.Value) -> tuple[ibis.Value, ibis.Value]:
    """A number by the whole number below it and the billionths from there, both of 64 bits."""
    whole = number.floor()
    beyond = (number - whole.cast("float64")) * BILLION
    return whole.cast("int64"), beyond.round().cast("int64")


def _mean(whole: ibis.Value, beyond: ibis.Value, count: ibis.Value) -> ibis.Value:
    """The mean of `count` numbers, of which the sums of what `_told` told are given; null of none."""
    return (whole + beyond / BILLION) / count.nullif(0)


def _with_usual(pairs: ibis.Table) -> ibis.Table:
    """The pairs with the column `usual`: the mean that all paid for the item; null where nobody paid."""
    items = pairs.group_by(Interactions.ITEM).aggregate(
        **{name: _sum(pairs[name]) for name in (PRICED, PAID, PAID_BEYOND)}
    )
    usual = items.select(
        Interactions.ITEM, usual=_mean(items[PAID], items[PAID_BEYOND], items[PRICED])
    )
    return pairs.left_join(usual, Interactions.ITEM).drop(f"{Interactions.ITEM}_right")


def _own(products: ibis.Table, name: str) -> ibis.Table:
    """What `_favourites` would tell of items, which have one value each."""
    known = products.filter(products[name].notnull())
    told = {
        f"{name}_loyalty": ibis.literal(1).cast("float64"),
        f"{name}_favourites": ibis.array([known[name]]),
    }
    return known.select(Products.ITEM, name, **told)


def _favourites(pairs: ibis.Table, products: ibis.Table, key: str, name: str) -> ibis.Table:
    """One row a key with an event of a product of which the column `name` is filled."""
    known = products.filter(products[name].notnull()).select(Products.ITEM, name)
    joined = pairs.inner_join(known, Products.ITEM)
    counts = joined.group_by([key, name]).aggregate(n=_sum(joined[EVENTS]))
    total = counts.n.sum().over(ibis.window(group_by=key))
    place = ibis.row_number().over(
        ibis.window(group_by=key, order_by=[ibis.desc(counts.n), counts[name]])
    )
    best = counts.mutate(place=place, share=(counts.n / total).round(4))
    best = best.filter(best.place < FAVOURITES)
    places = [best[name].max(where=best.place == at) for at in range(FAVOURITES)]
    favourites = {f"_{at}": place for at, place in enumerate(places)}
    best = best.group_by(key).aggregate(
        **{name: places[0], f"{name}_loyalty": best.share.max(), **favourites}
    )
    listed = ibis.array([best[at] for at in favourites]).filter(lambda cell: cell.notnull())
    return best.mutate(**{f"{name}_favourites": listed}).drop(*favourites)

"""Sums of events that can be put together, so that a part of the table that stays is read once.

What `pairs` and `orders` give of the parts of a table is `merged` into what they give of the whole. All sums are of whole
numbers: neither the order of the rows nor where the parts begin changes a digit. For that a number with a fraction is
told by its whole part and the billionths beyond it.
"""

from dataclasses import dataclass

import ibis

from pipelines.tables import Interactions

BILLION = 1e9
GREATEST = 1e12
"""A price above counts as this: so the sum of nine million of them is a whole number of 64 bits."""
EVENTS, FIRST, LAST = "events", "first", "last"
PRICED, PAID, PAID_BEYOND = "priced", "paid", "paid_beyond"
"""Columns of `pairs`: events, the times of the first and the last; how many had a price, and the sum of these."""


@dataclass(frozen=True)
class Sums:
    """Rows of `pairs` and of `orders` (None where the shop does not tell them); a pair or an order may have several."""

    pairs: ibis.Table
    orders: ibis.Table | None

    def of(self, keys: ibis.Table) -> "Sums":
        """Those of the users, or the items, that `keys` has in its one column."""
        (key,) = keys.columns
        tables = (self.pairs, self.orders)
        return Sums(*(table if table is None else table.semi_join(keys, key) for table in tables))

    def none(self) -> "Sums":
        """The same columns without a row."""
        tables = (self.pairs, self.orders)
        return Sums(*(table if table is None else table.filter(False) for table in tables))


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
        whole, beyond = told(price)
        sums |= {PRICED: price.count(), PAID: total(whole), PAID_BEYOND: total(beyond)}
        sums |= {name: sums[name].fill_null(0) for name in (PAID, PAID_BEYOND)}
    return events.group_by([*by, Interactions.USER, Interactions.ITEM]).aggregate(**sums)


def orders(events: ibis.Table, *by: str) -> ibis.Table:
    """Who ordered what in which order: each once."""
    names = [*by, Interactions.USER, Interactions.ITEM, Interactions.ORDER]
    return events.filter(events[Interactions.ORDER].notnull()).select(names).distinct()


def merged(parts: ibis.Table) -> ibis.Table:
    """`pairs` of several parts' rows as those of the whole."""
    sums = {
        name: total(parts[name])
        for name in (EVENTS, PRICED, PAID, PAID_BEYOND)
        if name in parts.columns
    }
    ends = {FIRST: parts[FIRST].min(), LAST: parts[LAST].max()}
    return parts.group_by([Interactions.USER, Interactions.ITEM]).aggregate(**sums, **ends)


def total(numbers: ibis.Value) -> ibis.Value:
    """The sum of whole numbers as one of 64 bits, which DuckDB makes wider; raised where it is none."""
    # Ibis takes the sum for one of 64 bits already, so that it would leave out the cast alone.
    return numbers.sum().cast("decimal(38, 0)").cast("int64")


def told(number: ibis.Value) -> tuple[ibis.Value, ibis.Value]:
    """A number by the whole number below it and the billionths from there, both of 64 bits."""
    whole = number.floor()
    beyond = (number - whole.cast("float64")) * BILLION
    return whole.cast("int64"), beyond.round().cast("int64")


def number(whole: ibis.Value, beyond: ibis.Value) -> ibis.Value:
    """The number of which `told`, or the sums of what it told, are given."""
    return whole + beyond / BILLION


def mean(whole: ibis.Value, beyond: ibis.Value, count: ibis.Value) -> ibis.Value:
    """The mean of `count` numbers, of which the sums of what `told` told are given; null of none."""
    return number(whole, beyond) / count.nullif(0)

"""What is no interaction though it stands among events: repeated lines, refunds, programs that click."""

import ibis
from ibis import _

from pipelines.engine import PART
from pipelines.tables import Interactions

SALE = (Interactions.USER, Interactions.ITEM, Interactions.ORDER)
"""What a purchase and its refund have in common."""


def gather(events: ibis.Table) -> ibis.Table:
    """Events that are equal but for their quantity, as one: of purchases the quantities (1 where none) are added.

    Of other events that are equal in all columns one stays.
    """
    columns = events.columns
    value = Interactions.VALUE
    purchases = events.filter(_[Interactions.EVENT] == "purchase")
    if value not in columns:
        purchases = purchases.mutate(**{value: ibis.null("float64")})
    keys = [name for name in columns if name != value]
    summed = purchases.group_by(keys).agg(**{value: _[value].fill_null(1.0).sum()})
    others = events.filter((_[Interactions.EVENT] != "purchase").fill_null(True)).distinct()
    if value not in columns:
        others = others.mutate(**{value: ibis.null("float64")})
    names = list(dict.fromkeys([*columns, value]))
    return ibis.union(summed.select(names), others.select(names))


def _refund(events: ibis.Table) -> ibis.Value:
    negative = (events[Interactions.EVENT] == "purchase") & (events[Interactions.VALUE] < 0)
    return negative.fill_null(False)


def refunds(events: ibis.Table) -> ibis.Table:
    """Purchases of a negative quantity."""
    return events.filter(_refund(events))


def returned(gathered: ibis.Table) -> ibis.Table:
    """The keys (`SALE`) of the purchases that refunds take back in full, of events with orders, gathered.

    A refund belongs to the purchases of the same user, item and order.
    """
    order, value = Interactions.ORDER, Interactions.VALUE
    sold = gathered.filter((_[Interactions.EVENT] == "purchase") & _[order].notnull())
    totals = sold.group_by(SALE).agg(_total=_[value].sum(), _low=_[value].min())
    return totals.filter((_["_low"] < 0) & (_["_total"] <= 0)).select(SALE)


def without_refunds(events: ibis.Table, taken_back: ibis.Table | None) -> ibis.Table:
    """Refunds (purchases of a negative quantity) left out, and with them the purchases that they take back in full.

    taken_back: what `returned` tells; None where orders are not told, as a refund takes none back then.
    """
    kept = events.filter(~_refund(events))
    if taken_back is None:
        return kept
    others = kept.semi_join(taken_back, SALE).filter(_[Interactions.EVENT] != "purchase")
    return ibis.union(kept.anti_join(taken_back, SALE), others)


def programs(events: ibis.Table, most: int) -> ibis.Table:
    """The users with more than `most` views and carts within one minute of the clock, by their parts (`PART`)."""
    clicks = events.filter(_[Interactions.EVENT].isin(["view", "cart"]))
    minute = clicks[Interactions.TIME].truncate("m")
    counted = clicks.group_by([clicks[PART], clicks[Interactions.USER], minute.name("minute")]).agg(
        n=_.count()
    )
    return counted.filter(_.n > most).select(PART, Interactions.USER).distinct()

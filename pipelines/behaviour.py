"""Readable figures of what users did and what was done with items."""

import ibis

from pipelines.tables import Interactions, Products

FAVOURITES = 3
"""Values of an attribute that are named of a user's or an item's."""


def figures(events: ibis.Table, products: ibis.Table, key: str) -> ibis.Table:
    """One row a `key` (user or item) with readable figures of what was done, sorted.

    events, orders: counts. recency_days: since the last event, against the newest of all. price: mean paid.
    repeat_share: events that were not the first of their user and item. repeat_days: mean days between them.
    price_level: that mean over the mean paid by all for the same items. category, brand: the most frequent, with its share of
    the events (loyalty), and the most frequent ones (favourites).
    """
    attributes = [name for name in (Products.CATEGORY, Products.BRAND) if name in products.columns]
    joined = events.left_join(products.select(Products.ITEM, *attributes), Interactions.ITEM).drop(
        f"{Interactions.ITEM}_right"
    )
    newest = joined[Interactions.TIME].max().over(ibis.window())
    pair = ibis.window(
        group_by=[Interactions.USER, Interactions.ITEM], order_by=[Interactions.TIME]
    )
    before = joined[Interactions.TIME].lag().over(pair)
    seconds = joined[Interactions.TIME].epoch_seconds()
    joined = joined.mutate(
        age=(newest.epoch_seconds() - seconds) / 86_400.0,
        gap=(seconds - before.epoch_seconds()) / 86_400.0,
    )
    optional = {}
    if Interactions.ORDER in joined.columns:
        optional["orders"] = joined[Interactions.ORDER].nunique()
    if Interactions.PRICE in joined.columns:
        usual = joined[Interactions.PRICE].mean().over(ibis.window(group_by=Interactions.ITEM))
        joined = joined.mutate(usual=usual)
        price = joined[Interactions.PRICE].mean()
        optional["price"] = price.round(4)
        optional["price_level"] = (price / joined.usual.mean()).round(4)
    found = joined.group_by(key).aggregate(
        events=joined.count(),
        recency_days=joined.age.min().round(4),
        repeat_share=joined.gap.notnull().mean().round(4),
        repeat_days=joined.gap.mean().round(4),
        **optional,
    )
    for name in attributes:
        counts = (
            joined.filter(joined[name].notnull()).group_by([key, name]).aggregate(n=ibis._.count())
        )
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
        best = best.mutate(**{f"{name}_favourites": listed}).drop(*favourites)
        found = found.left_join(best, key).drop(f"{key}_right")
    return found.order_by(key)

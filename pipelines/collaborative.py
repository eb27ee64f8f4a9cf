"""Train the collaborative recommender; write user and item features from behaviour, and who is most like whom."""

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.recommenders.baselines import matrix
from models.recommenders.collaborative import Collaborative
from models.recommenders.events import Events
from models.recommenders.neighbours import nearest_others, shared
from pipelines import engine
from pipelines.harness import Run, stage
from pipelines.recommending import MEMORY_GB, TASK, TowerParams, fit_towers
from pipelines.tables import Interactions, Products

NEIGHBOURS, SHARED = 10, 5
"""Neighbours that a user is given, and items that are named of what two of them share."""
FAVOURITES = 3
"""Values of an attribute that are named of a user's or an item's."""


@stage
def collaborative(run: Run, params: TowerParams) -> None:
    model = fit_towers(run, Collaborative, params, None, behaviour=True)
    spill = run.state.home / "spill" / run.name
    with engine.engine(run.threads, MEMORY_GB, spill) as connection:
        events = connection.read_parquet(str(run.input(f"{TASK}/train.parquet")))
        products = connection.read_parquet(str(run.input(f"{TASK}/products.parquet")))
        users = engine.collect(behaviour(events, products, Interactions.USER))
        items = engine.collect(behaviour(events, products, Interactions.ITEM))
    known = model.known
    vectors = model.user_vectors(known.histories)
    _write(run, "user_features", Interactions.USER, users, known.users, vectors)
    _write(run, "item_features", Interactions.ITEM, items, model.items, model.vectors_out)
    pq.write_table(alike(known), run.output("user_neighbours.parquet"), compression="zstd")


def behaviour(events: ibis.Table, products: ibis.Table, key: str) -> ibis.Table:
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
        best = best.group_by(key).aggregate(
            **{
                name: best[name].first(order_by=best.place),
                f"{name}_loyalty": best.share.max(),
                f"{name}_favourites": best[name].collect(order_by=best.place),
            }
        )
        found = found.left_join(best, key).drop(f"{key}_right")
    return found.order_by(key)


def alike(known: Events) -> pa.Table:
    """The users most like each user: user_id, rank (from 1), neighbour_id, score (cosine of what they touched), shared
    (item ids, those that fewest users have first) and shared_items (how many there are). Users like nobody have no row."""
    rows = matrix(known.histories)
    near = nearest_others(rows, NEIGHBOURS)
    user, place = np.nonzero(near.position >= 0)
    both = shared(rows, near, SHARED)
    pair = np.searchsorted(user * NEIGHBOURS + place, both.user * NEIGHBOURS + both.place)
    starts = np.searchsorted(pair, np.arange(len(user) + 1))
    users, items = pa.array(known.users, pa.string()), pa.array(known.items, pa.string())
    found = pa.table(
        {
            Interactions.USER: users.take(pa.array(user)),
            "rank": pa.array(place + 1, pa.int32()),
            "neighbour_id": users.take(pa.array(near.position[user, place])),
            "score": pa.array(near.cosine[user, place].round(6)),
            "shared_items": pa.array(both.counts[user, place], pa.int32()),
            "shared": pa.ListArray.from_arrays(
                pa.array(starts, pa.int32()), items.take(pa.array(both.item))
            ),
        }
    )
    return found.sort_by([(Interactions.USER, "ascending"), ("rank", "ascending")])


def _write(
    run: Run, name: str, key: str, figures: pa.Table, ids: list[str], vectors: np.ndarray
) -> None:
    """The figures beside the learned vectors; ids without an event have a vector and no figures."""
    flat = pa.array(vectors.astype(np.float32).reshape(-1))
    learned = pa.table(
        {key: ids, "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])}
    )
    place = pa.table({key: figures[key], "at": np.arange(len(figures))})
    at = learned.select([key]).join(place, key, join_type="left outer").sort_by(key)
    ordered = learned.sort_by(key)
    taken = figures.drop([key]).take(at["at"])
    for column in taken.column_names:
        ordered = ordered.append_column(column, taken[column])
    pq.write_table(ordered, run.output(f"{name}.parquet"), compression="zstd")


if __name__ == "__main__":
    collaborative.main()

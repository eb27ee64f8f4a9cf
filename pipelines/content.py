"""Train the content recommender, an interest model of each user over item features; write readable interests."""

import ibis
import pyarrow.parquet as pq

from models.recommenders.content import Content
from pipelines import engine
from pipelines.harness import BadConfig, Run, stage
from pipelines.tables import Interactions
from pipelines.training.recommending import (
    NOT_ATTRIBUTES,
    TASK,
    TowerParams,
    fit_towers,
    item_content,
)


class ContentParams(TowerParams):
    """interest_half_life: days after which an event counts half. interests: that are kept of a user and an attribute."""

    interest_half_life: float
    interests: int


@stage
def content(run: Run, params: ContentParams) -> None:
    fit_towers(run, Content, params, item_content(run), behaviour=False)
    spill = run.state.spill / run.name
    with engine.engine(run.threads, engine.MEMORY_GB, spill, run.tables) as connection:
        events = engine.read_parquet(connection, run.input(f"{TASK}/train.parquet"))
        products = engine.read_parquet(connection, run.input(f"{TASK}/products.parquet"))
        table = engine.collect(interests(events, products, params))
    pq.write_table(table, run.output("interests.parquet"), compression="zstd")


def interests(events: ibis.Table, products: ibis.Table, params: ContentParams) -> ibis.Table:
    """What each user is interested in, one row a user, attribute and value, the strongest first.

    strength: the value's share of the user's events that have the attribute, each weighed by its kind and its age. lift:
    that share over all users' share. events: how many there were. recency_days: since the last one. Raises `BadConfig` for
    a kind of event without a weight.
    """
    kinds = events[Interactions.EVENT].topk(1000).to_pyarrow()[Interactions.EVENT].to_pylist()
    unknown = sorted(set(kinds) - set(params.event_weights))
    if unknown:
        raise BadConfig(
            f"params.yaml, content.event_weights: no weight for events of the kind {', '.join(unknown)}; add one"
        )
    seconds = events[Interactions.TIME].epoch_seconds()
    age = (seconds.max().over(ibis.window()) - seconds) / 86_400.0
    kind = events[Interactions.EVENT].cases(
        *((name, weight) for name, weight in sorted(params.event_weights.items())), else_=0.0
    )
    weighed = events.select(
        Interactions.USER,
        Interactions.ITEM,
        age=age,
        weight=kind * (ibis.literal(0.5) ** (age / params.interest_half_life)),
    )
    parts = []
    for name in products.columns:
        if name in NOT_ATTRIBUTES or not products[name].type().is_string():
            continue
        values = products.filter(products[name].notnull()).select(
            Interactions.ITEM, value=products[name]
        )
        joined = weighed.inner_join(values, Interactions.ITEM)
        parts.append(
            joined.group_by([Interactions.USER, "value"]).aggregate(
                attribute=ibis.literal(name),
                weight=joined.weight.sum(),
                events=joined.count(),
                recency_days=joined.age.min().round(4),
            )
        )
    if not parts:
        parts.append(_nothing(weighed))
    whole = ibis.union(*parts) if len(parts) > 1 else parts[0]
    own = ibis.window(group_by=[whole[Interactions.USER], whole.attribute])
    of_value = ibis.window(group_by=[whole.attribute, whole.value])
    everyone = whole.weight.sum().over(of_value) / whole.weight.sum().over(
        ibis.window(group_by=[whole.attribute])
    )
    share = whole.weight / whole.weight.sum().over(own)
    whole = whole.mutate(strength=share.round(6), lift=(share / everyone).round(4))
    rank = ibis.row_number().over(
        ibis.window(
            group_by=[whole[Interactions.USER], whole.attribute],
            order_by=[ibis.desc(whole.strength), whole.value],
        )
    )
    kept = whole.mutate(rank=rank + 1)
    kept = kept.filter(kept["rank"] <= params.interests)
    return kept.select(
        Interactions.USER,
        "attribute",
        "value",
        "rank",
        "strength",
        "lift",
        "events",
        "recency_days",
    ).order_by([Interactions.USER, "attribute", "rank"])


def _nothing(weighed: ibis.Table) -> ibis.Table:
    """No row, of a shop whose products have no attribute."""
    return weighed.filter(ibis.literal(False)).select(
        Interactions.USER,
        value=weighed[Interactions.ITEM],
        attribute=ibis.literal(""),
        weight=weighed.weight,
        events=ibis.literal(0).cast("int64"),
        recency_days=weighed.age,
    )


if __name__ == "__main__":
    content.main()

"""Make the lists of one partition of users with the champion, with reasons and rules: `data/recommend/<n>/lists.parquet`.

The champion is the one that the receipt of its promotion names, fetched by the hash of its manifest. Where there is none
(no challenger beat the baselines, or none was approved yet) the lists hold what sells. A list is made from all that is
known today, the test days included.

Events lie in files, and users are taken a block at a time, so that memory depends on the block and the catalogue, and but for
their names not on the number of users or events. A partition is a stretch of blocks of all users in the order of their ids: partitions one after the other
hold the same rows, to the bit, however many there are. What is counted over all users, `deliver` counts.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from models.kinds import load_model
from models.recommenders.base import blocks
from models.recommenders.baselines import Popularity
from models.recommenders.events import hash_order
from pipelines.harness import BadConfig, Params, Run, stage
from pipelines.history import event_files
from pipelines.history.event_files import EventFiles
from pipelines.lists.files import (
    AGAIN,
    BECAUSE,
    CATALOGUE,
    NAME,
    POPULAR,
    SCHEMA,
    Tally,
    write,
)
from pipelines.lists.parts import Parts, parts
from pipelines.lists.rules import Rules, Shelf, choose, numbered
from pipelines.own_tables import exclusions
from pipelines.own_tables.exclusions import Exclusions
from pipelines.promotion.registry import NoChampion, champion_bundle
from pipelines.tables import Interactions, Products, Users

SPLIT = "split/recommending"
PARTS = ("train", "valid", "test")
OWNED = ("purchase", "rating")
"""Events that say that a user has the item."""


class RecommendParams(Params):
    """k: length of a list. max_per_category, max_per_brand, min_price, max_price: see `Rules`; 0 is no limit.

    exclude_bought: leave out what the user bought or rated; `auto`: where goods are hardly ever bought again.
    block_users: users at a time. half_life_days: of the popularity that fills lists which the champion can't.
    """

    k: int
    exclude_bought: Literal["auto", "always", "never"]
    max_per_category: int
    max_per_brand: int
    min_price: float
    max_price: float
    block_users: int
    half_life_days: float

    @property
    def rules(self) -> Rules:
        """Raises `BadConfig` for limits that no list can keep."""
        if min(self.max_per_category, self.max_per_brand, self.min_price, self.max_price) < 0:
            raise BadConfig("recommend: a limit is below 0: give 0 for no limit")
        if 0 < self.max_price < self.min_price:
            raise BadConfig(
                f"recommend.max_price {self.max_price:g} is below min_price {self.min_price:g}: nothing could be listed"
            )
        return Rules(
            self.k, self.max_per_category, self.max_per_brand, self.min_price, self.max_price
        )


@dataclass(frozen=True)
class Shop:
    """What can be listed: n items, those of the model first, then those that are newer than it.

    items: (n,) ids. available: (n,) booleans, false for what is no product any more, for prices beyond the bounds and for
    what is kept off all lists. barred: user (id) and item (position) of what is kept off one user's.
    category, brand: (n,) numbers, -1 for none. weight: (n,) popularity.
    """

    items: np.ndarray
    available: np.ndarray
    category: np.ndarray
    brand: np.ndarray
    weight: np.ndarray
    barred: tuple[list[str], np.ndarray]

    @property
    def shelf(self) -> Shelf:
        return Shelf(np.argsort(-self.weight, kind="stable"), self.category, self.brand)


@stage
def recommend(run: Run, params: RecommendParams) -> None:
    if min(params.k, params.block_users) < 1 or params.half_life_days <= 0:
        raise BadConfig("recommend.k, block_users and half_life_days must be above 0")
    events = [run.input(f"{SPLIT}/{part}.parquet") for part in PARTS]
    products = pq.read_table(run.input(f"{SPLIT}/products.parquet")).to_pandas()
    model = serving(run, events, products[Products.ITEM].tolist(), params.half_life_days)
    items = listable(model.items, products)
    known = event_files.written(event_files.batches(events), items, run.state.spill / run.name)
    run.rows_in = sum(pq.read_metadata(path).num_rows for path in events)
    kept_off = exclusions.read(run.source_file(exclusions.FILE))
    shop = open_shop(known, products, params, kept_off)
    users = everyone(known, run.input(f"{SPLIT}/users.parquet"))
    partitions = run.graph.instances("recommend")
    own = partition(users, partitions.index(run.name), len(partitions), params.block_users)
    total = -(-len(own) // params.block_users)
    receipt = run.input("promote/recommender/receipt.json")
    read = [run.input(f"{SPLIT}/{name}.parquet") for name in (*PARTS, "products", "users")]
    read.append(run.source_file(exclusions.FILE))
    words = [run.name, str(len(partitions)), params.model_dump_json()]
    tally = Tally(params.k)
    with parts(run.state, words, [receipt, *read]) as done:
        blocks = make_lists(model, shop, known, own, params, done, run.threads)
        write(tally.watch(run.progress(blocks, "listing", total)), run.output(NAME))
    run.rows_out = tally.rows
    for name, value in {
        "partitions": len(partitions),
        "places": params.k,
        "available": int(shop.available.sum()),
        "users": len(users),
        "own_users": len(own),
    }.items():
        run.measure(name, value)


def serving(run: Run, events: Sequence[Path], items: list[str], half_life: float) -> Any:
    """The champion; where there is none, what sells of `items` and of what else is in `events`."""
    try:
        with champion_bundle(run.root, run.input("promote/recommender/receipt.json")) as folder:
            return load_model(folder)
    except NoChampion as none:
        run.miss("a champion", f"the lists hold what sells: {none}")
        return what_sells([*items, *items_of(event_files.batches(events))], half_life)


def what_sells(items: Iterable[str], half_life: float) -> Popularity:
    """What stands in for a champion: popularity over `items`, once it is told the events (`make_lists`)."""
    known = hash_order([*items])
    return Popularity(known, np.zeros(len(known), np.float32), half_life)


def items_of(batches: Iterable[pa.RecordBatch]) -> set[str]:
    """The items of events."""
    found: set[str] = set()
    for batch in batches:
        found.update(pc.unique(batch[Interactions.ITEM]).to_pylist())
    return found


def listable(known: list[str], products: pd.DataFrame) -> list[str]:
    """The items that `known` (the model's) and `products` name, those of the model first."""
    return [*known, *sorted(set(products[Products.ITEM]) - set(known))]


def everyone(known: EventFiles, users: Path) -> list[str]:
    """Ids of all users, sorted: those with events and those in the table of users."""
    named = pq.read_table(users, columns=[Users.USER])[Users.USER].to_pylist()
    return sorted({*known.users, *named})


def partition(users: list[str], at: int, of: int, block: int) -> list[str]:
    """The `at`-th of `of` stretches of `users`, of whole blocks: a block is scored together, in whatever partition it is.

    >>> [partition(list("abcdefg"), at, 2, 2) for at in range(2)]
    [['a', 'b', 'c', 'd'], ['e', 'f', 'g']]
    """
    blocks = -(-len(users) // block)
    return users[blocks * at // of * block : blocks * (at + 1) // of * block]


def open_shop(
    known: EventFiles, products: pd.DataFrame, params: RecommendParams, kept_off: Exclusions
) -> Shop:
    """The items of `known`, which are `listable`, with what the rules need of them.

    Raises `BadConfig` for bounds of prices that products have none of, or that none keeps.
    """
    items = known.items
    rows = products.set_index(Products.ITEM).reindex(items)
    available = np.array(rows.index.isin(products[Products.ITEM]))
    if Products.AVAILABLE in rows:
        available &= ~rows[Products.AVAILABLE].eq(False).to_numpy(dtype=bool)
    if params.min_price or params.max_price:
        if Products.PRICE not in rows:
            raise BadConfig(
                "recommend.min_price and max_price: the shop's products have no price; give 0 for no bound"
            )
        available &= params.rules.affordable(rows[Products.PRICE].to_numpy(float, na_value=np.nan))
        if not available.any():
            raise BadConfig(
                f"recommend.min_price {params.min_price:g}, max_price {params.max_price:g}: no product that is available "
                "has such a price"
            )
    place = pd.Index(items)
    available &= ~place.isin(list(kept_off.everybody))
    of = place.get_indexer([item for _, item in kept_off.pairs])
    barred = (
        [user for (user, _), at in zip(kept_off.pairs, of, strict=True) if at >= 0],
        of[of >= 0],
    )
    category, brand = (
        numbered(rows[name]) if name in rows else np.full(len(items), -1)
        for name in (Products.CATEGORY, Products.BRAND)
    )
    weight = known.events().popularity(params.half_life_days)
    return Shop(np.asarray(items, dtype=object), available, category, brand, weight, barred)


def make_lists(
    model: Any,
    shop: Shop,
    known: EventFiles,
    users: list[str],
    params: RecommendParams,
    done: Parts | None = None,
    threads: int = 1,
) -> Iterator[pa.Table]:
    """The lists of one block of users after the other, each as a table of `SCHEMA`.

    known: the events over the items of `shop`. done: blocks that are there already, which are not made again; those that
    are made are added. threads: blocks that are made at once.
    """
    mine = known.where(lambda item, kind: item < len(model.items), model.items)
    events = mine.events(model.kinds)
    model = model.observe(events)
    owned = None
    if params.exclude_bought == "always" or (
        params.exclude_bought == "auto" and not events.bought_again
    ):
        kinds = [at for at, name in enumerate(known.names) if name in OWNED]
        owned = known.where(lambda item, kind: np.isin(kind, kinds)).events()
    # Both have the users of `known`.
    places = pd.Index(known.users, dtype=object).get_indexer(pd.Index(users, dtype=object))
    rules, shelf = params.rules, shop.shelf
    whose = pd.Index(users).get_indexer(shop.barred[0])

    def listed(at: int) -> pa.Table:
        """The lists of the block that begins at this user."""
        if done and at in done:
            return done.read(at)
        block = np.arange(at, min(at + params.block_users, len(users)))
        # A large catalogue's scores are made of fewer users at a time.
        parts = [scored(block[part]) for part in blocks(len(block), len(shop.items))]
        table = pa.concat_tables(parts).combine_chunks()
        if done:
            done.write(at, table)
        return table

    def scored(block: np.ndarray) -> pa.Table:
        """The lists of these users, whose scores stand in memory together."""
        names = [users[at] for at in block]
        told = model.scored(events.at(places[block], names).histories)
        scores = np.full((len(block), len(shop.items)), -np.inf, dtype=np.float32)
        scores[:, : len(model.items)] = told.scores
        allowed = np.repeat(shop.available[None, :], len(block), axis=0)
        if owned is not None:
            had = owned.at(places[block], names).histories
            allowed[had.owner, had.item] = False
        here = (whose >= block[0]) & (whose <= block[-1])
        allowed[whose[here] - block[0], shop.barred[1][here]] = False
        items, ours = choose(scores, allowed, shelf, rules)
        causes = told.explain(np.where(ours, items, -1))
        return as_table(names, items, ours, causes, scores, shop)

    yield from in_turn(listed, range(0, len(users), params.block_users), threads)


def in_turn(
    work: Callable[[int], pa.Table], places: Iterable[int], threads: int
) -> Iterator[pa.Table]:
    """`work` of each place, in their order, by so many threads, which are never further ahead than one place each.

    Within `work` nothing takes threads of its own: they would only get in each other's way.
    """
    with (
        threadpool_limits(1),
        ThreadPoolExecutor(threads, initializer=threadpool_limits, initargs=(1,)) as pool,
    ):
        waiting: deque[Future[pa.Table]] = deque()
        try:
            for place in places:
                if len(waiting) == threads:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(work, place))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()


def as_table(
    users: list[str],
    items: np.ndarray,
    ours: np.ndarray,
    causes: np.ndarray,
    scores: np.ndarray,
    shop: Shop,
) -> pa.Table:
    """Lists (users, k) of positions of these users, -1 where short, as rows sorted by user and rank."""
    user, place = np.nonzero(items >= 0)
    item, cause, by_model = items[user, place], causes[user, place], ours[user, place]
    reason = np.where(shop.weight[item] > 0, POPULAR, CATALOGUE).astype(object)
    reason[cause >= 0] = BECAUSE
    reason[cause == item] = AGAIN
    named = np.where(reason == BECAUSE, shop.items[np.maximum(cause, 0)], None)
    names = np.asarray(users, dtype=object)
    return pa.table(
        [
            pa.array(names[user], pa.string()),
            pa.array(place + 1, pa.int32()),
            pa.array(shop.items[item], pa.string()),
            pa.array(scores[user, item], pa.float32(), mask=~by_model),
            pa.array(reason, pa.string()),
            pa.array(named, pa.string()),
        ],
        schema=SCHEMA,
    )


if __name__ == "__main__":
    recommend.main()

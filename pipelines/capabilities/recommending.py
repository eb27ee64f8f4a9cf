"""How recommenders are judged: NDCG of the list that each buyer of the window would have been given before it.

All items are ranked, none is sampled. Buying again counts where goods are bought again; elsewhere lists hold only what is
new to the user, as those do that are served. Every user with a purchase in the window is one row (at most
`MOST_USERS`, drawn by a hash of their names), listed from the frozen history alone, so that a champion of another week is
scored on what is known now.

Baselines: popularity with recency, and the tutorials' user-to-user cosine neighbours (k = 5). The training stages
measure each user's own decayed purchases too: a stronger one where people buy again.
"""

import heapq
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.metrics import (
    average_precision,
    coverage_shares,
    hit_rate,
    ndcg,
    novelty,
    paired_interval,
    recall,
    reciprocal_rank,
    variety,
)
from models.recommenders.base import Recommender, recommend
from models.recommenders.baselines import PersonalPopularity, Popularity, UserNeighbours
from models.recommenders.columns import release
from models.recommenders.events import (
    HALF_LIVES,
    SECONDS_A_DAY,
    Events,
    Histories,
    hash_order,
    name_hash,
)
from pipelines.history import event_files
from pipelines.history.event_files import COLUMNS
from pipelines.tables import Interactions, Products

METRIC = "NDCG@20"
KEY: str | None = None
TIME: str | None = Interactions.TIME
SIDES: tuple[str, ...] = ("coverage", "full")
K = 20
BEFORE = {"valid": ("train",), "test": ("train", "valid")}
START = {"valid": "valid_from", "test": "test_from"}
FROZEN_ROWS = 1 << 20
"""Of a history that are written at a time."""
NEW = 5
"""Events before the window: fewer make a new user; the others are light, regular and heavy, a third each."""
NEIGHBOURS = 5
PURCHASE = "purchase"
TUNING_DAYS = 28.0
"""The baselines' half-life is the best on so many last days of the history."""
MOST_USERS = 10_000
"""More tell little more, and each is scored against all items many times over."""
MOST_CATEGORIES = 8
"""Favourite categories that are judged apart."""
TUNING_USERS = 2_000
"""For whom the half-life is compared."""


def freeze(split: Path, part: str, rows: Path, beside: Path | None = None) -> None:
    rows.mkdir(parents=True, exist_ok=True)
    known = [split / f"{name}.parquet" for name in BEFORE[part]]
    there = pq.read_schema(known[0])
    schema = pa.schema([there.field(name) for name in COLUMNS], there.metadata)
    with pq.ParquetWriter(rows / "history.parquet", schema, compression="zstd") as writer:
        for path in known:
            waiting = schema.empty_table()
            for batch in event_files.batches([path]):
                waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch]).cast(schema)])
                while len(waiting) >= FROZEN_ROWS:
                    writer.write_table(waiting.slice(0, FROZEN_ROWS).combine_chunks())
                    waiting = waiting.slice(FROZEN_ROWS)
            if len(waiting):
                writer.write_table(waiting.combine_chunks())
    truth = pq.read_table(split / f"{part}.parquet", columns=COLUMNS)
    bought = pc.equal(truth[Interactions.EVENT], PURCHASE)
    # A shop that knows no purchases (ratings, views) is judged on what it knows.
    truth = truth.filter(bought) if pc.any(bought).as_py() else truth
    users = pc.unique(truth[Interactions.USER]).to_pylist()
    asked = heapq.nsmallest(MOST_USERS, users, name_hash)
    truth = truth.filter(pc.is_in(truth[Interactions.USER], pa.array(asked, pa.string())))
    pq.write_table(truth, rows / "truth.parquet", compression="zstd")
    shutil.copyfile(split / "products.parquet", rows / "products.parquet")
    start = json.loads((split / "cut.json").read_text("utf-8"))[START[part]]
    (rows / "window.json").write_text(json.dumps({"from": start}) + "\n", "utf-8")


def moment(text: str) -> float:
    """Days since 1970 of an ISO 8601 time."""
    return pd.Timestamp(text).timestamp() / SECONDS_A_DAY


def catalogue(rows: Path) -> list[str]:
    """All item ids that can be listed, in `hash_order`."""
    return hash_order(
        pq.read_table(rows / "products.parquet", columns=[Products.ITEM])[0].to_pylist()
    )


def asked(
    rows: Path, items: list[str], kinds: Mapping[str, float] | None = None
) -> tuple[Events, list[str], Histories]:
    """The frozen events as of the window's start, who bought in it, and what (with their order of users).

    The events are files that have no name, on the disk of `rows`. kinds: how much an event of each kind says.

    Items that a model doesn't know stay in the truth: not to know them costs it.
    """
    now = moment(json.loads((rows / "window.json").read_text("utf-8"))["from"])
    found = event_files.batches([rows / "history.parquet"])
    history = event_files.written(found, items, rows).events(kinds, now)
    truth = pq.read_table(rows / "truth.parquet").to_pandas()
    unknown = sorted(set(truth[Interactions.ITEM]) - set(items))
    bought = Events.from_frame(truth, [*items, *unknown])
    return history, bought.users, bought.histories


def listed(model: Recommender, history: Events, users: list[str], truth: Histories) -> np.ndarray:
    """NDCG@20 of each user's list, (users,)."""
    mine = history.of(users).histories
    lists, _ = recommend(model, mine, K, again=history.bought_again)
    return ndcg(lists, truth.indptr, truth.item)


def discovered(
    model: Recommender, history: Events, users: list[str], truth: Histories
) -> np.ndarray:
    """NDCG@20 among the items that are new to the user, of the users who bought such (fewer than all)."""
    mine = history.of(users).histories
    fresh = truth.beyond(mine)
    lists, _ = recommend(model, mine, K, again=False)
    return ndcg(lists, fresh.indptr, fresh.item)[np.diff(fresh.indptr) > 0]


def score(model: Recommender, rows: Path) -> pd.DataFrame:
    history, users, truth = asked(rows, model.items, model.kinds)
    mine = history.of(users)
    lists, _ = recommend(model.observe(history), mine.histories, K, again=history.bought_again)
    events = np.bincount(mine.user, minlength=len(users))
    table = {
        "row_id": users,
        "score": ndcg(lists, truth.indptr, truth.item),
        "slice_history": groups(events),
        "side_full": (lists >= 0).all(1).astype(float),
        "also_Recall@20": recall(lists, truth.indptr, truth.item),
        "also_HitRate@20": hit_rate(lists, truth.indptr, truth.item),
        "also_MRR@20": reciprocal_rank(lists, truth.indptr, truth.item),
        "also_MAP@12": average_precision(lists[:, :12], truth.indptr, truth.item),
        "also_novelty": novelty(lists, buyers(history)),
    }
    products = pq.read_table(rows / "products.parquet")
    table["side_coverage"] = coverage_shares(lists, max(len(model.items), len(products)))
    if Products.CATEGORY in products.column_names:
        kinds = products.select([Products.ITEM, Products.CATEGORY]).to_pandas()
        kinds = kinds.set_index(Products.ITEM)[Products.CATEGORY].reindex(model.items)
        codes, names = pd.factorize(kinds)
        table["side_variety"] = variety(lists, codes)
        table["slice_category"] = favourites(mine, codes, names.tolist())
    return pd.DataFrame(table)


def groups(events: np.ndarray) -> np.ndarray:
    """Name of each user's group, (users,), by the number of events before the window."""
    known = events[events >= NEW]
    third, two = np.quantile(known, [1 / 3, 2 / 3]) if len(known) else (0.0, 0.0)
    choices = [events < NEW, events <= third, events <= two]
    return np.select(choices, ["new", "light", "regular"], "heavy")


def buyers(history: Events) -> np.ndarray:
    """How many users had each item, (n,)."""
    found = np.zeros(len(history.items), np.int64)
    for part in history.stretches():
        key = history.user[part].astype(np.int64) * len(history.items) + history.item[part]
        item = np.unique(key) % max(len(history.items), 1)
        found += np.bincount(item, minlength=len(history.items))
        release(*history.columns)
    return found


def favourites(mine: Events, codes: np.ndarray, names: list[str]) -> np.ndarray:
    """Name of the category that each user had most events in, (users,); "none" for those without one.

    Beyond the `MOST_CATEGORIES` that are the favourites of most it is "other": slices are to be read, and to hold users
    enough to judge. codes: (items,) positions in `names`, -1 for an item of no category. Of equals the first in `names`
    counts.
    """
    code = codes[mine.item]
    known = code >= 0
    width = len(names) + 1
    cells, counts = np.unique(mine.user[known] * width + code[known] + 1, return_counts=True)
    user, column = np.divmod(cells, width)
    found = np.zeros(len(mine.users), dtype=int)
    # The last to be written stays: the most, of equals the first.
    order = np.lexsort((-column, counts))
    found[user[order]] = column[order]
    likers = np.bincount(found[found > 0], minlength=width)
    rest = np.argsort(-likers, kind="stable")[MOST_CATEGORIES:]
    told = np.array(["none", *names], dtype=object)
    told[rest[rest > 0]] = "other"
    return told[found]


def example(rows: Path, count: int) -> pd.DataFrame:
    truth = pq.read_table(rows / "truth.parquet", columns=[Interactions.USER]).to_pandas()
    users = truth[Interactions.USER].drop_duplicates().sort_values().head(count)
    return pd.DataFrame({Interactions.USER: users.to_numpy()})


def baselines(split: Path, rows: Path, seed: int) -> dict[str, np.ndarray]:
    history, users, truth = asked(rows, catalogue(rows))
    fitted = {
        "popularity": tuned(Popularity.fit, history),
        "user neighbours": UserNeighbours.fit(history, NEIGHBOURS, history.of(users).histories),
    }
    return {name: listed(model, history, users, truth) for name, model in fitted.items()}


def against_own(model: Recommender, rows: Path, seed: int) -> dict[str, float]:
    """NDCG@20 of each user's own decayed purchases, and the paired interval of what `model` gains over it.

    It is what a shop where people buy again has for nothing, and a stronger peer there than the baselines.
    """
    history, users, truth = asked(rows, model.items, model.kinds)
    own = listed(tuned(PersonalPopularity.fit, history), history, users, truth)
    gain = paired_interval(listed(model.observe(history), history, users, truth), own, seed)
    return {
        "own purchases": float(own.mean()),
        **gain.named("gain over own purchases"),
    }


class Fit(Protocol):
    """How a baseline is fitted with a half-life, on what was before a day or on all."""

    def __call__(
        self, events: Events, half_life: float, until: float | None = None
    ) -> Recommender: ...


def tuned(fit: Fit, history: Events) -> Recommender:
    """`fit` with the half-life that was best on the history's last days, of which it then knows all."""
    start = history.now - TUNING_DAYS
    after = history.between(start, history.now)
    bought = np.flatnonzero(np.bincount(after.user, minlength=len(history.users)))
    named = (history.users[at] for at in bought)
    users = heapq.nsmallest(TUNING_USERS, named, name_hash)
    truth = after.of(users).histories
    mine, again = history.of(users).before(start).histories, history.again_before(start)
    value = {}
    for half_life in HALF_LIVES:
        lists, _ = recommend(fit(history, half_life, start), mine, K, again=again)
        value[half_life] = float(ndcg(lists, truth.indptr, truth.item).sum())
    return fit(history, max(HALF_LIVES, key=lambda half_life: value[half_life]))

"""How recommenders are judged: NDCG of the list that each buyer of the window would have been given before it.

All items are ranked, none is sampled; buying again counts. Every user with a purchase in the window is one row, listed
from the frozen history alone, so that a champion of another week is scored on what is known now.

Baselines: popularity with recency, and the tutorials' user-to-user cosine neighbours (k = 5). The training stages
measure each user's own decayed purchases too: a stronger one where people buy again.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.metrics import ndcg
from models.recommenders.base import Recommender, recommend
from models.recommenders.baselines import PersonalPopularity, Popularity, UserNeighbours
from models.recommenders.events import SECONDS_A_DAY, Events, Histories, hash_order
from pipelines.tables import Interactions, Products

METRIC = "NDCG@20"
K = 20
COLUMNS = [Interactions.USER, Interactions.ITEM, Interactions.TIME]
BEFORE = {"valid": ("train",), "test": ("train", "valid")}
START = {"valid": "valid_from", "test": "test_from"}
NEW, HEAVY = 5, 100
"""Events before the window: fewer make a new user, more a heavy one."""
HALF_LIFE, PERSONAL_HALF_LIFE, NEIGHBOURS = 30.0, 90.0, 5


def freeze(split: Path, part: str, rows: Path) -> None:
    rows.mkdir(parents=True, exist_ok=True)
    history = pa.concat_tables(
        [pq.read_table(split / f"{name}.parquet", columns=COLUMNS) for name in BEFORE[part]]
    )
    pq.write_table(history, rows / "history.parquet", compression="zstd")
    truth = pq.read_table(split / f"{part}.parquet", columns=COLUMNS)
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


def asked(rows: Path, items: list[str]) -> tuple[Events, list[str], Histories]:
    """The frozen events as of the window's start, who bought in it, and what (with their order of users).

    Items that a model doesn't know stay in the truth: not to know them costs it.
    """
    now = moment(json.loads((rows / "window.json").read_text("utf-8"))["from"])
    history = Events.from_frame(pq.read_table(rows / "history.parquet").to_pandas(), items, now)
    truth = pq.read_table(rows / "truth.parquet").to_pandas()
    unknown = sorted(set(truth[Interactions.ITEM]) - set(items))
    bought = Events.from_frame(truth, [*items, *unknown])
    return history, bought.users, bought.histories


def listed(model: Recommender, history: Events, users: list[str], truth: Histories) -> np.ndarray:
    """NDCG@20 of each user's list, (users,)."""
    lists, _ = recommend(model, history.of(users).histories, K)
    return ndcg(lists, truth.indptr, truth.item)


def score(model: Recommender, rows: Path) -> pd.DataFrame:
    history, users, truth = asked(rows, model.items)
    values = listed(model.observe(history), history, users, truth)
    events = np.bincount(history.of(users).user, minlength=len(users))
    group = np.select([events < NEW, events > HEAVY], ["new", "heavy"], "regular")
    return pd.DataFrame({"row_id": users, "score": values, "slice_history": group})


def example(rows: Path, count: int) -> pd.DataFrame:
    truth = pq.read_table(rows / "truth.parquet", columns=[Interactions.USER]).to_pandas()
    users = truth[Interactions.USER].drop_duplicates().sort_values().head(count)
    return pd.DataFrame({Interactions.USER: users.to_numpy()})


def baselines(split: Path, rows: Path, seed: int) -> dict[str, np.ndarray]:
    history, users, truth = asked(rows, catalogue(rows))
    fitted = {
        "popularity": Popularity.fit(history, HALF_LIFE),
        "user neighbours": UserNeighbours.fit(history, NEIGHBOURS),
    }
    return {name: listed(model, history, users, truth) for name, model in fitted.items()}


def own_purchases(rows: Path) -> np.ndarray:
    """NDCG@20, (users,), of each user's own decayed purchases: what a shop where people buy again has for nothing."""
    history, users, truth = asked(rows, catalogue(rows))
    return listed(PersonalPopularity.fit(history, PERSONAL_HALF_LIFE), history, users, truth)

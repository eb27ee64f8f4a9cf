"""Tables for people: figures, interests and neighbours, against sums by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from models.recommenders.events import Events, hash_order
from pipelines import engine
from pipelines.collaborative import alike
from pipelines.content import ContentParams, interests
from pipelines.harness import BadConfig
from pipelines.history.change import figures_of_all
from pipelines.history.sums import Sums, pairs
from pipelines.training import recommending

DAYS = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta([0, 10, 20, 20, 20], "D")
EVENTS = pd.DataFrame(
    {
        "user_id": ["a", "a", "a", "b", "b"],
        "item_id": ["x", "y", "x", "y", "z"],
        "timestamp": DAYS,
        "event": ["purchase", "view", "purchase", "purchase", "purchase"],
        "price": [1.0, 4.0, 3.0, 4.0, 5.0],
    }
)
PRODUCTS = pd.DataFrame(
    {"item_id": ["x", "y", "z"], "category": ["tea", "pot", "pot"], "brand": ["m", "m", None]}
)
PARAMS = ContentParams.model_construct(
    interest_half_life=10.0, interests=5, event_weights={"purchase": 1.0, "view": 0.5}
)


def made(tmp_path: Path, what: str, events: pd.DataFrame = EVENTS) -> pd.DataFrame:
    with engine.engine(1, 0.5, tmp_path / "spill") as connection:
        rows = engine.bring(connection, "events", pa.Table.from_pandas(events))
        products = engine.bring(connection, "products", pa.Table.from_pandas(PRODUCTS))
        if what == "interests":
            return interests(rows, products, PARAMS).to_pyarrow().to_pandas()
        found = figures_of_all(connection, Sums(pairs(rows), None), products, None)[what]
        return found.to_pyarrow().to_pandas().set_index(what)


def test_figures_of_users_are_those_counted_by_hand(tmp_path: Path) -> None:
    found = made(tmp_path, "user_id")
    assert found.loc["a", ["events", "recency_days", "repeat_days", "category"]].tolist() == [
        3,
        0.0,
        20.0,
        "tea",
    ]
    assert found.loc["a", "category_favourites"].tolist() == ["tea", "pot"]
    assert found.loc["a", "category_loyalty"] == pytest.approx(0.6667)
    # Tea typically costs 2, a pot 4.5 (y 4, z 5): user a paid 8 where 2 + 4.5 + 2 is usual.
    assert found.loc["a", "price_level"] == round(8 / 8.5, 4)
    assert found.loc["b", "repeat_share"] == 0.0


def test_interests_are_shares_that_fade_and_weigh_by_kind(tmp_path: Path) -> None:
    found = made(tmp_path, "interests").set_index(["user_id", "attribute", "value"])
    tea, pot = 0.25 + 1.0, 0.5 * 0.5
    assert found.loc[("a", "category", "tea"), "strength"] == pytest.approx(
        tea / (tea + pot), abs=1e-6
    )
    everyone = tea / (tea + pot + 2.0)
    assert found.loc[("a", "category", "tea"), "lift"] == pytest.approx(
        tea / (tea + pot) / everyone, abs=1e-4
    )
    assert found.loc[("a", "category", "tea"), "rank"] == 1
    assert found.loc[("b", "brand", "m"), "events"] == 1
    assert (found.groupby(["user_id", "attribute"]).strength.sum().round(5) == 1.0).all()


def test_an_event_of_a_kind_without_a_weight_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="wish"):
        made(tmp_path, "interests", EVENTS.assign(event="wish"))


def test_neighbours_come_with_what_they_share() -> None:
    events = Events.from_frame(EVENTS, hash_order(PRODUCTS["item_id"]))
    found = alike(events).to_pandas()
    assert found[["user_id", "rank", "neighbour_id", "shared_items"]].values.tolist() == [
        ["a", 1, "b", 1],
        ["b", 1, "a", 1],
    ]
    assert found["score"].tolist() == [0.5, 0.5]
    assert [list(items) for items in found["shared"]] == [["y"], ["y"]]
    assert np.isfinite(found["score"]).all()


def test_vectors_are_shortened_alike_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    vectors = (rng.normal(size=(500, 90)) * np.arange(90, 0, -1)).astype(np.float16)
    vectors[::9] = 0
    whole = recommending._shortened(vectors)
    assert whole.shape == (500, recommending.DENSE_WIDTH) and not whole[::9].any()
    monkeypatch.setattr(recommending, "BLOCK_ITEMS", 64)
    np.testing.assert_allclose(recommending._shortened(vectors), whole, atol=1e-2)

"""Stages on Spark write the files that they write on DuckDB, byte for byte."""

import csv
import datetime
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipelines import engine
from pipelines.collaborative import behaviour
from pipelines.content import ContentParams, interests
from pipelines.harness.params import Tables
from pipelines.ingest_pictures import ingest_pictures
from pipelines.ingest_reviews import ingest_reviews
from pipelines.ingest_reviews_zh import ingest_reviews_zh
from pipelines.ingest_shop import ingest_shop
from pipelines.judge import Judge
from pipelines.split import split
from pipelines.validate import validate
from tests.data.shops import SIZES, Shop, changed, make_shop, picture, tables


@pytest.fixture
def shop(tmp_path: Path, migrated_database: Path) -> Shop:
    return make_shop(tmp_path / "shop", migrated_database)


def on(shop: Shop, chosen: Tables) -> None:
    """Choose where tables are worked on."""
    path = shop.root / "params.yaml"
    document = yaml.safe_load(path.read_text())
    document["tables"] = chosen.model_dump()
    path.write_text(yaml.safe_dump(document))


def test_split_cuts_alike(shop: Shop, spark: Tables) -> None:
    shop.set("split", **SIZES)
    made = tables()
    twins = dict.fromkeys(range(0, 120, 3), "Great, I love it!") | {
        1: "great   i LOVE it",
        2: "ΟΔΟΣ",
    }
    made["reviews"] = changed(made["reviews"], "text", twins)
    made["images"] = changed(made["images"], "bytes", dict.fromkeys(range(0, 60, 7), picture(200)))
    for name, table in made.items():
        shop.validated(name, table)
    assert shop.run(split) == 0
    before = shop.bytes_of("split")
    on(shop, spark)
    assert shop.run(split) == 0
    after = shop.bytes_of("split")
    assert len(before) > 20
    assert [name for name in before if before[name] != after.get(name)] == []


FAULTS = {
    "products": [("item_id", 1, "p005"), ("title", 2, "  \u3000"), ("price", 7, float("inf"))],
    "users": [("user_id", 3, "")],
    "interactions": [("item_id", 1, "p999"), ("event", 3, "steal"), ("value", 4, 0.0)],
    "images": [("bytes", 1, picture(1)[:40]), ("bytes", 5, picture(6))],
    "reviews": [("text", 0, "\t\n"), ("label", 2, "great"), ("language", 5, None)],
    "questions": [("review_id", 1, "r999"), ("end", 2, 9_999), ("start", 5, None)],
}
"""A few cells of each table that break a rule."""


def test_the_gate_sets_the_same_rows_aside(
    shop: Shop, spark: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Judge, "publish", lambda judge, folder: folder)
    shop.set("validate", max_quarantine_share=0.5)
    made = tables()
    made["interactions"] = pa.concat_tables(
        [made["interactions"], made["interactions"].slice(50, 1)]
    )
    empty = made["reviews"].slice(0, 0).drop_columns(["item_id", "group_id"])
    shop.put("reviews", empty, "ingest-reviews-zh")
    for name, table in made.items():
        for column, row, value in FAULTS[name]:
            table = changed(table, column, {row: value})
        shop.ingested(name, table)

    def gated() -> dict[str, bytes]:
        found = {}
        for name in made:
            assert shop.run(validate, name) == 0
            found |= {
                f"{name}/{file}": cells for file, cells in shop.bytes_of(f"validate-{name}").items()
            }
        return found

    before = gated()
    on(shop, spark)
    after = gated()
    assert [name for name in before if before[name] != after.get(name)] == []


CELLS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=6),
    st.sampled_from(["ΟΔΟΣ οδος", "İ ı", "'\\\"", "a,b;c", "\t x\x0b", "𝒳 é é", "-0", "1e3"]),
)
MOMENTS = st.datetimes(datetime.datetime(2023, 10, 1), datetime.datetime(2024, 4, 30))
EVENTS = st.tuples(
    st.sampled_from("abcdef"),
    st.sampled_from(["p1", "p2", "p3", "p9", ""]),
    MOMENTS,
    st.sampled_from(["purchase", "view", "stolen"]),
    st.sampled_from([1.0, 2.5, -1.0, None]),
    st.sampled_from([0.1, 7.0, 1e-5, None]),
)
PRODUCTS = st.tuples(CELLS, CELLS, st.sampled_from(["1.5", "2,000.25", "€ 3", ""]))


def own_shop(shop: Shop, events: list[tuple[object, ...]], products: list[tuple[str, ...]]) -> None:
    """A shop's own files: events as Parquet with times of a clock, products as CSV; and what tells of them."""
    files = shop.root / "files"
    files.mkdir()
    names = ("user", "item", "time", "kind", "count", "paid")
    columns = dict(zip(names, map(list, zip(*events, strict=True)), strict=True))
    columns["time"] = pa.array(columns["time"], pa.timestamp("us"))
    for name in ("count", "paid"):
        columns[name] = pa.array(columns[name], pa.float64())
    pq.write_table(pa.table(columns), files / "events.parquet")
    with (files / "products.csv").open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        lines.writerow(("id", "title", "category", "price"))
        lines.writerows((f"p{at}", *cells) for at, cells in enumerate(products))
    path = shop.root / "params.yaml"
    document = yaml.safe_load(path.read_text())
    document["shop"] = {
        "interactions": [
            {
                "format": "parquet",
                "files": ["files/events.parquet"],
                "columns": {
                    "user_id": "user",
                    "item_id": "item",
                    "timestamp": "time",
                    "event": "kind",
                    "value": "count",
                    "price": "paid",
                },
                "time": {"zone": "Europe/Berlin"},
            }
        ],
        "products": [
            {
                "format": "csv",
                "files": ["files/products.csv"],
                "columns": {
                    "item_id": "id",
                    "title": "title",
                    "category": "category",
                    "price": "price",
                },
                "thousands": ",",
                "unreadable": "empty",
            }
        ],
    }
    path.write_text(yaml.safe_dump(document))
    graph = (shop.root / "dvc.yaml").read_text()
    graph = graph.replace(
        "      - corrections.csv\n",
        "      - corrections.csv\n      - files/events.parquet\n      - files/products.csv\n",
    )
    (shop.root / "dvc.yaml").write_text(graph)


@given(st.lists(EVENTS, min_size=8, max_size=30), st.lists(PRODUCTS, min_size=4, max_size=4))
@settings(
    max_examples=2,
    deadline=None,
    # A smaller example would take many runs, each of seconds.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_whatever_a_shop_has_becomes_the_same(
    migrated_database: Path,
    spark: Tables,
    events: list[tuple[object, ...]],
    products: list[tuple[str, ...]],
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Judge, "publish", lambda judge, folder: folder)
        shop = make_shop(Path(folder) / "shop", migrated_database)
        own_shop(shop, events, products)
        shop.set("validate", max_quarantine_share=0.99)
        shop.set("split", **SIZES)
        for stage in (ingest_pictures, ingest_reviews, ingest_reviews_zh, ingest_shop):
            assert shop.run(stage) == 0
        for name in ("users", "images", "reviews", "questions"):
            assert shop.run(validate, name) == 0

        def run() -> dict[str, object]:
            shutil.rmtree(shop.root / "data" / "split", ignore_errors=True)
            found: dict[str, object] = {"ingest": shop.run(ingest_shop)}
            for name in ("products", "interactions"):
                found[name] = shop.run(validate, name)
            found["split"] = shop.run(split)
            return found | shop.bytes_of("")

        before = run()
        on(shop, spark)
        after = run()
    assert before["ingest"] == before["products"] == before["interactions"] == 0
    assert [name for name in before if before[name] != after.get(name)] == []


def test_figures_of_behaviour_and_interests_are_the_same(tmp_path: Path, spark: Tables) -> None:
    made = tables()
    draw = np.random.default_rng(5)
    events = made["interactions"]
    prices = draw.choice([0.0, 1.25, 3.1, 99.0], events.num_rows)
    orders = [f"o{at}" for at in draw.integers(0, 50, events.num_rows)]
    events = events.append_column("price", pa.array(prices)).append_column("order_id", [orders])
    params = ContentParams.model_construct(
        interest_half_life=10.0, interests=3, event_weights={"purchase": 1.0}
    )

    def figures(chosen: Tables) -> list[pa.Table]:
        with engine.engine(1, 1.0, tmp_path / "spill", chosen) as connection:
            rows = engine.bring(connection, "events", events)
            products = engine.bring(connection, "products", made["products"])
            return [
                engine.collect(behaviour(rows, products, "user_id")),
                engine.collect(behaviour(rows, products, "item_id")),
                engine.collect(interests(rows, products, params)),
            ]

    for here, there in zip(figures(Tables()), figures(spark), strict=True):
        assert here.num_rows >= 20
        for name in here.column_names:
            assert there[name].to_pylist() == here[name].to_pylist(), name

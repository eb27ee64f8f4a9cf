"""Stages on Spark write the files that they write on DuckDB, byte for byte."""

from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from pipelines.harness.params import Tables
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
    made["interactions"] = pa.concat_tables([made["interactions"], made["interactions"].slice(50, 1)])
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
            found |= {f"{name}/{file}": cells for file, cells in shop.bytes_of(f"validate-{name}").items()}
        return found

    before = gated()
    on(shop, spark)
    after = gated()
    assert [name for name in before if before[name] != after.get(name)] == []

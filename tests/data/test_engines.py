"""Stages on Spark write the files that they write on DuckDB, byte for byte."""

from pathlib import Path

import pytest
import yaml

from pipelines.harness.params import Tables
from pipelines.split import split
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

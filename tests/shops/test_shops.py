"""Shops as they are found in the world, from their files to promoted models, lists and a report: `make test-shops`.

`VITRINE_SHOPS` names the folder that holds their files; what is not there is skipped. Nothing is set by hand: each shop
is what `inspect --write` makes of it.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipelines.harness.absent import absence
from pipelines.journal import Journal
from pipelines.promotion.registry import CHAMPION, Registry
from tests.pipeline.shop import Shop, make_shop

FOLDER = os.environ.get("VITRINE_SHOPS", "")
PROFILE = os.environ.get("VITRINE_TEST_PROFILE", "smoke")


@dataclass(frozen=True)
class Found:
    """files: names below the folder. judged: capabilities that the shop has data for."""

    files: tuple[str, ...]
    judged: frozenset[str]


SHOPS = {
    "clothes with photos": Found(
        ("hm",),
        frozenset(
            {"collaborative", "content", "hybrid", "recommender", "recognition", "attributes"}
        ),
    ),
    "rated instruments": Found(
        ("amazon-musical-2014",), frozenset({"collaborative", "recommender", "sentiment"})
    ),
    "sequences without times": Found(
        # Its items have numbered attributes, any number of each: no field of one value that could be told.
        ("amazon-beauty-5core",),
        frozenset({"collaborative", "content", "hybrid", "recommender"}),
    ),
    "products and Chinese reviews": Found(
        ("fashion-product", "reviews-zh"), frozenset({"recognition", "attributes", "sentiment"})
    ),
}


@pytest.mark.parametrize("name", SHOPS)
def test_a_shop_comes_to_models_lists_and_a_report(name: str, tmp_path: Path) -> None:
    found = SHOPS[name]
    files = [Path(FOLDER) / one for one in found.files]
    lacking = [one.name for one in files if not one.exists()]
    if not FOLDER or lacking:
        pytest.skip(f"VITRINE_SHOPS={FOLDER or '(not set)'} has no {', '.join(lacking)}")
    shop = make_shop(tmp_path / "shop", PROFILE)
    started = time.monotonic()
    looked = shop.run("pipelines.inspect", *map(str, files), "--write")
    assert looked.returncode == 0, looked.stdout[-3000:]
    shop.repro()
    print(f"\n{name}: from files to the report in {time.monotonic() - started:.0f} s")

    told = decided(shop)
    assert told.keys() == found.judged
    champions = {
        one.name.removeprefix("vitrine.")
        for one in Registry(shop.state).champions()
        if CHAMPION in one.aliases
    }
    # A model that does not beat its baseline is refused, and says so: that is no fault of the pipeline.
    for one in sorted(found.judged - champions):
        print(f"  {one} has no champion: {told[one]}")
    assert champions and champions <= found.judged
    if "recommender" in champions:
        everybody_has_a_list(shop)
    page = (shop.root / "data" / "report" / "report.html").read_text("utf-8")
    assert "</html>" in page


def decided(shop: Shop) -> dict[str, str]:
    """Capability to the reason of its newest decision, of those that are on."""
    journal = Journal(shop.state)
    found = {}
    for folder in sorted((shop.root / "data" / "promote").iterdir()):
        if absence(folder / "receipt.json") is None:
            line = journal.last(folder.name)
            assert line is not None, f"nothing was decided on {folder.name}"
            found[folder.name] = line["reason"]
    return found


def everybody_has_a_list(shop: Shop) -> None:
    files = sorted((shop.root / "data" / "recommend").glob("*/lists.parquet"))
    lists = pd.concat([pd.read_parquet(file) for file in files])
    users = pq.read_table(shop.root / "data" / "validate-interactions" / "table.parquet")
    assert set(users["user_id"].to_pylist()) <= set(lists["user_id"])
    assert not lists.duplicated(["user_id", "item_id"]).any()
    assert (lists.groupby("user_id").size() == lists["rank"].max()).all(), "a list is short"

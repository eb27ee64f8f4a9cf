"""The shop page over a real registry: bundles are fetched and loaded, the alias is followed, an absence is told."""

import html
import shutil
import sqlite3
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import models
from models.bundle import save
from models.recommenders.auto import Auto
from models.recommenders.baselines import Popularity
from models.recommenders.catalogue import Catalogue
from models.recommenders.events import Events, hash_order
from models.recommenders.features import Shop
from pipelines.harness.state import State
from pipelines.promotion.registry import Registry, Version
from pipelines.services.web import Refused, call
from pipelines.storefront.serve import open_front
from tests.browser.shop_front import ITEMS, put, serving, write_lists
from tests.conftest import REPOSITORY
from tests.waiting import poll

SECONDS = 60.0
"""What a look at a registry may take where much else runs."""


def popular_first(first: str, folder: Path) -> str:
    """Save a recommender that knows what sells alone, `first` most; returns its bundle's manifest hash."""
    items = hash_order(ITEMS)
    bought = pd.DataFrame(
        {"item_id": [*ITEMS, *[first] * 9], "user_id": "a", "timestamp": "2026-02-01"}
    )
    events, catalogue = Events.from_frame(bought, items), Catalogue.none(len(items))
    model = Auto(
        items=items,
        members={"popularity": Popularity.fit(events, 30.0)},
        ranker=None,
        shop=Shop.at(events, catalogue),
        catalogue=catalogue,
        allowed=None,
        again=False,
        fallback="popularity",
        quality={"popularity": 0.1},
        newcomers=None,
        known=events,
        k=20,
    )
    return save(model.to_bundle(), folder)


def register(registry: Registry, bundle: Path, example: Path) -> Version:
    """Bring a bundle into the registry, with no alias."""
    experiment = registry.api.get_experiment_by_name("vitrine").experiment_id
    return registry.register(
        "recommender",
        bundle,
        models=Path(models.__file__).parent,
        packages=["numpy"],
        example=example,
        card="# a card",
        tags={},
        run_id=registry.api.create_run(experiment).info.run_id,
        scratch=bundle.with_name("scratch"),
        about="A test.",
    )


def rename(root: Path, table: str, other: str) -> None:
    """Of MLflow's database, which connections that are open see too."""
    with closing(sqlite3.connect(State(root).mlflow / "mlflow.db", timeout=SECONDS)) as database:
        database.execute(f"ALTER TABLE {table} RENAME TO {other}")
        database.commit()


@pytest.fixture
def root(tmp_path: Path, migrated_database: Path) -> Path:
    """A shop with products and lists, and an empty registry."""
    root = tmp_path / "shop"
    products = pd.DataFrame({"item_id": ITEMS, "title": [f"Product {one}" for one in ITEMS]})
    put(products, root / "data/validate-products/table.parquet")
    write_lists(root, "2026-02-10T00:00:00+00:00", shift=0)
    shutil.copy(REPOSITORY / "params.yaml", root)
    State(root).mlflow.mkdir(parents=True)
    shutil.copy(migrated_database, State(root).mlflow / "mlflow.db")
    return root


def test_a_promotion_in_the_registry_is_the_next_answer_and_its_absence_is_told(
    root: Path, tmp_path: Path
) -> None:
    example = tmp_path / "example"
    example.mkdir()
    for name in ("input", "output"):
        pq.write_table(pa.table({name: ["a", "b"]}), example / f"{name}.parquet")
    registry, versions = Registry(State(root)), {}
    for first in ("p07", "p21"):
        manifest = popular_first(first, tmp_path / first)
        versions[first] = register(registry, tmp_path / first, example)
        assert versions[first].manifest == manifest
    front = open_front(root)
    front.follower.SECONDS = 0.05
    with serving(front) as address:

        def listed() -> dict[str, Any]:
            return call("POST", f"{address}/api/fold-in", {"items": []})

        def faults() -> dict[str, str]:
            return call("GET", f"{address}/api/state")["faults"]

        with pytest.raises(Refused, match="no champion yet"):
            listed()
        registry.crown("recommender", versions["p07"], None)
        poll(lambda: not faults(), "the first champion", SECONDS)
        assert listed()["champion"] == versions["p07"].manifest
        assert listed()["items"][0]["id"] == "p07"

        registry.crown("recommender", versions["p21"], versions["p07"])
        new = versions["p21"].manifest
        poll(lambda: listed()["champion"] == new, "the promoted champion", SECONDS)
        assert listed()["items"][0]["id"] == "p21" and not faults()

        rename(root, "registered_models", "away")
        poll(faults, "the fault", SECONDS)
        why = faults()["recommender"]
        assert "is away or refuses" in why
        with urllib.request.urlopen(address) as answer:
            assert why.splitlines()[0] in html.unescape(answer.read().decode())
        assert (listed()["champion"], listed()["items"][0]["id"]) == (new, "p21")

        rename(root, "away", "registered_models")
        registry.crown("recommender", versions["p07"], versions["p21"])
        poll(lambda: listed()["items"][0]["id"] == "p07" and not faults(), "the rollback", SECONDS)

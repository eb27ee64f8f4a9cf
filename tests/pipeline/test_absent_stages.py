"""The stages that cut and check, on a small shop that lacks tables."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.harness.absent import absence, write_placeholder
from pipelines.harness.stage import Stage
from pipelines.ingest_pictures import ingest_pictures
from pipelines.ingest_shop import ingest_shop
from pipelines.split import split
from pipelines.validate import validate
from tests.data.shops import INPUTS, SIZES, Shop, make_shop, tables

WHY = "this shop has no such table"


@pytest.fixture
def shop(tmp_path: Path, migrated_database: Path) -> Shop:
    made = make_shop(tmp_path / "shop", migrated_database)
    made.set("split", **SIZES)
    return made


def lack(shop: Shop, *names: str) -> None:
    for name in names:
        write_placeholder(shop.root / "data" / INPUTS[name] / f"{name}.parquet", WHY)
        write_placeholder(shop.root / "data" / f"validate-{name}" / "table.parquet", WHY)


def figures(shop: Shop, stage: Stage, instance: str | None = None) -> dict[str, Any]:
    assert shop.run(stage, instance) == 0
    name = f"{stage.section_name}-{instance}" if instance else stage.section_name
    found: dict[str, Any] = json.loads((shop.root / f"data/{name}/metrics.json").read_text())
    return found


def test_a_stage_that_is_off_ends_well_and_says_so_everywhere(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    lack(shop, "users")
    found = figures(shop, validate, "users")
    assert (found["status"], found["why"]) == ("off", WHY)
    assert capsys.readouterr().out.strip().endswith(f"validate-users: off: {WHY}")
    record = json.loads((shop.root / ".vitrine/records/validate-users.json").read_text())
    assert record["status"] == "off"
    for out in ("table.parquet", "quarantine.parquet"):
        assert absence(shop.root / "data/validate-users" / out) == WHY
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{shop.root}/.vitrine/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("vitrine").experiment_id
    (run,) = client.search_runs([experiment], "tags.stage = 'validate-users'")
    assert run.info.status == "FINISHED"
    assert (run.data.tags["status"], run.data.tags["why"]) == ("off", WHY)


def test_a_source_may_be_none_and_a_shop_may_have_events_alone(shop: Shop) -> None:
    shop.set("ingest-pictures", source="none")
    found = figures(shop, ingest_pictures)
    assert found["status"] == "off"
    assert found["why"] == "params.yaml (ingest-pictures.source: none) has no images"
    shop.set("ingest-shop", source="made-events")
    found = figures(shop, ingest_shop)
    assert found["status"] == "done" and found["rows_out"] > 0
    assert set(found["absent"]) == {"products.parquet", "users.parquet"}


def test_events_are_checked_without_a_catalogue(shop: Shop) -> None:
    events = tables()["interactions"]
    shop.ingested("interactions", events)
    lack(shop, "products")
    found = figures(shop, validate, "interactions")
    assert found["rows_out"] == events.num_rows
    assert found["without"] == {"validate-products/table.parquet": WHY}


def test_events_alone_are_cut_with_the_items_and_users_that_they_name(shop: Shop) -> None:
    events = tables()["interactions"]
    shop.validated("interactions", events)
    lack(shop, "products", "users", "images", "reviews", "questions")
    found = figures(shop, split)
    assert set(found["absent"]) == {"recognition", "attributes", "sentiment", "answers"}
    products = shop.read("split/recommending/products.parquet")
    assert products.column_names == ["item_id", "title"]
    assert products["item_id"].to_pylist() == sorted(set(events["item_id"].to_pylist()))
    users = shop.read("split/recommending/users.parquet")
    assert users["user_id"].to_pylist() == sorted(set(events["user_id"].to_pylist()))
    assert users.schema.metadata[b"vitrine.source"] == b"made interactions"


def test_products_without_pictures_and_one_column_keep_their_titles(shop: Shop) -> None:
    shop.validated("products", tables()["products"].drop_columns(["department"]))
    lack(shop, "interactions", "users", "images", "reviews", "questions")
    found = figures(shop, split)
    assert set(found["absent"]) == {"recommending", "recognition", "sentiment", "answers"}
    assert "products.department" in found["without"]
    train = shop.read("split/attributes/train.parquet")
    assert train.column_names == ["item_id", "title", "image_key", "category", "brand", "bytes"]
    assert train["bytes"].null_count == train.num_rows > 0


def test_labels_that_nobody_gave_switch_off_what_would_learn_them(shop: Shop) -> None:
    made = tables()
    shop.validated("images", made["images"].drop_columns(["label"]))
    shop.validated("reviews", made["reviews"].drop_columns(["label"]))
    shop.validated("products", made["products"].select(["item_id", "title"]))
    lack(shop, "interactions", "users", "questions")
    found = figures(shop, split)
    tasks = {"recommending", "recognition", "attributes", "sentiment", "answers"}
    assert set(found["absent"]) == tasks and found["rows_out"] == 0
    # What is said of products needs no label, but the moments of the cut.
    assert absence(shop.root / "data/split/cut.json") is None
    assert absence(shop.root / "data/split/recognition") == "no picture has a label"
    assert "has a label" in (absence(shop.root / "data/split/sentiment") or "")
    assert "split.attributes" in (absence(shop.root / "data/split/attributes") or "")


def test_a_shop_of_nothing_is_off_without_a_cut(shop: Shop) -> None:
    lack(shop, *tables())
    found = figures(shop, split)
    assert found["status"] == "off" and found["rows_in"] == 0


def test_one_of_two_files_of_reviews_is_enough(shop: Shop) -> None:
    reviews = tables()["reviews"]
    shop.put("reviews", reviews, "ingest-reviews-zh", "reviews.parquet")
    write_placeholder(shop.root / "data/ingest-reviews/reviews.parquet", WHY)
    found = figures(shop, validate, "reviews")
    assert found["rows_out"] == reviews.num_rows
    assert isinstance(shop.read("validate-reviews/table.parquet"), pa.Table)

"""Features from reviews: what they hold, that nothing later or flagged enters, and when there are none."""

import datetime
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from models.encoders.text import TextEncoder
from pipelines.harness.absent import absence
from pipelines.harness.state import State
from pipelines.review_features import OUTS, review_features
from pipelines.review_trust import review_trust
from pipelines.text_features import text_features
from pipelines.training.recommending import item_content
from tests.data.shops import START, Shop, make_shop, tables

DAY = datetime.timedelta(days=1)
CUT = START + 30 * DAY
ROWS = [
    ("a", "p000", "u00", 5.0, 1, "The handle is a pleasure."),
    ("b", "p000", "u01", 2.0, 2, "Broke after a week."),
    ("c", "p000", "u02", 2.0, 3, "The lid leaks."),
    ("d", "p001", "u00", 4.0, 4, "Looks fine."),
    ("e", "p001", None, 3.0, 5, "As described."),
    ("f", "nowhere", "u00", 1.0, 6, "Of a product that the shop has not."),
    ("g", "p001", "u03", 1.0, 31, "Written later."),
    ("h", "p001", "u03", 1.0, None, "Written some day."),
]
COPY = "The handle is a pleasure to hold, whatever others say of it, and it never once came off."


def reviews(rows: list[tuple[object, ...]]) -> pa.Table:
    names = ("review_id", "item_id", "user_id", "rating", "timestamp", "text")
    table = {name: [row[at] for row in rows] for at, name in enumerate(names)}
    days = [None if day is None else START + day * DAY for day in table["timestamp"]]
    table["timestamp"] = pa.array(days, pa.timestamp("us", "UTC"))
    return pa.table(table)


@pytest.fixture
def shop(tmp_path: Path, migrated_database: Path) -> Shop:
    made = make_shop(tmp_path / "shop", migrated_database)
    for name in ("products", "users"):
        made.put(name, tables()[name], "split/recommending")
    cut = {"valid_from": CUT.isoformat(), "test_from": None, "end": None}
    for name in ("recommending/cut.json", "cut.json"):
        (made.root / "data/split" / name).write_text(json.dumps(cut))
    made.validated("products", tables()["products"])
    return made


def run(shop: Shop, rows: list[tuple[object, ...]]) -> None:
    shop.validated("reviews", reviews(rows))
    assert shop.run(review_trust) == 0
    assert shop.run(text_features) == 0
    assert shop.run(review_features) == 0


def outs(shop: Shop) -> dict[str, bytes]:
    made = shop.bytes_of("review-features")
    return {name: made[name] for name in OUTS}


def test_products_and_users_are_what_their_reviews_say(shop: Shop) -> None:
    run(shop, ROWS)
    items = {row["item_id"]: row for row in shop.read("review-features/items.parquet").to_pylist()}
    assert set(items) == {"p000", "p001"}
    first = items["p000"]
    assert (first["reviews"], first["stars"], first["praise"], first["blame"]) == (3, 3.0, 1, 2)
    assert first["low"] < first["share"] == 0.333333 < first["high"]
    texts = TextEncoder.hashing(256).encode([row[5] for row in ROWS[:3]])
    np.testing.assert_allclose(first["vector"], texts.mean(0), atol=2e-3)
    users = {row["user_id"]: row for row in shop.read("review-features/users.parquet").to_pylist()}
    assert set(users) == {"u00", "u01", "u02"}
    assert (users["u00"]["reviews"], users["u00"]["compared"]) == (2, 2)
    assert users["u00"]["against"] == pytest.approx(((5 - 2) + (4 - 3)) / 2)
    assert users["u01"]["against"] == pytest.approx(2 - 3.5)


def test_what_is_written_later_changes_no_byte(shop: Shop) -> None:
    run(shop, ROWS)
    before = outs(shop)
    run(
        shop,
        [
            *ROWS,
            ("i", "p000", "u05", 5.0, 30, "Just at the cut."),
            ("j", "p003", "u00", 1.0, 40, COPY),
        ],
    )
    assert outs(shop) == before
    run(shop, [*ROWS, ("i", "p000", "u05", 5.0, 29, "Just before the cut.")])
    assert outs(shop) != before


def test_flagged_reviews_are_left_out(shop: Shop) -> None:
    copies = [(f"k{at}", "p002", f"u1{at}", 5.0, 7 + at, COPY) for at in range(4)]
    run(shop, [*ROWS, *copies])
    items = {row["item_id"]: row for row in shop.read("review-features/items.parquet").to_pylist()}
    assert items["p002"]["reviews"] == 1


def test_reviews_of_other_products_are_no_source(shop: Shop) -> None:
    run(shop, [row for row in ROWS if row[1] == "nowhere"])
    for name in ("reviews", "items", "users"):
        why = absence(shop.root / f"data/review-features/{name}.parquet")
        assert why and "product of the shop" in why


def test_recommenders_read_reviews_as_of_any_day(shop: Shop) -> None:
    run(shop, ROWS)

    class Asked:
        """What `item_content` asks of a run."""

        name, state = "content", State(shop.root)

        def input(self, path: str) -> Path:
            return shop.root / "data" / path

        optional = input

    content = item_content(Asked())  # type: ignore[arg-type]
    assert set(content.dense) == {"text"} and content.told is not None
    start = START.timestamp() / 86_400
    known = [np.flatnonzero(content.told.until(start + day, 60).any(1)).size for day in (0, 2, 9)]
    assert known == [0, 1, 2]

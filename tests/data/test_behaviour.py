"""The stage of behaviour: what is written is what a run from nothing writes, and parts that stay are not read again."""

import datetime
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines.behaviour import behaviour
from pipelines.harness.absent import absence, write_placeholder
from tests.data.shops import START, Shop, changed, make_shop, tables

DAY = datetime.timedelta(days=1)
SPANNING = "over midnight"


def events() -> pa.Table:
    """Sixty days of events, with prices and orders; one of these goes on in another month."""
    made = tables()["interactions"]
    rows = made.num_rows
    prices = [None if at % 7 == 0 else at % 90 / 10 for at in range(rows)]
    names = [SPANNING if at in (0, rows - 1) else f"o{at // 3}" for at in range(rows)]
    made = made.append_column("price", pa.array(prices, pa.float64()))
    made = made.append_column("order_id", pa.array(names, pa.string()))
    return changed(made, "user_id", dict.fromkeys((0, rows - 1), "u00"))


def put(shop: Shop, rows: pa.Table, until: int) -> None:
    """Leave events and the moments of the cut where the stages before leave them: a part a ten days, in place where it is as it was."""
    folder = shop.root / "data/validate-interactions/table.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    for at in range(6):
        start = START + 10 * at * DAY
        times = rows["timestamp"]
        inside = pc.and_(
            pc.greater_equal(times, pa.scalar(start)), pc.less(times, pa.scalar(start + 10 * DAY))
        )
        part = rows.filter(inside)
        if part.num_rows:
            pq.write_table(part, folder / f"{start:%Y-%m-%d}.parquet")
    path = shop.root / "data/split/recommending/cut.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"valid_from": (START + until * DAY).isoformat()}))


def shelved(shop: Shop) -> dict[str, int]:
    """Where the sums of each part lie on the disk."""
    home = shop.root / ".vitrine/shelf/behaviour"
    return {path.parent.name: path.stat().st_ino for path in home.glob("*/pairs.parquet")}


@pytest.fixture
def shop(tmp_path: Path, migrated_database: Path) -> Shop:
    made = make_shop(tmp_path / "shop", migrated_database)
    made.validated("products", tables()["products"])
    return made


def test_a_part_that_stays_is_not_read_again_and_the_figures_are_those_of_all(shop: Shop) -> None:
    rows = events()
    early = rows.filter(pc.less(rows["timestamp"], pa.scalar(START + 50 * DAY)))
    put(shop, early, until=35)
    assert shop.run(behaviour) == 0
    before = shelved(shop)
    assert len(before) == 4  # the last of them up to the cut; the fifth lies after it
    first = shop.bytes_of("behaviour")
    late = changed(rows, "item_id", {5: "p059"})
    put(shop, late, until=60)
    assert shop.run(behaviour) == 0
    now = shelved(shop)
    assert len(now) == 6
    # The second and the third part: the first was changed, the fourth is told to its end now.
    assert {name for name in now if now[name] == before.get(name)} == set(now) & set(before)
    assert len(set(now) & set(before)) == 2
    grown = shop.bytes_of("behaviour")
    shutil.rmtree(shop.root / ".vitrine/shelf")
    assert shop.run(behaviour) == 0
    assert shop.bytes_of("behaviour") == grown
    users = {row["user_id"]: row for row in shop.read("behaviour/users.parquet").to_pylist()}
    own = [row for row in late.to_pylist() if row["user_id"] == "u00"]
    assert users["u00"]["events"] == len(own)
    assert users["u00"]["orders"] == len({row["order_id"] for row in own})
    assert sum(row["order_id"] == SPANNING for row in own) == 2
    shutil.rmtree(shop.root / "data/validate-interactions")
    put(shop, rows.filter(pc.less(rows["timestamp"], pa.scalar(START + 35 * DAY))), until=35)
    assert shop.run(behaviour) == 0
    assert shop.bytes_of("behaviour") == first  # which knew later events


def test_without_products_figures_have_no_favourites_and_without_events_there_are_none(
    shop: Shop,
) -> None:
    put(shop, events(), until=60)
    shutil.rmtree(shop.root / "data/validate-products")
    write_placeholder(shop.root / "data/validate-products/table.parquet", "no products")
    assert shop.run(behaviour) == 0
    names = shop.read("behaviour/items.parquet").column_names
    assert "price_level" in names and "category" not in names
    shutil.rmtree(shop.root / "data/validate-interactions")
    write_placeholder(shop.root / "data/validate-interactions/table.parquet", "no events")
    assert shop.run(behaviour) == 0
    assert absence(shop.root / "data/behaviour/users.parquet") == "no events"

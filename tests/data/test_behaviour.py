"""The stage of behaviour: what is written is what a run from nothing writes, and only what was touched is made again."""

import datetime
import json
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from pipelines import engine
from pipelines.behaviour import BehaviourParams, behaviour
from pipelines.harness.absent import absence, write_placeholder
from pipelines.harness.graph import Node
from pipelines.harness.params import Tables
from pipelines.harness.shelf import Shelf
from pipelines.harness.state import State
from pipelines.history import state
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


IDS = [f"p{at}" for at in range(4)]
ROWS = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from([*IDS, "none"]),
    st.integers(0, 9),  # hours of the part's day
    st.sampled_from([None, 0.0, 1.0, 1.04, 9.99, 1e6]),
    st.sampled_from([None, "x", "y"]),
)
CELLS = st.sampled_from(["tea", "pot", None])
STEPS = st.lists(
    st.tuples(
        # Parts that come, change or go (None), the day of the cut and its hour, the products where they change, and where
        # the run before is killed.
        st.dictionaries(st.integers(1, 3), st.none() | st.lists(ROWS, min_size=1, max_size=5)),
        st.tuples(st.integers(1, 4), st.integers(0, 9)),
        st.none() | st.lists(st.tuples(CELLS, CELLS), min_size=4, max_size=4),
        st.sampled_from([None, None, (engine, "write"), (state, "put"), (Shelf, "tidy")]),
    ),
    min_size=2,
    max_size=4,
)


class Killed(Exception):
    """In the place of a signal."""


class Project:
    """A folder with the stage's inputs, and runs of it without the harness around it."""

    def __init__(self, root: Path, columns: list[str]) -> None:
        self.root, self.columns = root, columns
        self.partial = root / "partial"
        for name in ("events", "partial"):
            (root / name).mkdir(parents=True)

    def part(self, day: int, rows: list[tuple[Any, ...]] | None) -> None:
        path = self.root / f"events/2024-01-{day + 1:02}.parquet"
        path.unlink(missing_ok=True)
        if rows is not None:
            users, items, hours, prices, orders = map(list, zip(*rows, strict=True))
            times = [START + day * DAY + datetime.timedelta(hours=hour) for hour in hours]
            cells = {
                "user_id": users,
                "item_id": items,
                "timestamp": pa.array(times, pa.timestamp("us", "UTC")),
                "price": pa.array(prices, pa.float64()),
                "order_id": pa.array(orders, pa.string()),
            }
            pq.write_table(pa.table(cells).select(self.columns), path)

    def products(self, cells: list[tuple[str | None, str | None]]) -> None:
        names = ("category", "brand")
        columns = {
            name: pa.array(column, pa.string())
            for name, column in zip(names, zip(*cells, strict=True), strict=True)
        }
        pq.write_table(pa.table({"item_id": IDS, **columns}), self.root / "products.parquet")

    def look(self, shelf: str, cut: tuple[int, int]) -> dict[str, bytes]:
        """One run on the inputs as they are, with what lies on a shelf; what is written, and the number of events."""
        day, hour = cut
        until = START + day * DAY + datetime.timedelta(hours=hour)
        (self.root / "cut.json").write_text(json.dumps({"valid_from": until.isoformat()}))
        inputs = {
            "validate-interactions/table.parquet": self.root / "events",
            "validate-products/table.parquet": self.root / "products.parquet",
            "split/recommending/cut.json": self.root / "cut.json",
        }
        run: Any = SimpleNamespace(
            root=self.root,
            state=State(self.root / shelf),
            name="behaviour",
            node=Node("behaviour", "", "", (), (), (), False),
            threads=1,
            tables=Tables(),
            say=lambda text: None,
            input=inputs.__getitem__,
            optional=lambda path: inputs[path] if inputs[path].exists() else None,
            output=self.partial.joinpath,
            rows_out=0,
        )
        for path in self.partial.iterdir():
            path.unlink()
        behaviour.function(run, BehaviourParams(memory_gb=0.5))
        found = {path.name: path.read_bytes() for path in self.partial.iterdir()}
        return found | {"rows": str(run.rows_in).encode()}


@example(
    # The same events, but for the order.
    [({1: [("a", "p0", 0, 1.0, name)]}, (4, 0), None, None) for name in ("x", "y")],
    ["price", "order_id"],
    False,
)
@given(
    STEPS,
    st.sampled_from([["price", "order_id"], ["price"], ["order_id"], []]),
    st.booleans(),
)
@settings(
    max_examples=5,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_however_events_come_the_figures_are_those_of_a_run_from_nothing(
    steps: list[Any], told: list[str], known: bool
) -> None:
    """Parts come, change and go, the cut moves to and fro, the products change, and runs are killed."""
    with tempfile.TemporaryDirectory() as place:
        project = Project(Path(place), ["user_id", "item_id", "timestamp", *told])
        project.part(0, [("a", "p0", 0, 1.0, "x"), ("b", "p1", 0, 2.0, None)])
        if known:
            project.products([("tea", None), ("pot", None), ("pot", "m"), (None, None)])
        for at, (parts, cut, products, fault) in enumerate(steps):
            for day, rows in parts.items():
                project.part(day, rows)
            if known and products:
                project.products(products)
            if fault:
                with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
                    patch.setattr(*fault, Mock(side_effect=Killed))
                    project.look("grown", cut)
            grown = project.look("grown", cut)
            assert grown == project.look(f"fresh-{at}", cut)
        kept = list((project.root / "grown/.vitrine/shelf/behaviour").iterdir())
        assert len([path for path in kept if path.name.startswith("figures-")]) == 1
        assert len(kept) <= 1 + len(list((project.root / "events").iterdir()))


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
    assert "price" in names and not {"price_level", "category"} & set(names)
    shutil.rmtree(shop.root / "data/validate-interactions")
    write_placeholder(shop.root / "data/validate-interactions/table.parquet", "no events")
    assert shop.run(behaviour) == 0
    assert absence(shop.root / "data/behaviour/users.parquet") == "no events"

"""New data arriving: what is written is what a run from nothing writes, byte for byte, and only what is new is made."""

import csv
import datetime
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipelines import engine
from pipelines.engine import parts
from pipelines.harness.graph import Node
from pipelines.harness.shelf import Shelf
from pipelines.harness.state import State
from pipelines.ingest_shop import ingest_shop
from pipelines.sources import events
from pipelines.sources.events import Events
from pipelines.sources.shop import ShopParams
from pipelines.validate import validate
from pipelines.validation.judge import Judge
from tests.data.shops import Shop, make_shop

COLUMNS = ("user", "item", "time", "kind", "count", "order")
MAPPING: dict[str, Any] = {
    "format": "csv",
    "columns": {
        "user_id": "user",
        "item_id": "item",
        "timestamp": "time",
        "event": "kind",
        "value": "count",
        "order_id": "order",
    },
    "unreadable": "empty",
}
ROWS = st.tuples(
    st.sampled_from("ab"),
    st.sampled_from(["p1", "p2"]),
    st.sampled_from(
        ["2023-12-31 23:59:30", "2024-01-01 00:00:10", "2024-01-01 00:00:40", "2024-02-01", "late"]
    ),
    st.sampled_from(["purchase", "view"]),
    st.sampled_from(["1", "-1", "2", ""]),
    st.sampled_from(["x", ""]),
)
STEPS = st.lists(
    st.dictionaries(
        st.integers(0, 3), st.none() | st.lists(ROWS, max_size=6), min_size=1, max_size=3
    ),
    min_size=2,
    max_size=4,
)
"""What happens to the folder of files, one look after the other: a file comes, changes, or goes (None)."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of few rows, batches of one file, no data docs."""
    monkeypatch.setattr(parts, "ROWS", 6)
    monkeypatch.setattr(events, "BATCH_BYTES", 1)
    monkeypatch.setattr(Judge, "publish", lambda judge, folder: folder)


def write(folder: Path, name: object, rows: list[tuple[str, ...]]) -> None:
    with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerows([COLUMNS, *rows])


def look(root: Path, shop: ShopParams, out: Path, until: Any) -> tuple[dict[str, bytes], dict]:
    """One look at the files as they are: what is written, and the figures."""
    figures: dict[str, float] = {}
    run: Any = SimpleNamespace(
        root=root,
        state=State(root),
        name="ingest-shop",
        node=Node("ingest-shop", "", "", (), (), (), False),
        measure=figures.__setitem__,
        say=lambda text: None,
    )
    shutil.rmtree(out, ignore_errors=True)
    with engine.engine(1, 1.0, root / "spill") as connection:
        found = Events(run, connection, shop, root / "spill")
        if until:
            found = found.before(until)
        found.write(out, list(MAPPING["columns"]), {b"vitrine.source": b"made"})
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}, figures


@given(
    STEPS, st.booleans(), st.sampled_from([0, 1]), st.sampled_from([None, "2024-01-01T00:00:30"])
)
@settings(
    max_examples=5,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_however_files_come_the_parts_are_those_of_a_run_from_nothing(
    steps: list[dict[int, Any]], distinct: bool, bots_above: int, until: str | None
) -> None:
    moment = datetime.datetime.fromisoformat(f"{until}+00:00") if until else None
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "files"
        folder.mkdir()
        part = {**MAPPING, "files": [str(folder)], "distinct": distinct}
        shop = ShopParams(interactions=[part], bots_above=bots_above)
        write(folder, "first", [("a", "p1", "2024-01-01", "view", "", "")])
        for step in steps:
            for number, rows in step.items():
                (folder / f"{number}.csv").unlink(missing_ok=True)
                if rows is not None:
                    write(folder, number, rows)
            found = look(Path(place) / "grown", shop, Path(place) / "out", moment)
        whole = look(Path(place) / "fresh", shop, Path(place) / "out", moment)
    assert found == whole


def shop_of(root: Path, database: Path, folder: Path) -> Shop:
    """A project that reads the files of a folder."""
    shop = make_shop(root, database)
    shop.set("validate", max_quarantine_share=0.6)
    params, graph = shop.root / "params.yaml", shop.root / "dvc.yaml"
    document = yaml.safe_load(params.read_text())
    document["shop"] = {
        "interactions": [{**MAPPING, "files": [str(folder / "events")]}],
        "products": [
            {
                "format": "csv",
                "files": [str(folder / "products.csv")],
                "columns": {"item_id": "id", "title": "title"},
            }
        ],
        "bots_above": 3,
    }
    params.write_text(yaml.safe_dump(document))
    stages = yaml.safe_load(graph.read_text())
    stages["stages"]["ingest-shop"]["deps"] += [
        str(folder / "events"),
        str(folder / "products.csv"),
    ]
    graph.write_text(yaml.safe_dump(stages))
    return shop


FOLDERS = ("ingest-shop", "validate-interactions")


def gated(shop: Shop) -> dict[str, dict[str, bytes]]:
    """Ingest and hold against the contract; what is written."""
    assert shop.run(ingest_shop) == 0
    for name in ("products", "interactions"):
        assert shop.run(validate, name) == 0
    return {name: shop.bytes_of(name) for name in FOLDERS}


def places(shop: Shop) -> dict[str, int]:
    """Where the content of each part lies on the disk."""
    return {
        f"{name}/{path.stem}": path.stat().st_ino
        for name, table in zip(FOLDERS, ("interactions", "table"), strict=True)
        for path in (shop.root / "data" / name / f"{table}.parquet").iterdir()
    }


def day(month: int, number: int, count: int = 8) -> list[tuple[str, ...]]:
    return [
        (
            f"u{at % 3}",
            f"p{at % 4}",
            f"2024-{month:02}-{number:02} 10:{at:02}:00",
            "purchase",
            "1",
            "",
        )
        for at in range(count)
    ]


def test_a_day_more_leaves_the_other_parts_as_they_are(
    tmp_path: Path, migrated_database: Path
) -> None:
    """A day comes, then what reaches back: a late event, a program, a refund, a product that was unknown."""
    files = tmp_path / "files"
    (files / "events").mkdir(parents=True)
    shop = shop_of(tmp_path / "grown", migrated_database, files)

    def products(*names: str) -> None:
        rows = "".join(f"{name},Good {name}\n" for name in names)
        (files / "products.csv").write_text(f"id,title\n{rows}")

    products("p0", "p1", "p2")
    write(files / "events", "january", [*day(1, 5), *day(1, 6), day(1, 6)[0]])
    write(files / "events", "february", [("u9", "p1", "2024-02-02", "purchase", "2", "order")])
    first = gated(shop)
    assert set(first["ingest-shop"]) >= {
        f"interactions.parquet/{name}.parquet" for name in ("2024-01-05", "2024-01-06", "2024-02")
    }
    before = places(shop)

    def remade(made: dict[str, dict[str, bytes]]) -> dict[str, set[str]]:
        """The parts that a run made anew, by the stage; it wrote what a run from nothing writes."""
        nonlocal before
        fresh = tmp_path / f"fresh-{len(list(tmp_path.iterdir()))}"
        assert made == gated(shop_of(fresh, migrated_database, files))
        old, before = before, places(shop)
        new = {tuple(name.split("/")) for name, place in before.items() if old.get(name) != place}
        return {stage: {part for at, part in new if at == stage} for stage in FOLDERS}

    clicks = [("u5", "p1", f"2024-03-02 10:00:{at}", "view", "", "") for at in range(10, 20)]
    write(files / "events", "march", [*day(3, 1), *clicks])
    late = [(user, "p1", "2024-01-05 11:00", "view", "", "") for user in ("u5", "u6")]
    write(files / "events", "late", late)
    sent_back = ("u9", "p1", "2024-04-03", "purchase", "-2", "order")
    unknown = ("u1", "p9", "2024-05-04", "view", "", "")
    write(files / "events", "april", [sent_back, unknown])
    new = {"2024-01-05", "2024-02", "2024-03-01", "2024-03-02", "2024-04", "2024-05"}
    assert remade(gated(shop)) == dict.fromkeys(FOLDERS, new)
    products("p0", "p2", "p9")
    touched = {"2024-01-05", "2024-01-06", "2024-03-01", "2024-05"}
    made = gated(shop)
    assert remade(made) == {FOLDERS[0]: set(), FOLDERS[1]: touched}
    (shop.root / ".vitrine/shelf/ingest-shop").rename(tmp_path / "shelf")
    assert gated(shop) == made
    now = places(shop)
    assert {name for name in now if now[name] == before[name]} == {
        name for name in now if name.startswith(FOLDERS[1])
    }


def test_what_was_touched_on_the_shelf_is_made_anew(tmp_path: Path) -> None:
    run: Any = SimpleNamespace(
        root=tmp_path, state=State(tmp_path), name="a", node=Node("a", "", "", (), (), (), False)
    )
    rows = tmp_path / "rows"
    rows.write_text("rows")
    shelf = Shelf(run)
    name = shelf.name("part", 1)
    shelf.put(name, {"rows": rows}, {"n": 1})
    found = Shelf(run).find(name)
    assert found and found.note == {"n": 1} and found.file("rows").read_text() == "rows"
    rows.write_text("rowz")  # in place, as nobody should
    assert Shelf(run).find(name) is None
    assert Shelf(run).find(shelf.name("part", 2)) is None
    shelf = Shelf(run)
    stays = shelf.put(shelf.name("part", 3), {"rows": rows}, {})
    shelf.leave(shelf.put(shelf.name("part", 4), {"rows": rows}, {}))
    shelf.tidy()
    assert list((tmp_path / ".vitrine/shelf/a").iterdir()) == [stays.folder]
    Shelf(run).tidy()
    assert not list((tmp_path / ".vitrine/shelf/a").iterdir())

"""Accepted findings of the audit: from its table into the corrections, and from these into the products."""

from pathlib import Path

import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.accept import accept, main
from pipelines.audit import schema
from pipelines.harness import BadData, MissingResource
from pipelines.ingest_shop import ingest_shop
from pipelines.own_tables import corrections
from pipelines.own_tables.corrections import COLUMNS, FILE, Correction
from tests.data.shops import Shop, make_shop


@pytest.fixture
def shop(tmp_path: Path, migrated_database: Path) -> Shop:
    made = make_shop(tmp_path / "shop", migrated_database)
    assert made.run(ingest_shop) == 0
    return made


def audited(shop: Shop, *findings: dict[str, object]) -> Path:
    """An audit's table that holds just these findings."""
    path = shop.root / "data" / "audit" / "audit.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(findings), schema()), path)
    return path


def finding(item: str, field: str, value: str | None, proposed: str, sure: float = 0.9) -> dict:
    kind = "value disagrees" if value else "value proposed"
    names = ("kind", "item_id", "field", "value", "proposed", "confidence", "why")
    told = (kind, item, field, value, proposed, sure, "what looks like it has another value")
    return dict(zip(names, told, strict=True))


def products(shop: Shop) -> pd.DataFrame:
    return shop.read("ingest-shop/products.parquet").to_pandas().set_index("item_id")


def test_what_is_accepted_is_in_the_next_products_and_no_other_cell(shop):
    before = products(shop)
    one, other = before.index[:2]
    audit = audited(
        shop,
        finding(one, "brand", before.loc[one, "brand"], "Renamed"),
        finding(other, "brand", before.loc[other, "brand"], "Unsure", 0.6),
    )
    assert main([str(audit), "--least", "0.8"], shop.root) == 0
    assert shop.run(ingest_shop) == 0
    after = products(shop)
    assert after.loc[one, "brand"] == "Renamed"
    after.loc[one, "brand"] = before.loc[one, "brand"]
    pd.testing.assert_frame_equal(after, before)
    assert accept(shop.root, audit, [2], 0.0, ()) == 1
    assert [line.value for line in corrections.read(shop.root / FILE)] == ["Renamed", "Unsure"]


def test_a_correction_of_a_correction_keeps_what_the_source_said(shop):
    one = products(shop).index[0]
    said = products(shop).loc[one, "brand"]
    accept(shop.root, audited(shop, finding(one, "brand", said, "First")), [1], 0.0, ())
    accept(shop.root, audited(shop, finding(one, "brand", "First", "Second")), [1], 0.0, ())
    (kept,) = corrections.read(shop.root / FILE)
    assert (kept.value, kept.former) == ("Second", said)
    accept(shop.root, audited(shop, finding(one, "brand", "Second", said)), [1], 0.0, ())
    assert corrections.read(shop.root / FILE) == []


def test_what_proposes_nothing_for_a_product_is_refused(shop, capsys):
    audit = audited(
        shop,
        {"kind": "blank picture", "item_id": products(shop).index[0], "confidence": 1.0},
        finding("picture of nothing", "type", "hat", "shoe"),
    )
    for words, cause in (("1", "row 1"), ("2", "row 2"), ("3", "no row 3"), ("x", "name rows")):
        assert main([str(audit), "--rows", words], shop.root) != 0
        assert cause in capsys.readouterr().err
    assert accept(shop.root, audit, [], 0.0, ("value disagrees",)) == 0
    with pytest.raises(MissingResource, match="dvc repro audit"):
        accept(shop.root, shop.root / "absent.parquet", [1], 0.0, ())


HEAD = ",".join(COLUMNS) + "\n"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("item,field\n", "columns must be"),
        (HEAD + "p1,brand,new\n", "row 1: 3 cells"),
        (HEAD + "p1,brand,,old,why\n", "row 1, column value: empty"),
        (HEAD + "p1,brand,a,,\np1,brand,b,,\n", "row 2: brand of p1 is corrected in row 1"),
        (
            HEAD + "p1,brand,a,,\np1,colour,red,,\n",
            "row 2, column field: products have no 'colour'",
        ),
        (HEAD + "p1,price,dear,1,\n", "row 1, column value: 'dear' can't stand in price"),
        (HEAD + "p1,available,no,,\n", "write true or false"),
    ],
)
def test_a_row_that_cannot_be_followed_is_named_with_its_cure(tmp_path, text, cause):
    (tmp_path / FILE).write_text(text)
    table = pa.table({"item_id": ["p1"], "brand": ["old"], "price": [1.0], "available": [True]})
    with pytest.raises(BadData, match=cause):
        corrections.laid_over(Log(), table, corrections.read(tmp_path / FILE))


class Log:
    """What a run keeps of figures and lines."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}
        self.lines: list[str] = []

    def measure(self, name: str, value: float) -> None:
        self.figures[name] = value

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize("lazy", [False, True])
def test_the_source_stays_the_master(lazy):
    log = Log()
    table = pa.table(
        {
            "item_id": ["p1", "p2", "p3", "p4"],
            "brand": ["old", None, "newer", "x"],
            "price": [1.0, 2.0, 3.0, 4.0],
        }
    )
    accepted = [
        Correction("p1", "brand", "new", "old", ""),
        Correction("p1", "price", "1.5", "1.0", ""),
        Correction("p2", "brand", "filled", "", ""),
        Correction("p3", "brand", "new", "old", ""),
        Correction("p4", "brand", "x", "old", ""),
        Correction("gone", "brand", "new", "old", ""),
    ]
    connection = ibis.duckdb.connect()
    connection.con.register("given", table)
    given = connection.table("given") if lazy else table
    found = corrections.laid_over(log, given, accepted)
    frame = found.to_pandas() if isinstance(found, pa.Table) else found.execute()
    frame = frame.sort_values("item_id")
    assert frame["brand"].tolist() == ["new", "filled", "newer", "x"]
    assert frame["price"].tolist() == [1.5, 2.0, 3.0, 4.0]
    assert log.figures == {"corrections_made": 3, "corrections_left": 2}
    assert len(log.lines) == 2 and "newer" in log.lines[0] and "no such product" in log.lines[1]

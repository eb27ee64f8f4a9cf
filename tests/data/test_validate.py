"""The gate sets aside exactly the rows that break a rule, names them, and stops where there are too many."""

import datetime
import json
import re
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.harness import Bug
from pipelines.validate import validate
from pipelines.validation.judge import Judge
from pipelines.validation.suites import Rule
from tests.data.shops import INPUTS, START, Shop, changed, make_shop, picture, tables

FUTURE = datetime.datetime(2090, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def shop(tmp_path: Path, migrated_database: Path) -> Shop:
    made = make_shop(tmp_path / "shop", migrated_database)
    made.set("validate", max_quarantine_share=0.5)
    return made


@pytest.fixture
def without_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the data docs out: half of the time of a small table."""
    monkeypatch.setattr(Judge, "publish", lambda judge, folder: folder)


def gate(shop: Shop, name: str, table: pa.Table) -> int:
    """Ingest `table`, with the tables that it refers to, and hold it against the contract."""
    for other in {"interactions": ["products"], "questions": ["reviews"]}.get(name, []):
        shop.validated(other, tables()[other])
    if name == "reviews":
        empty = tables()["reviews"].slice(0, 0).drop_columns(["item_id", "group_id"])
        shop.put("reviews", empty, "ingest-reviews-zh")
    shop.ingested(name, table)
    return shop.run(validate, name)


def aside(shop: Shop, name: str) -> list[tuple[int, str, str]]:
    lines = shop.read(f"validate-{name}/quarantine.parquet").to_pylist()
    assert {line["file"] for line in lines} <= {f"data/{INPUTS[name]}/{name}.parquet"}
    return [(line["row"], line["column"], line["rule"]) for line in lines]


def planted(name: str) -> tuple[pa.Table, list[tuple[int, str, str]]]:
    """A table with one fault for each rule of it, and the lines that the quarantine must hold."""
    table = tables()[name]
    long_ago = START.replace(year=1912)
    faults: dict[str, list[tuple[str, int, object, str]]] = {
        "products": [
            ("item_id", 0, None, "given"),
            ("item_id", 1, "p005", "unique"),
            ("title", 2, "  \u3000", "not blank"),
            ("title", 3, "broken \ufffd text", "readable text"),
            ("category", 4, "a\x00b", "readable text"),
            ("price", 6, -0.01, "in range"),
            ("price", 7, float("inf"), "a number"),
            ("price", 8, float("nan"), "a number"),
            ("department", 9, "\x1b[31m", "readable text"),
        ],
        "users": [("user_id", 3, "", "not blank"), ("age", 4, "\ufffd", "readable text")],
        "interactions": [
            ("user_id", 0, None, "given"),
            ("item_id", 1, "p999", "known reference"),
            ("timestamp", 2, long_ago, "plausible time"),
            ("event", 3, "steal", "known value"),
            ("value", 4, 0.0, "in range"),
        ],
        "images": [
            ("bytes", 0, None, "given"),
            ("bytes", 1, picture(1)[:40], "decodes"),
            ("bytes", 2, b"GIF89a" + bytes(30), "decodes"),
            ("label", 3, "\ufffd", "readable text"),
        ],
        "reviews": [
            ("text", 0, "\t\n", "not blank"),
            ("language", 1, "in French", "pattern"),
            ("label", 2, "great", "known value"),
        ],
        "questions": [
            ("review_id", 1, "r999", "known reference"),
            ("end", 2, 9_999, "span in review"),
            ("start", 4, 8, "span in review"),
            ("start", 5, None, "span in review"),
            ("item_id", 7, "p000", "span in review"),
            ("start", 9, 0, "span in review"),
        ],
    }
    lines = []
    for column, row, value, rule in faults[name]:
        table = changed(table, column, {row: value})
        lines.append((row, column, rule))
    if name == "questions":
        lines = [
            (row, "start" if rule == "span in review" else at, rule) for row, at, rule in lines
        ]
        lines.append((1, "start", "span in review"))
    if name == "products":
        # An infinite price is no number, and outside any range.
        lines.append((7, "price", "in range"))
        # The doubles differ in their titles: the first by order stays.
        lines = [
            (5, "item_id", "unique") if rule == "unique" else (row, at, rule)
            for row, at, rule in lines
        ]
        table = changed(table, "brand", {1: "aaa", 5: "zzz"})
    if name == "interactions":
        table = pa.concat_tables([table, table.slice(50, 1)])
        lines.append((table.num_rows - 1, "user_id", "no duplicate"))
    return table, sorted(lines)


@pytest.mark.parametrize("name", INPUTS)
def test_each_rule_sets_aside_exactly_the_planted_rows(shop: Shop, name: str) -> None:
    table, lines = planted(name)
    assert gate(shop, name, table) == 0
    assert sorted(aside(shop, name)) == lines
    broken = {row for row, _, _ in lines}
    kept = shop.read(f"validate-{name}/table.parquet")
    assert kept.num_rows == table.num_rows - len(broken)
    assert kept.column_names == table.column_names
    valid = table.take([at for at in range(table.num_rows) if at not in broken]).to_pylist()
    assert sorted(kept.to_pylist(), key=repr) == sorted(valid, key=repr)
    assert (shop.root / ".vitrine" / "data-docs" / name / "index.html").exists()


def message(shop: Shop, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of the failure, which are at most ten."""
    lines = capsys.readouterr().err.strip().splitlines()
    at = next(at for at, line in enumerate(lines) if ": bad data: " in line)
    assert len(lines[at:]) <= 10
    return lines[at:]


def test_too_many_broken_rows_stop_the_run(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.set("validate", max_quarantine_share=0.1)
    table = changed(tables()["products"], "price", dict.fromkeys(range(20, 30), -5.0))
    table = changed(table, "title", {3: "", 4: ""})
    assert gate(shop, "products", table) == 65
    lines = message(shop, capsys)
    text = "\n".join(lines)
    assert "12 of 60 rows" in text and "20.0%" in text and "10.0%" in text
    assert "in range (10 rows)" in text
    assert "data/ingest-shop/products.parquet, column price" in text
    for row in (20, 21, 22):
        assert f"  row {row}: -5.0" in lines
    assert "also: not blank of title (2)" in text
    assert "how to fix it: price must be at least 0" in text
    assert not (shop.root / "data/validate-products").exists()
    page = shop.root / ".vitrine/data-docs/products/index.html"
    assert str(page) in text
    assert "in range" in page.read_text() and "validations/products-rows" in page.read_text()
    for path in page.parent.rglob("*.html"):
        assert not re.search(r"(src|url\(|<link)[^>]*https?:", path.read_text())


@pytest.mark.usefixtures("without_pages")
def test_cells_with_line_ends_are_told_in_a_line_each(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.set("validate", max_quarantine_share=0.1)
    ends = "broken \ufffd\nin\r\nmany\u2028lines\x85\n\n\nof\ntext"
    assert (
        gate(
            shop, "products", changed(tables()["products"], "title", dict.fromkeys(range(20), ends))
        )
        == 65
    )
    assert "  row 0: broken \ufffd in many lines of text" in message(shop, capsys)


@pytest.mark.usefixtures("without_pages")
def test_too_many_doubles_stop_the_run(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.set("validate", max_quarantine_share=0.1)
    table = tables()["users"]
    assert gate(shop, "users", pa.concat_tables([table, table])) == 65
    text = "\n".join(message(shop, capsys))
    assert "20 of 40 rows" in text and "unique" in text and "  row 20: u00" in text


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("products", lambda table: table.drop_columns(["title"]), "title is absent"),
        (
            "products",
            lambda table: table.set_column(4, "price", table.column("price").cast(pa.string())),
            "price is string, asked for is float64",
        ),
        (
            "interactions",
            lambda table: table.set_column(
                2, "timestamp", table.column("timestamp").cast(pa.timestamp("us"))
            ),
            "timestamp is timestamp[us], asked for is timestamp('UTC')",
        ),
        ("questions", lambda table: table.append_column("more", table["question"]), "known column"),
        (
            "interactions",
            lambda table: changed(table, "timestamp", {7: FUTURE}),
            "not in the future",
        ),
        ("users", lambda table: table.slice(0, 0), "has rows"),
    ],
    ids=["absent", "type", "zone", "unknown", "future", "empty"],
)
def test_a_broken_table_rule_stops_the_run(
    shop: Shop, capsys: pytest.CaptureFixture[str], name: str, change: object, words: str
) -> None:
    assert gate(shop, name, change(tables()[name])) == 65
    text = "\n".join(message(shop, capsys))
    assert words in text and "how to fix it: " in text
    assert f"data/{INPUTS[name]}/{name}.parquet" in text
    assert not (shop.root / f"data/validate-{name}").exists()
    assert (shop.root / ".vitrine/data-docs" / name / "index.html").exists()


@pytest.mark.usefixtures("without_pages")
def test_old_rows_stop_the_run_where_an_age_is_set(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.set("validate", max_age_days=30)
    assert gate(shop, "interactions", tables()["interactions"]) == 65
    text = "\n".join(message(shop, capsys))
    assert "fresh" in text and "2024-" in text and "validate.max_age_days" in text


@pytest.mark.usefixtures("without_pages")
def test_bytes_that_are_no_text_are_named(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    table = tables()["products"]
    titles = [title.encode() for title in table["title"].to_pylist()]
    titles[17] = "Café".encode("latin-1")
    latin = pa.array(titles, pa.binary()).view(pa.string())
    assert gate(shop, "products", table.set_column(1, "title", latin)) == 65
    text = "\n".join(message(shop, capsys))
    assert "column title" in text and "rows: 17" in text and "UTF-8" in text


@pytest.mark.usefixtures("without_pages")
def test_a_file_that_is_cut_off_is_named(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    path = shop.root / "data/ingest-shop/users.parquet"
    gate(shop, "users", tables()["users"])
    path.write_bytes(path.read_bytes()[:-9])
    assert shop.run(validate, "users") == 65
    assert "data/ingest-shop/users.parquet is no Parquet file" in message(shop, capsys)[0]


@pytest.mark.usefixtures("without_pages")
def test_pictures_have_a_largest_size(shop: Shop) -> None:
    shop.set("validate", max_pixels=35)
    assert gate(shop, "images", tables()["images"]) == 65
    shop.set("validate", max_pixels=36)
    assert gate(shop, "images", tables()["images"]) == 0


@pytest.mark.usefixtures("without_pages")
def test_a_review_gets_its_language_by_its_words(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file of several languages; what is given stays, and no language is a fault."""
    table = pa.table(
        {
            "review_id": ["a", "b", "c", "d", "e", "f"],
            "text": ["Good", "很好，非常满意", "Très bon produit", "Sehr gut", "?", "Broke"],
            "language": [None, "", None, None, "en-US", "NL"],
        }
    )
    for told in (table, table.drop_columns("language")):
        assert gate(shop, "reviews", told) == 0
        found = shop.read("validate-reviews/table.parquet")["language"].to_pylist()
        assert found[:4] == ["en", "zh", "fr", "de"]
        assert found[4:] == (["en", "nl"] if told is table else ["en", "en"])
        said = capsys.readouterr().out
        assert ("not read: de 1, fr 1, nl 1" if told is table else "not read: de 1, fr 1") in said
    measures = json.loads(shop.bytes_of("validate-reviews")["metrics.json"])["measures"]
    assert measures["unsupported_language"] == 2 and measures["language/en"] == 3


@pytest.mark.usefixtures("without_pages")
def test_events_come_out_in_order_of_time_whatever_the_order_of_the_input(shop: Shop) -> None:
    table, _ = planted("interactions")
    assert gate(shop, "interactions", table) == 0
    first = shop.bytes_of("validate-interactions")["table.parquet"]
    assert gate(shop, "interactions", table.take(list(range(table.num_rows))[::-1])) == 0
    assert shop.bytes_of("validate-interactions")["table.parquet"] == first
    rows = shop.read("validate-interactions/table.parquet").to_pylist()
    keys = [(row["user_id"], row["timestamp"], row["item_id"]) for row in rows]
    assert keys == sorted(keys)


@pytest.mark.usefixtures("without_pages")
def test_several_files_are_one_table_with_all_their_sources(shop: Shop) -> None:
    shop.ingested("reviews", tables()["reviews"])
    more = pa.table({"review_id": ["z1", "z2"], "text": ["很好", "不好"], "language": ["zh", "zh"]})
    path = shop.root / "data/ingest-reviews-zh/reviews.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(more.replace_schema_metadata({"vitrine.source": "elsewhere"}), path)
    assert shop.run(validate, "reviews") == 0
    table = shop.read("validate-reviews/table.parquet")
    assert table.num_rows == tables()["reviews"].num_rows + 2
    assert table.slice(table.num_rows - 1).to_pylist()[0] == {
        "review_id": "z2",
        "text": "不好",
        "item_id": None,
        "language": "zh",
        "label": None,
        "group_id": None,
    }
    assert table.schema.metadata[b"vitrine.source"] == b"made reviews; elsewhere"
    assert table.schema.metadata[b"vitrine.licence"] == b"CC0-1.0"


def test_an_expectation_that_fails_to_compute_is_no_verdict_on_the_data() -> None:
    absent = Rule("in range", "price", "ExpectColumnValuesToBeBetween", {"min_value": 0}, "", "no")
    text = Rule("in range", "name", "ExpectColumnValuesToBeBetween", {"min_value": 0}, "", "name")
    frame = pd.DataFrame({"price": [1.0], "name": ["x"]})
    for rule in (absent, text):
        with pytest.raises(Bug, match="could not be judged"):
            Judge("products").judge("rows", [rule], frame)


def test_an_unknown_table_is_bad_configuration(shop: Shop) -> None:
    assert shop.run(validate, "prices") == 78


@pytest.mark.usefixtures("without_pages")
@given(
    st.lists(
        st.tuples(
            st.integers(0, 59),
            st.sampled_from(
                [
                    ("title", ""),
                    ("title", None),
                    ("price", -1.0),
                    ("item_id", "p000"),
                    ("brand", "\ufffd"),
                ]
            ),
        ),
        max_size=25,
    )
)
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_row_is_lost_whatever_is_broken(migrated_database: Path, faults: list) -> None:
    table = tables()["products"]
    for row, (column, value) in faults:
        table = changed(table, column, {row: value})
    with tempfile.TemporaryDirectory() as folder:
        shop = make_shop(Path(folder) / "shop", migrated_database)
        shop.set("validate", max_quarantine_share=0.99)
        assert gate(shop, "products", table) == 0
        kept = shop.read("validate-products/table.parquet")
        rows = {row for row, _, _ in aside(shop, "products")}
    assert kept.num_rows + len(rows) == table.num_rows
    assert kept.num_rows == len(set(kept["item_id"].to_pylist()))
    touched = {row for row, _ in faults}
    doubles = {0} if any(column == "item_id" for _, (column, _) in faults) else set()
    assert rows <= touched | doubles
    for row in touched - rows:
        assert kept.filter(pc.equal(kept["item_id"], table["item_id"][row])).num_rows == 1

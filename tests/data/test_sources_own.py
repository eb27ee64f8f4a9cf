"""A shop's own files: each rule of docs/sources.md on a file of a few rows."""

import codecs
import datetime
import gzip
import io
import json
import sqlite3
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines import engine
from pipelines.harness import BadConfig, BadData, MissingResource, VitrineError
from pipelines.harness.connections import variable
from pipelines.harness.graph import Node
from pipelines.harness.state import State
from pipelines.ingest_shop import ingest_shop
from pipelines.sources import own, pictures
from pipelines.sources.events import Events
from pipelines.sources.shop import LeaveOut, Part, ShopParams, Take, When
from tests.data.shops import make_shop, picture

UTC = datetime.UTC
EVENTS = {"user_id": "user", "item_id": "item", "timestamp": "time"}
BUY = {"event": "purchase"}


class Log:
    """What a run keeps of figures and lines; of a stage with no code."""

    def __init__(self, root: Path) -> None:
        self.root, self.state, self.name = root, State(root), "ingest-shop"
        self.node = Node(self.name, "", "", (), (), (), False)
        self.figures: dict[str, float] = {}
        self.lines: list[str] = []

    def measure(self, name: str, value: float) -> None:
        self.figures[name] = value

    def say(self, text: str) -> None:
        self.lines.append(text)


class Reader:
    """Reads parts of a table from files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, Log(folder)

    def engine(self) -> Any:
        return engine.engine(1, 1.0, self.folder / "spill" / "engine")

    def write(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    def table(self, table: str, *parts: Part) -> list[dict[str, Any]]:
        shop = ShopParams(**{table: list(parts)})
        with self.engine() as connection:
            found = own.mapped(connection, shop, table, self.folder, self.folder / "spill")
            rows: list[dict[str, Any]] = found.table.to_pyarrow().to_pylist()
        return rows

    def events(self, content: str, bots_above: int = 0, **settings: Any) -> list[dict[str, Any]]:
        """Interactions of one CSV, cleaned, in order."""
        self.log = Log(self.folder)
        columns = settings.pop("columns", EVENTS)
        part = csv_part(self.write("events.csv", content), columns, **settings)
        shop = ShopParams(interactions=[part], bots_above=bots_above)
        out = self.folder / f"out-{len(list(self.folder.iterdir()))}"
        with self.engine() as connection:
            spill = self.folder / "spill" / "engine"
            found = Events(self.log, connection, shop, spill)  # type: ignore[arg-type]
            found.write(out, ["user_id", "item_id", "timestamp"], {})
        rows: list[dict[str, Any]] = pq.read_table(out).to_pylist()
        return sorted(rows, key=lambda row: (row["user_id"], row["item_id"], row["timestamp"]))

    def time(self, cell: str, **when: Any) -> datetime.datetime:
        """The moment that one cell is read as."""
        (row,) = self.events(f'user,item,time\nu,i,"{cell}"\n', time=When(**when), constants=BUY)
        moment: datetime.datetime = row["timestamp"]
        return moment.astimezone(UTC)


def csv_part(name: str, columns: dict[str, Any], **settings: Any) -> Part:
    return Part(format="csv", files=[name], columns=columns, **settings)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


# Formats


def test_csv_is_read_whatever_its_dress(reader: Reader) -> None:
    text = "ID;Name\r\n007;Tee, grün 绿\r\n008;two\r\n"
    columns = {"item_id": "id", "title": "NAME"}
    expected = [{"item_id": "007", "title": "Tee, grün 绿"}, {"item_id": "008", "title": "two"}]
    dressed = {
        "plain.csv": text.encode(),
        "mark.csv": codecs.BOM_UTF8 + text.encode(),
        "wide.csv": text.encode("utf-16"),
        "packed.csv.gz": gzip.compress(text.encode()),
        "chinese.csv": text.replace("ü", "u").encode("gb18030"),
        "zstd.csv.zst": pa.compress(text.encode(), codec="zstd", asbytes=True),
    }
    for name, content in dressed.items():
        reader.write(name, content)
        encoding = "gb18030" if name == "chinese.csv" else "utf-8"
        part = csv_part(name, columns, delimiter=";", encoding=encoding)
        found = reader.table("products", part)
        if name == "chinese.csv":
            found[0]["title"] = found[0]["title"].replace("u", "ü")
        assert found == expected, name


def test_quoted_cells_hold_line_ends_and_quotes(reader: Reader) -> None:
    name = reader.write("p.csv", 'id,title\n1,"two\nlines"\n2,"a ""word"""\n')
    rows = reader.table("products", csv_part(name, {"item_id": "id", "title": "title"}))
    assert [row["title"] for row in rows] == ["two\nlines", 'a "word"']


def test_a_doubled_header_is_numbered(reader: Reader) -> None:
    name = reader.write("p.csv", "id,title,Price,price\n1,a,1,2\n")
    columns = {"item_id": "id", "title": "title", "price": "Price", "other": "price_2"}
    assert reader.table("products", csv_part(name, columns))[0]["other"] == "2"


def test_parts_of_a_folder_are_one_table_whatever_their_order_of_columns(reader: Reader) -> None:
    reader.write("parts/a.csv", "id,title\n1,one\n")
    reader.write("parts/b.csv", "title,id\ntwo,2\n")
    reader.write("parts/_SUCCESS", "")
    for pattern in ("parts", "parts/*.csv"):
        rows = reader.table("products", csv_part(pattern, {"item_id": "id", "title": "title"}))
        assert {row["item_id"]: row["title"] for row in rows} == {"1": "one", "2": "two"}


def test_json_lines_keep_ids_and_open_lists_and_fields(reader: Reader) -> None:
    rows = [
        {"id": "0012", "names": {"de": "Hemd"}, "path": [["A", "B"]], "tags": ["x", "y"]},
        {"id": 98765432109876543210, "names": {"de": "Hut"}, "path": [["A"]], "price": "$3.50"},
    ]
    name = reader.write("p.jsonl", "\n".join(map(json.dumps, rows)) + "\n")
    part = Part(
        format="jsonl",
        files=[name],
        columns={
            "item_id": "id",
            "title": "names.de",
            "category": Take(column="path", list=True, join=" > "),
            "tags": Take(column="tags", list=True, join=", "),
            "price": "price",
        },
    )
    first, second = reader.table("products", part)
    assert first["item_id"] == "0012" and second["item_id"] == "98765432109876543210"
    assert (first["title"], first["category"], first["tags"]) == ("Hemd", "A > B", "x, y")
    assert (second["price"], second["tags"]) == (3.5, None)
    name = reader.write("list.json", json.dumps(rows))
    assert len(reader.table("products", part.model_copy(update={"files": [name]}))) == 2


def test_dictionaries_as_python_prints_them(reader: Reader) -> None:
    name = reader.write(
        "meta.json", "{'asin': '01', 'title': \"It's\"}\n{'asin': u'02', 'title': 'b'}\n"
    )
    part = Part(
        format="jsonl", files=[name], loose=True, columns={"item_id": "asin", "title": "title"}
    )
    assert [row["title"] for row in reader.table("products", part)] == ["It's", "b"]
    reader.write("meta.json", "{'asin': '01'}\n{'asin': __import__('os')}\n")
    with pytest.raises(BadData, match="meta.json, line 2"):
        reader.table("products", part)


def test_parquet_keeps_types(reader: Reader) -> None:
    moment = datetime.datetime(2024, 7, 1, 12)
    table = pa.table(
        {
            "user": [1.0, 2.0],  # ids with gaps, as pandas leaves them
            "item": [7, 8],
            "time": pa.array([moment, moment], pa.timestamp("us")),
            "quantity": [1, 3],
        }
    )
    pq.write_table(table, reader.folder / "e.parquet")
    part = Part(
        format="parquet",
        files=["e.parquet"],
        columns={**EVENTS, "value": "quantity"},
        constants=BUY,
        time=When(zone="Europe/Berlin"),
    )
    first = reader.table("interactions", part)[0]
    assert (first["user_id"], first["item_id"], first["value"]) == ("1", "7", 1.0)
    assert first["timestamp"].astimezone(UTC).hour == 10
    table = table.set_column(2, "time", pa.array([1719828000] * 2))
    pq.write_table(table, reader.folder / "e.parquet")
    with pytest.raises(BadConfig, match="give their unit"):
        reader.table("interactions", part)


def test_a_google_feed(reader: Reader) -> None:
    feed = """<?xml version="1.0"?><rss xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title>
    <item><g:id>01</g:id><title>Tee &amp; more</title><g:price>15.00 EUR</g:price>
    <g:shipping><g:price>3 EUR</g:price></g:shipping><g:availability>in_stock</g:availability></item>
    <item><g:id>02</g:id><title>Hat</title><g:availability>out of stock</g:availability></item>
    </channel></rss>"""
    name = reader.write("feed.xml", feed)
    part = Part(
        format="feed",
        files=[name],
        columns={
            "item_id": "id",
            "title": "title",
            "price": "price",
            "currency": Take(column="price", pattern="[A-Z]{3}"),
            "available": "availability",
        },
    )
    first, second = reader.table("products", part)
    assert (first["title"], first["price"], first["currency"]) == ("Tee & more", 15.0, "EUR")
    assert (first["available"], second["available"], second["price"]) == (True, False, None)
    reader.write("feed.xml", '<!DOCTYPE x [<!ENTITY a "b">]><rss/>')
    with pytest.raises(BadData, match="DTD"):
        reader.table("products", part)
    reader.write("feed.xml", "<rss>\n<item></rss>")
    with pytest.raises(BadData, match="feed.xml, line 2"):
        reader.table("products", part)


def test_a_database(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(reader.folder / "shop.db") as base:
        base.execute("create table p (sku text, name text, price real)")
        base.execute("insert into p values ('007', 'Tee', 2.5), ('008', 'Hat', null)")
    columns = {"item_id": "sku", "title": "name", "price": "price"}
    query = "select * from p order by sku"
    part = Part(
        format="sql", url=f"sqlite:///{reader.folder}/${{SHOP_BASE}}", query=query, columns=columns
    )
    with pytest.raises(MissingResource, match="SHOP_BASE"):
        reader.table("products", part)
    monkeypatch.setenv("SHOP_BASE", "shop.db")
    assert [row["item_id"] for row in reader.table("products", part)] == ["007", "008"]
    bad = part.model_copy(update={"query": "select * from nothing"})
    with pytest.raises(MissingResource) as caught:
        reader.table("products", bad)
    assert "shop.db" not in str(caught.value)
    open_secret = part.model_copy(update={"url": "postgresql://reader:hunter2@host/base"})
    with pytest.raises(BadConfig, match="environment"):
        reader.table("products", open_secret)
    by_name = part.model_copy(update={"url": "airflow://shop_db"})
    monkeypatch.setenv(variable("shop_db"), f"sqlite:///{reader.folder}/shop.db")
    assert [row["item_id"] for row in reader.table("products", by_name)] == ["007", "008"]
    monkeypatch.setenv(variable("shop_db"), "")  # its task found none
    with pytest.raises(MissingResource, match="AIRFLOW_CONN_SHOP_DB"):
        reader.table("products", by_name)


def test_sequences_keep_their_order_and_leave_one_event_a_window(reader: Reader) -> None:
    long = " ".join(f"i{at}" for at in range(1000))
    name = reader.write("s.txt", f"1 9 8 7\n2 9 9\n3 {long}\n")
    part = Part(
        format="sequences",
        files=[name],
        columns={"user_id": "user", "item_id": "item", "timestamp": "moment"},
        constants=BUY,
        time=When(unit="s"),
    )
    rows = sorted(
        reader.table("interactions", part), key=lambda row: (row["user_id"], row["timestamp"])
    )
    assert [row["item_id"] for row in rows] == ["9", "8", "7", "9", "9", *long.split()]
    ends = {row["timestamp"] for row in (rows[2], rows[4], rows[-1])}
    assert len(ends) == 1  # all users end at the same moment
    days = [(end - row["timestamp"]).days for row in rows for end in ends]
    assert days[:5] == [56, 28, 0, 28, 0]
    assert days[-15:] == [*range(365, 363, -1), *range(336, -1, -28)]
    assert days[5] < 5 * 365


# Pictures


def packed(members: dict[str, bytes], kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode="w:gz" if kind == "tgz" else "w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


PICTURES = {
    "shop/shoe/01.png": picture(10),
    "shop/hat/02.PNG": picture(20),
    "shop/readme.txt": b"no picture",
    "__MACOSX/shop/shoe/._01.png": b"none either",
}
BY_FOLDER = {"image_key": "stem", "bytes": "bytes", "label": "folder"}


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_pictures_are_read_out_of_archives(reader: Reader, kind: str) -> None:
    name = reader.write(f"images.{kind}", packed(PICTURES, kind))
    rows = reader.table("images", Part(format="archive", files=[name], columns=BY_FOLDER))
    assert {row["image_key"]: row["label"] for row in rows} == {"01": "shoe", "02": "hat"}
    assert {row["bytes"] for row in rows} == {picture(10), picture(20)}
    inside = {path.name for path in reader.folder.rglob("*.png")}
    assert not inside  # nothing was unpacked


def test_pictures_of_a_folder_and_of_a_shard(reader: Reader) -> None:
    reader.write("by-class/shoe/01.png", picture(10))
    reader.write("by-class/hat/02.png", picture(20))
    rows = reader.table("images", Part(format="pictures", files=["by-class"], columns=BY_FOLDER))
    assert {row["image_key"]: row["label"] for row in rows} == {"01": "shoe", "02": "hat"}
    shard = {"000.png": picture(1), "000.cls": b"3\n", "001.cls": b"5", "001.png": picture(2)}
    name = reader.write("shard-0.tar", packed(shard, "tar"))
    part = Part(format="archive", files=[name], columns={**BY_FOLDER, "label": "cls"})
    found = {row["image_key"]: row["label"] for row in reader.table("images", part)}
    assert found["000"] == "3"


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../../etc/x.png", "/etc/x.png", "a/../../x.png"])
def test_an_archive_that_leads_out_is_refused(reader: Reader, kind: str, name: str) -> None:
    file = reader.write(f"evil.{kind}", packed({name: picture(1)}, kind))
    with pytest.raises(BadData, match="leads out"):
        reader.table("images", Part(format="archive", files=[file], columns=BY_FOLDER))


def test_bombs_and_broken_archives_are_refused(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * 2_000_000)
    part = Part(format="archive", files=["bomb.zip"], columns=BY_FOLDER)
    reader.write("bomb.zip", buffer.getvalue())
    with pytest.raises(BadData, match="packed in"):
        reader.table("images", part)
    reader.write("bomb.zip", packed(PICTURES, "zip")[:-30])
    with pytest.raises(BadData, match="no readable"):
        reader.table("images", part)
    monkeypatch.setattr(pictures, "MAX_RATIO", 2)
    tar = packed({"a.png": b"\0" * 3_000_000}, "tgz")
    name = reader.write("bomb.tgz", tar)
    with pytest.raises(BadData, match="packed in"):
        reader.table("images", part.model_copy(update={"files": [name]}))


# Cells


def test_ids_that_look_like_numbers_stay_as_they_are(reader: Reader) -> None:
    (row,) = reader.events("user,item,time\n007,0012,2024-01-01\n", constants=BUY)
    assert (row["user_id"], row["item_id"]) == ("007", "0012")


@pytest.mark.parametrize(
    ("cell", "when", "moment"),
    [
        ("2024-01-02", {}, (2024, 1, 2)),
        ("2024-01-02", {"zone": "Europe/Berlin"}, (2024, 1, 1, 23)),
        ("2024-07-02 10:00:00", {"zone": "America/New_York"}, (2024, 7, 2, 14)),
        ("2024-07-02T10:00:00+05:30", {"zone": "America/New_York"}, (2024, 7, 2, 4, 30)),
        ("2024-07-02T10:00:00Z", {}, (2024, 7, 2, 10)),
        ("1719914400", {"unit": "s"}, (2024, 7, 2, 10)),
        ("1719914400.0", {"unit": "s"}, (2024, 7, 2, 10)),
        ("1719914400000", {"unit": "ms"}, (2024, 7, 2, 10)),
        ("1719914400000000", {"unit": "us"}, (2024, 7, 2, 10)),
        ("03/04/2024", {"formats": ["%d/%m/%Y"]}, (2024, 4, 3)),
        ("03/04/2024", {"formats": ["%m/%d/%Y"]}, (2024, 3, 4)),
        ("28.10.2024 01:30", {"formats": ["%d.%m.%Y", "%d.%m.%Y %H:%M"]}, (2024, 10, 28, 1, 30)),
        # The hour that the clock shows twice, and the one that it leaves out.
        ("2024-10-27 02:30:00", {"zone": "Europe/Berlin"}, (2024, 10, 27, 1, 30)),
        ("2024-03-31 02:30:00", {"zone": "Europe/Berlin"}, (2024, 3, 31, 1, 30)),
    ],
)
def test_times(reader: Reader, cell: str, when: dict[str, Any], moment: tuple[int, ...]) -> None:
    assert reader.time(cell, **when) == datetime.datetime(*moment, tzinfo=UTC)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("cell", "settings", "number"),
    [
        ("12.5", {}, 12.5),
        ('"12,5"', {"decimal": ","}, 12.5),
        ('"1.234,50 €"', {"decimal": ",", "thousands": "."}, 1234.5),
        ('"$1,234.50"', {"thousands": ","}, 1234.5),
        ('"1\u202f234,5"', {"decimal": ","}, 1234.5),
        ("USD 3", {}, 3.0),
        ("n/a", {"empty": ["n/a"]}, None),
    ],
)
def test_numbers(reader: Reader, cell: str, settings: dict[str, Any], number: float | None) -> None:
    name = reader.write("p.csv", f"id,title,price\n1,a,{cell}\n")
    columns = {"item_id": "id", "title": "title", "price": "price"}
    assert reader.table("products", csv_part(name, columns, **settings))[0]["price"] == number


def test_values_are_replaced_by_number_or_word(reader: Reader) -> None:
    name = reader.write("r.csv", "text,stars\ngood,5.0\nbad,1\nodd,9\nnone,\n")
    take = Take(column="stars", values={"1": "negative", "5": "positive", "*": "neutral"})
    columns = {"review_id": Take(column=["text"], hash=True), "text": "text", "label": take}
    rows = reader.table("reviews", csv_part(name, columns))
    assert [row["label"] for row in rows] == ["positive", "negative", "neutral", None]
    assert len({row["review_id"] for row in rows}) == 4


def test_places_in_a_text_are_not_moved(reader: Reader) -> None:
    name = reader.write("r.csv", 'id,text\n1,"  two spaces first"\n2,"   "\n')
    rows = reader.table("reviews", csv_part(name, {"review_id": "id", "text": "text"}))
    assert [row["text"] for row in rows] == ["  two spaces first", None]


# What is wrong is named


@pytest.mark.parametrize(
    ("content", "settings", "words"),
    [
        (
            "user,item,time\nu,i,2024-01-01\nu,i,yesterday\n",
            {},
            ("row 2", "time", "yesterday", "formats"),
        ),
        ("user,item,time\nu,i,1719914400\n", {}, ("row 1", "time", "unit")),
        ("user,item,time\nu,i,2024-01-01\nu,i\n", {}, ("Line: 3", "how to fix it")),
        ("user,item,when\nu,i,2024-01-01\n", {}, ("no column 'time'", "user, item, when")),
        ("", {}, ("is empty",)),
        ("user,item,time\nu,i,2024-01-01\n", {"constants": {}}, ("event must be given",)),
        ("user,item,time\nu,i,2024-01-01\n", {"time": When(zone="Mars/Base")}, ("Mars/Base",)),
    ],
)
def test_errors_name_file_row_column_and_cure(
    reader: Reader, content: str, settings: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(VitrineError) as caught:
        reader.events(content, **{"constants": BUY, **settings})
    for word in words:
        assert word in str(caught.value)
    assert "events.csv" in str(caught.value) or isinstance(caught.value, BadConfig)


def test_bytes_that_are_no_text_name_the_line(reader: Reader) -> None:
    name = reader.write("p.csv", "id,title\n1,a\n2,grün\n".encode("cp1252"))
    with pytest.raises(BadData, match="p.csv"):
        reader.table("products", csv_part(name, {"item_id": "id", "title": "title"}))
    rows = reader.table(
        "products", csv_part(name, {"item_id": "id", "title": "title"}, encoding="cp1252")
    )
    assert rows[1]["title"] == "grün"


def test_unreadable_cells_may_be_emptied(reader: Reader) -> None:
    name = reader.write("p.csv", "id,title,price\n1,a,cheap\n")
    columns = {"item_id": "id", "title": "title", "price": "price"}
    with pytest.raises(BadData, match="'cheap' is no number"):
        reader.table("products", csv_part(name, columns))
    assert reader.table("products", csv_part(name, columns, unreadable="empty"))[0]["price"] is None


# What is no interaction


def test_repeated_lines_are_counted_as_quantity(reader: Reader) -> None:
    line = "u,i,2024-01-01\n"
    (row,) = reader.events("user,item,time\n" + 3 * line, constants=BUY)
    assert row["value"] == 3.0
    (row,) = reader.events("user,item,time\n" + 3 * line, constants={"event": "view"})
    assert row["value"] is None and reader.log.figures["repeated_lines"] == 2


def test_refunds_are_left_out_with_what_they_take_back(reader: Reader) -> None:
    content = (
        "user,item,time,n,order\nu,i,2024-01-01,2,A\nu,i,2024-01-05,-2,A\n"
        "u,j,2024-01-01,3,A\nu,j,2024-01-05,-1,A\nv,i,2024-01-01,-1,B\n"
    )
    columns = {**EVENTS, "value": "n", "order_id": "order"}
    rows = reader.events(content, columns=columns, constants=BUY)
    assert [(row["item_id"], row["value"]) for row in rows] == [("j", 3.0)]
    assert reader.log.figures["refunded_lines"] == 4
    rows = reader.events(content, columns={**EVENTS, "value": "n"}, constants=BUY)
    assert [row["item_id"] for row in rows] == ["i", "j"]  # without orders only the refunds go


def test_test_orders_are_left_out_by_value_and_pattern(reader: Reader) -> None:
    content = "user,item,time,test,mail\nu,i,2024-01-01,no,a@b.c\nv,i,2024-01-01,YES,a@b.c\nw,i,2024-01-01,no,x@test.shop\n"
    rules = [
        LeaveOut(column="test", values=["yes"]),
        LeaveOut(column="mail", pattern=r"@test\.shop$"),
    ]
    rows = reader.events(content, constants=BUY, leave_out=rules)
    assert [row["user_id"] for row in rows] == ["u"]


def test_programs_are_left_out_and_large_orders_are_not(reader: Reader) -> None:
    clicks = "".join(f"bot,i{at},2024-01-01 10:00:{at % 60:02d},view\n" for at in range(50))
    order = "".join(f"hotel,i{at},2024-01-01 10:00:00,purchase\n" for at in range(50))
    content = f"user,item,time,what\n{clicks}{order}person,i1,2024-01-01 10:00:00,view\n"
    rows = reader.events(content, 40, columns={**EVENTS, "event": "what"})
    assert {row["user_id"] for row in rows} == {"hotel", "person"}
    assert reader.log.figures["program_users"] == 1 and reader.log.figures["program_lines"] == 50


# The stage


def test_the_stage_reads_only_the_shop_and_only_what_is_watched(
    tmp_path: Path, migrated_database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = make_shop(tmp_path / "shop", migrated_database)
    file = tmp_path / "events.csv"
    file.write_text("user,item,time\nb,i,2024-01-01\na,i,2024-01-01\n")
    part = {"format": "csv", "files": [str(file)], "columns": EVENTS, "constants": BUY}
    params = shop.root / "params.yaml"
    document = yaml.safe_load(params.read_text())
    document["shop"] = {"interactions": [part]}
    params.write_text(yaml.safe_dump(document))
    assert shop.run(ingest_shop) == BadConfig.exit_code
    assert "do not name" in capsys.readouterr().err
    graph = yaml.safe_load((shop.root / "dvc.yaml").read_text())
    graph["stages"]["ingest-shop"]["deps"].append(str(file))
    (shop.root / "dvc.yaml").write_text(yaml.safe_dump(graph))
    assert shop.run(ingest_shop) == 0
    first = shop.bytes_of("ingest-shop")
    events = shop.read("ingest-shop/interactions.parquet")
    assert events.column("user_id").to_pylist() == ["a", "b"]
    assert "absent" in shop.read("ingest-shop/products.parquet").column_names
    assert shop.run(ingest_shop) == 0
    assert shop.bytes_of("ingest-shop") == first
    document["shop"]["interactions"][0]["colums"] = {}
    params.write_text(yaml.safe_dump(document))
    assert shop.run(ingest_shop) == BadConfig.exit_code
    assert "colums" in capsys.readouterr().err

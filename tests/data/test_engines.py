"""Stages on Spark write the files that they write on DuckDB, byte for byte."""

import csv
import datetime
import json
import shutil
import tempfile
from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipelines import engine
from pipelines.behaviour import behaviour
from pipelines.content import ContentParams, interests
from pipelines.engine import spark_session
from pipelines.harness import BadConfig, MissingResource
from pipelines.harness.params import Tables
from pipelines.harness.state import State
from pipelines.ingest_pictures import ingest_pictures
from pipelines.ingest_reviews import ingest_reviews
from pipelines.ingest_reviews_zh import ingest_reviews_zh
from pipelines.ingest_shop import ingest_shop
from pipelines.sources import functions
from pipelines.sources.columns import CURRENCY, OFFSET
from pipelines.split import split, words_of
from pipelines.validate import validate
from pipelines.validation.judge import Judge
from pipelines.validation.suites import Rule, arrow_flags, flag, table_flags
from tests.data.shops import SIZES, START, Shop, changed, make_shop, picture, tables

DAY = datetime.timedelta(days=1)


@pytest.fixture
def shop(tmp_path: Path, migrated_database: Path) -> Shop:
    return make_shop(tmp_path / "shop", migrated_database)


def on(shop: Shop, chosen: Tables) -> None:
    """Choose where tables are worked on."""
    path = shop.root / "params.yaml"
    document = yaml.safe_load(path.read_text())
    document["tables"] = chosen.model_dump()
    path.write_text(yaml.safe_dump(document))


def test_split_cuts_alike(shop: Shop, spark: Tables) -> None:
    shop.set("split", **SIZES)
    made = tables()
    twins = dict.fromkeys(range(0, 120, 3), "Great, I love it!") | {
        1: "great   i LOVE it",
        2: "ΟΔΟΣ",
    }
    made["reviews"] = changed(made["reviews"], "text", twins)
    made["images"] = changed(made["images"], "bytes", dict.fromkeys(range(0, 60, 7), picture(200)))
    for name, table in made.items():
        shop.validated(name, table)
    assert shop.run(split) == 0
    before = shop.bytes_of("split")
    on(shop, spark)
    assert shop.run(split) == 0
    after = shop.bytes_of("split")
    assert len(before) > 20
    assert [name for name in before if before[name] != after.get(name)] == []


EARLY = datetime.datetime(1900, 1, 1, 0, 0, 0, 5, tzinfo=datetime.UTC)
FAULTS = {
    "products": [("item_id", 1, "p005"), ("title", 2, "  \u3000"), ("price", 7, float("inf"))],
    "users": [("user_id", 3, "")],
    "interactions": [
        *(("item_id", 1, "p999"), ("event", 3, "steal"), ("value", 4, 0.0)),
        *(("user_id", 5, None), ("user_id", 6, "\u2003"), ("timestamp", 7, EARLY)),
        *(("timestamp", 8, None), ("event", 8, None), ("item_id", 8, "\ufffd")),
    ],
    "images": [("bytes", 1, picture(1)[:40]), ("bytes", 5, picture(6))],
    "reviews": [("text", 0, "\t\n"), ("label", 2, "great"), ("language", 5, None)],
    "questions": [("review_id", 1, "r999"), ("end", 2, 9_999), ("start", 5, None)],
}
"""A few cells of each table that break a rule."""


def test_the_gate_sets_the_same_rows_aside(
    shop: Shop, spark: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Judge, "publish", lambda judge, folder: folder)
    shop.set("validate", max_quarantine_share=0.5)
    made = {name: table for name, table in tables().items() if name in FAULTS}
    events = made["interactions"]
    number = 1.0 + np.arange(len(events)) / 7
    number[[9, 10, 11]] = np.nan, np.inf, -1.5
    made["interactions"] = events.append_column("price", pa.array(number))
    made["interactions"] = pa.concat_tables(
        [made["interactions"], made["interactions"].slice(50, 1)]
    )
    coins = ["EUR"] * 60
    coins[3:8] = "eur", "EUR\n", "EUR\r", "EUR\u2028", None
    made["products"] = made["products"].append_column("currency", pa.array(coins))
    made["products"] = made["products"].append_column("own.mark", pa.array(["\x07", *coins[1:]]))
    empty = made["reviews"].slice(0, 0).drop_columns(["item_id", "group_id"])
    shop.put("reviews", empty, "ingest-reviews-zh")
    for name, table in made.items():
        for column, row, value in FAULTS[name]:
            table = changed(table, column, {row: value})
        shop.ingested(name, table)

    def gated() -> dict[str, bytes]:
        found = {}
        for name in made:
            assert shop.run(validate, name) == 0
            found |= {
                f"{name}/{file}": cells for file, cells in shop.bytes_of(f"validate-{name}").items()
            }
        return found

    before = gated()
    on(shop, spark)
    after = gated()
    assert [name for name in before if before[name] != after.get(name)] == []


def test_flags_of_texts_are_those_of_arrow(tmp_path: Path, spark: Tables) -> None:
    points = [at for at in range(0x11000) if not 0xD800 <= at < 0xE000]
    letters = [chr(at) for at in points] + ["", None, "a \t", "\U0001f600\x00", " \u2003\u3000"]
    rows = pa.table({"at": range(len(letters)), "cell": pa.array(letters, pa.string())})
    rules = [
        Rule(name, "cell", "ExpectColumnValuesToBeInSet", {}, "", flag(name, "cell"))
        for name in ("not blank", "readable text")
    ]
    wanted = arrow_flags(rows, rules, 1)
    with engine.engine(1, 1.0, tmp_path / "spill", spark) as connection:
        table = table_flags(engine.bring(connection, "cells", rows), rules)
        found = engine.collect(table.order_by("at"))
    for rule in rules:
        odd = pc.not_equal(found[rule.judged], wanted[rule.judged])
        assert found.filter(odd)["cell"].to_pylist() == [], rule.name


def test_texts_that_are_none_stop_the_gate_alike(
    shop: Shop, spark: Tables, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shop.root / "data/ingest-shop/users.parquet"
    bad = pa.table({"user_id": ["u00", "u01"], "age": pa.array([b"\xff\xfe", b"19"], pa.binary())})
    path.parent.mkdir(parents=True)
    table = bad.set_column(1, "age", bad["age"].combine_chunks().view(pa.string()))
    pq.write_table(table, path)
    told = []
    for chosen in (Tables(), spark):
        on(shop, chosen)
        assert shop.run(validate, "users") != 0
        told.append(capsys.readouterr().err.rpartition("readable text")[2])
    assert "not UTF-8" in told[0] and told[0] == told[1]


CELLS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=6),
    st.sampled_from(["ΟΔΟΣ οδος", "İ ı", "'\\\"", "a,b;c", "\t x\x0b", "𝒳 é é", "-0", "1e3"]),
)
MOMENTS = st.datetimes(datetime.datetime(2023, 10, 1), datetime.datetime(2024, 4, 30))
EVENTS = st.tuples(
    st.sampled_from("abcdef"),
    st.sampled_from(["p1", "p2", "p3", "p9", ""]),
    MOMENTS,
    st.sampled_from(["purchase", "view", "stolen"]),
    st.sampled_from([1.0, 2.5, -1.0, None]),
    st.sampled_from([0.1, 7.0, 1e-5, None]),
)
PRODUCTS = st.tuples(
    CELLS.map("Good {}".format), CELLS, st.sampled_from(["1.5", "2,000.25", "€ 3", ""])
)


def own_shop(shop: Shop, events: list[tuple[object, ...]], products: list[tuple[str, ...]]) -> None:
    """A shop's own files: events as Parquet with times of a clock, products as CSV; and what tells of them."""
    files = shop.root / "files"
    files.mkdir()
    names = ("user", "item", "time", "kind", "count", "paid")
    columns = dict(zip(names, map(list, zip(*events, strict=True)), strict=True))
    columns["time"] = pa.array(columns["time"], pa.timestamp("us"))
    for name in ("count", "paid"):
        columns[name] = pa.array(columns[name], pa.float64())
    pq.write_table(pa.table(columns), files / "events.parquet")
    with (files / "products.csv").open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        lines.writerow(("id", "title", "category", "price"))
        lines.writerows((f"p{at}", *cells) for at, cells in enumerate(products))
    corrected = (
        "item_id,field,value,from,why\np1,category,corrected,,\np2,price,9.5,1.5,\np9,title,x,,\n"
    )
    (shop.root / "corrections.csv").write_text(corrected)
    path = shop.root / "params.yaml"
    document = yaml.safe_load(path.read_text())
    document["shop"] = {
        "interactions": [
            {
                "format": "parquet",
                "files": ["files/events.parquet"],
                "columns": {
                    "user_id": "user",
                    "item_id": "item",
                    "timestamp": "time",
                    "event": "kind",
                    "value": "count",
                    "price": "paid",
                },
                "time": {"zone": "Europe/Berlin"},
            }
        ],
        "products": [
            {
                "format": "csv",
                "files": ["files/products.csv"],
                "columns": {
                    "item_id": "id",
                    "title": "title",
                    "category": "category",
                    "price": "price",
                },
                "thousands": ",",
                "unreadable": "empty",
            }
        ],
    }
    path.write_text(yaml.safe_dump(document))
    graph = (shop.root / "dvc.yaml").read_text()
    graph = graph.replace(
        "      - corrections.csv\n",
        "      - corrections.csv\n      - files/events.parquet\n      - files/products.csv\n",
    )
    (shop.root / "dvc.yaml").write_text(graph)


@given(st.lists(EVENTS, min_size=8, max_size=30), st.lists(PRODUCTS, min_size=4, max_size=4))
@settings(
    max_examples=2,
    deadline=None,
    # A smaller example would take many runs, each of seconds.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_whatever_a_shop_has_becomes_the_same(
    migrated_database: Path,
    spark: Tables,
    events: list[tuple[object, ...]],
    products: list[tuple[str, ...]],
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Judge, "publish", lambda judge, folder: folder)
        shop = make_shop(Path(folder) / "shop", migrated_database)
        days = (
            datetime.datetime(2023, 12, 1) + at * datetime.timedelta(days=5) for at in range(25)
        )
        usual = [
            ("abc"[at % 3], f"p{at % 4}", day, "purchase", 1.0, 2.0) for at, day in enumerate(days)
        ]
        own_shop(shop, [*events, *usual], products)
        shop.set("validate", max_quarantine_share=0.99)
        shop.set("split", **SIZES)
        for stage in (ingest_pictures, ingest_reviews, ingest_reviews_zh, ingest_shop):
            assert shop.run(stage) == 0
        for name in ("users", "images", "reviews", "questions"):
            assert shop.run(validate, name) == 0

        def run() -> dict[str, object]:
            # What one engine finished would be taken over by the other.
            shutil.rmtree(State(shop.root).shelf, ignore_errors=True)
            for folder in ("ingest-shop", "validate-products", "validate-interactions", "split"):
                shutil.rmtree(shop.root / "data" / folder, ignore_errors=True)
            found: dict[str, object] = {"ingest": shop.run(ingest_shop)}
            for name in ("products", "interactions"):
                found[name] = shop.run(validate, name)
            found["split"] = shop.run(split)
            kept = {name: cells for name, cells in shop.bytes_of("").items() if name[0] != "."}
            return found | kept

        before = run()
        on(shop, spark)
        after = run()
    assert before["ingest"] == 0
    assert [name for name in before if before[name] != after.get(name)] == []


def test_figures_of_behaviour_are_the_same(shop: Shop, spark: Tables) -> None:
    made = tables()
    events = made["interactions"]
    draw = np.random.default_rng(5)
    prices = draw.choice([0.0, 1.25, 3.1, 1 / 3, 99.0, None], events.num_rows)
    orders = draw.choice([*(f"o{at}" for at in range(50)), None], events.num_rows)
    events = events.append_column("price", pa.array(prices, pa.float64()))
    events = events.append_column("order_id", pa.array(orders, pa.string()))
    events = changed(events, "timestamp", dict.fromkeys(range(0, 90, 9), START))
    shop.validated("products", made["products"])
    shelf = shop.root / ".vitrine/shelf/behaviour"

    def found(parts: int, until: int) -> dict[str, bytes]:
        """What is written where so many parts, of 200 events each, and so many days before the cut are there."""
        for at in range(parts):
            name = f"2024-{at + 1:02}"
            shop.put(name, events.slice(at * 200, 200), "validate-interactions/table.parquet")
        cut = shop.root / "data/split/recommending/cut.json"
        cut.parent.mkdir(parents=True, exist_ok=True)
        cut.write_text(json.dumps({"valid_from": (START + until * DAY).isoformat()}))
        assert shop.run(behaviour) == 0
        sums = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in shelf.glob("*/*")}
        return {**shop.bytes_of("behaviour"), **sums}

    looks = [(2, 40), (2, 50), (2, 50)]
    before = [found(*look) for look in looks]
    shutil.rmtree(shelf)
    shutil.rmtree(shop.root / "data/validate-interactions")
    on(shop, spark)
    after = [found(*look) for look in looks]
    shutil.rmtree(shelf)
    after.append(found(2, 50))
    assert len(before[1]) == 3 + 2 * 3 + 4
    for one, other in zip([*before, before[1]], after, strict=True):
        assert [name for name in one if one[name] != other.get(name)] == []


def test_interests_are_the_same(tmp_path: Path, spark: Tables) -> None:
    made = tables()
    params = ContentParams.model_construct(
        interest_half_life=10.0, interests=3, event_weights={"purchase": 1.0}
    )

    def found(chosen: Tables) -> pa.Table:
        with engine.engine(1, 1.0, tmp_path / "spill", chosen) as connection:
            rows = engine.bring(connection, "events", made["interactions"])
            products = engine.bring(connection, "products", made["products"])
            return engine.collect(interests(rows, products, params))

    here, there = found(Tables()), found(spark)
    assert here.num_rows >= 20
    for name in here.column_names:
        assert there[name].to_pylist() == here[name].to_pylist(), name


TEXTS = [
    *(
        "x",
        None,
        "",
        " y\n",
        "\x0bz\x0b",
        "ΟΔΟΣ",
        "İx",
        "ẞß",
        "a.b-c  d",
        "12",
        "12.5",
        " 7 ",
        "1e5",
        "1d",
        "0x1p3",
    ),
    *(
        "inf",
        "-Infinity",
        "NaN",
        ".5",
        "1,5",
        "€ 12",
        "-0.0",
        "12.0",
        "$1 \\1",
        "a\nb",
        "<b>x</b> y",
        "$",
    ),
    *(
        "2024-01-02",
        "2024-01-02 03:04:05",
        "2024-01-02T03:04:05.123456",
        "2024",
        "2024-01",
        "2024-1-2",
    ),
    *(
        "2024-01-02T03:04:05Z",
        "2024-01-02 03:04:05+02:00",
        "2024-02-30",
        "31.12.2023 23:59",
        "1.2.2023 1:2",
    ),
    *(
        "12/31/23 11:59 PM",
        "Jan 5 2024",
        "20240102",
        "20240230",
        "yes",
        '["a", "b"]',
        "[1, 2.50, null]",
    ),
    '{"a": {"b": [1, {"c": "x"}]}, "d": 1.50, "e": true, "f": null}',
]
NUMBERS = [
    0.0,
    -0.0,
    1.5,
    2.5,
    -2.5,
    1.00005,
    0.00005,
    -0.00001,
    float("inf"),
    None,
    1e16,
    1e-5,
    12345678.5,
    0.1,
]
NUMBERS += [100.0, 1e22, 0.0001, 0.001, 1234567.89125, float("nan")]
NIGHTS = [(2024, 3, 31), (2024, 10, 27), (2024, 4, 7), (2024, 10, 6), (1960, 5, 1)]
CLOCKS = [datetime.datetime(*day, at // 2, at % 2 * 30, 1) for day in NIGHTS for at in range(9)]
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")


def of_texts(text: ibis.Value) -> dict[str, ibis.Value]:
    """What is done with texts."""
    none = ibis.null("string")
    document, listed = (
        text.startswith("{").ifelse(text, none),
        text.startswith("[").ifelse(text, none),
    )
    dated = text.re_search(r"\d").ifelse(text, none)  # "infinity" is a moment to DuckDB alone
    formats = ["%d.%m.%Y %H:%M", "%m/%d/%y %I:%M %p", "%b %d %Y", "%Y%m%d"]
    return {
        "stripped": text.strip(),
        "words": words_of(text),
        "number": text.try_cast("float64"),
        "clock": text.re_search(OFFSET).ifelse(none, dated).try_cast("timestamp"),
        "moment": dated.try_cast("timestamp('UTC')").epoch_seconds() * 1.0,
        "found": text.re_search(OFFSET),
        "taken": text.re_extract(r"(\d+)", 1),
        "plain": text.re_replace(r"<[^>]*>", " ").re_replace(r"\s+", " "),
        "whole": text.re_replace(r"^(-?\d+)\.0+$", r"\1"),
        "amount": text.re_replace(CURRENCY, ""),
        "replaced": text.replace("$", "\\"),
        "inside": functions.json_extract_string(document, ibis.literal('$."a"."b"[1]."c"')),
        "object": functions.json_extract_string(document, ibis.literal('$."a"')),
        "entries": functions.entries(listed, ibis.literal('["VARCHAR"]')).join(", "),
        "read": functions.try_strptime(dated, ibis.literal(formats)),
        "digest": (ibis.literal("1:") + text).hexdigest("md5"),
        "length": text.length().cast("int64"),
        "parts": ibis.array([text.fill_null(""), ibis.literal("k")])
        .filter(lambda cell: cell != "")
        .join("/"),
        "less": text < "b",
    }


def of_numbers(number: ibis.Value) -> dict[str, ibis.Value]:
    """What is done with numbers."""
    return {
        "rounded": number.round(4),
        "text": number.cast("string"),
        "inverse": 1.0 / number.abs(),
        "absent": number.isnull(),
        "infinite": number.isinf(),
        "more": number > 1.0,
        "product": number * 0.1,
    }


def of_clocks(clock: ibis.Value) -> dict[str, ibis.Value]:
    """What is done with readings of a clock."""
    zoned = {zone: functions.in_zone(zone, clock).epoch_seconds() * 1.0 for zone in ZONES}
    seconds = clock.cast("timestamp('UTC')").epoch_seconds()
    return {
        **zoned,
        "minute": clock.truncate("m"),
        "text": clock.cast("string"),
        "days": seconds / 86_400.0,
    }


def test_words_mean_the_same(tmp_path: Path, spark: Tables) -> None:
    cases = [
        (pa.array(TEXTS, pa.string()), of_texts),
        (pa.array(NUMBERS, pa.float64()), of_numbers),
        (pa.array(CLOCKS, pa.timestamp("us")), of_clocks),
    ]

    def meant(chosen: Tables) -> list[pa.Table]:
        found = []
        with engine.engine(1, 1.0, tmp_path / "spill", chosen) as connection:
            for at, (cells, of) in enumerate(cases):
                rows = pa.table({"at": range(len(cells)), "cell": cells})
                table = engine.bring(connection, f"cells_{at}", rows)
                said = {name: value.cast("string") for name, value in of(table.cell).items()}
                ordered = table.order_by([ibis.asc("cell", nulls_first=False), "at"])
                found.append(engine.collect(table.select("at", **said).order_by("at")))
                found.append(engine.collect(ordered.select("at")))
        return found

    for here, there in zip(meant(Tables()), meant(spark), strict=True):
        for name in here.column_names:
            assert there[name].to_pylist() == here[name].to_pylist(), name


def test_times_of_parquet_are_read_alike_however_fine(tmp_path: Path, spark: Tables) -> None:
    times = pa.array(CLOCKS, pa.timestamp("us"))
    rows = pa.table({"clock": times.cast(pa.timestamp("ns"))})
    pq.write_table(rows, tmp_path / "fine.parquet")
    pq.write_table(rows, tmp_path / "old.parquet", use_deprecated_int96_timestamps=True)
    for name in ("fine", "old"):
        found = []
        for chosen in (Tables(), spark):
            with engine.engine(1, 1.0, tmp_path / "spill", chosen) as connection:
                table = engine.read_parquet(connection, tmp_path / f"{name}.parquet")
                cells = engine.collect(table.select(table.clock.cast("string").name("cell")))
                found.append((table.clock.type().timezone, cells["cell"].to_pylist()))
        assert found[0] == found[1]


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"engine": "polars"}, ("tables.engine", "duckdb, spark")),
        ({"engine": "spark", "master": "http://x"}, ("tables.master", "spark://HOST:PORT")),
        ({"motor": "spark"}, ("tables.motor", "engine, master, settings")),
    ],
)
def test_what_is_no_engine_is_refused_with_the_choices(
    shop: Shop, capsys: pytest.CaptureFixture[str], chosen: dict[str, str], words: tuple[str, ...]
) -> None:
    path = shop.root / "params.yaml"
    document = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**document, "tables": chosen}))
    assert shop.run(split) == BadConfig.exit_code
    said = capsys.readouterr().err
    assert all(word in said for word in words)


def test_spark_that_is_not_installed_is_named_with_its_cure(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(spark_session.importlib.util, "find_spec", lambda name: None)
    for name, table in tables().items():
        shop.validated(name, table)
    on(shop, Tables(engine="spark"))
    assert shop.run(split) == MissingResource.exit_code
    assert "make spark-packages" in capsys.readouterr().err

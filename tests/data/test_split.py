"""The cut: nothing later and no twin is in training, and what is added in test changes nothing before it."""

import datetime
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines.split import split
from tests.data.shops import DAYS, SIZES, START, Shop, changed, make_shop, picture, tables

TEST_FROM = START + datetime.timedelta(days=DAYS - 14)
VALID_FROM = TEST_FROM - datetime.timedelta(days=14)


@pytest.fixture
def shop(tmp_path: Path, migrated_database: Path) -> Shop:
    made = make_shop(tmp_path / "shop", migrated_database)
    made.set("split", **SIZES)
    for name, table in tables().items():
        made.validated(name, table)
    return made


def parts(shop: Shop, task: str) -> dict[str, pa.Table]:
    return {part: shop.read(f"split/{task}/{part}.parquet") for part in ("train", "valid", "test")}


def with_times(reviews: pa.Table) -> pa.Table:
    """Reviews spread evenly over the days of the events."""
    step = datetime.timedelta(days=DAYS) / reviews.num_rows
    times = [START + at * step for at in range(reviews.num_rows)]
    return reviews.append_column("timestamp", pa.array(times, pa.timestamp("us", "UTC")))


def early(shop: Shop) -> dict[str, object]:
    """All files of train and valid, and the reviews that these may read."""
    files = shop.bytes_of("split")
    names = [name for name in files if name.endswith(("train.parquet", "valid.parquet"))]
    reviews = shop.read("split/answers/reviews.parquet")
    kept = reviews.filter(pc.not_equal(reviews["part"], "test")).to_pylist()
    return {name: files[name] for name in names} | {"reviews": kept}


def test_events_are_cut_by_time(shop: Shop) -> None:
    assert shop.run(split) == 0
    found = parts(shop, "recommending")
    assert pc.max(found["train"]["timestamp"]).as_py() < VALID_FROM
    assert pc.min(found["valid"]["timestamp"]).as_py() >= VALID_FROM
    assert pc.max(found["valid"]["timestamp"]).as_py() < TEST_FROM
    assert pc.min(found["test"]["timestamp"]).as_py() >= TEST_FROM
    events = tables()["interactions"]
    assert sum(table.num_rows for table in found.values()) == events.num_rows
    cut = json.loads((shop.root / "data/split/recommending/cut.json").read_text())
    assert cut == {
        "valid_from": VALID_FROM.isoformat(),
        "test_from": TEST_FROM.isoformat(),
        "end": pc.max(events["timestamp"]).as_py().isoformat(),
    }
    for name in ("products", "users"):
        assert shop.read(f"split/recommending/{name}.parquet").equals(tables()[name])


def test_a_quiet_shop_has_longer_windows(shop: Shop) -> None:
    events = tables()["interactions"]
    # Of 40 users one comes on each day; 8 of them are a fifth.
    times = [START + datetime.timedelta(days=DAYS - 1 - at // 10) for at in range(events.num_rows)]
    users = [f"u{at // 10:02}" for at in range(events.num_rows)]
    events = events.set_column(0, "user_id", pa.array(users))
    events = events.set_column(2, "timestamp", pa.array(times, pa.timestamp("us", "UTC")))
    shop.validated("interactions", events)
    for fewest, days in ((2, (3, 3)), (5, (5, 5)), (100, (6, 8)), (1, (3, 3))):
        shop.set("split", **SIZES | {"valid_days": 3, "test_days": 3, "fewest": fewest})
        assert shop.run(split) == 0
        cut = json.loads((shop.root / "data/split/recommending/cut.json").read_text())
        test_from, valid_from = (
            datetime.datetime.fromisoformat(cut[key]) for key in ("test_from", "valid_from")
        )
        end = START + datetime.timedelta(days=DAYS)
        assert ((test_from - valid_from).days, (end - test_from).days) == days


def test_no_family_straddles_the_cut(shop: Shop) -> None:
    assert shop.run(split) == 0
    for task, family in (
        ("attributes", lambda row: row["title"] or row["image_key"]),
        ("sentiment", lambda row: int(row["review_id"][1:]) // 4),
        ("recognition", lambda row: row["image_key"]),
        ("answers", lambda row: row["question"]),
    ):
        seen = [{family(row) for row in part.to_pylist()} for part in parts(shop, task).values()]
        assert all(seen), task
        assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]


def test_twins_of_training_rows_are_no_test(shop: Shop) -> None:
    reviews, images = tables()["reviews"], tables()["images"]
    reviews = changed(reviews, "text", dict.fromkeys(range(0, 120, 3), "Great, I love it!"))
    reviews = changed(reviews, "text", dict.fromkeys(range(1, 120, 12), "great   i LOVE it"))
    images = changed(images, "bytes", dict.fromkeys(range(0, 60, 2), picture(200)))
    shop.validated("reviews", reviews)
    shop.validated("images", images)
    assert shop.run(split) == 0
    for task in ("recognition", "sentiment"):
        column = "image_key" if task == "recognition" else "text"
        found = parts(shop, task)
        pictures = dict(
            zip(images["image_key"].to_pylist(), images["bytes"].to_pylist(), strict=True)
        )
        content = {
            part: [
                pictures[cell]
                if column == "image_key"
                else "".join(filter(str.isalnum, cell.lower()))
                for cell in table[column].to_pylist()
            ]
            for part, table in found.items()
        }
        assert not set(content["train"]) & set(content["valid"])
        assert not (set(content["train"]) | set(content["valid"])) & set(content["test"])
        for part in ("valid", "test"):
            assert len(set(content[part])) == len(content[part])


def test_what_happens_after_the_cut_changes_no_file_before_it(shop: Shop) -> None:
    shop.set("split", test_from=TEST_FROM.isoformat())
    reviews = tables()["reviews"]
    reviews = with_times(reviews)
    times = reviews["timestamp"].to_pylist()
    shop.validated("reviews", reviews)
    assert shop.run(split) == 0
    before = early(shop)
    assert len(before) == 11 and before["reviews"]

    events = tables()["interactions"]
    later = pc.greater_equal(events["timestamp"], pa.scalar(TEST_FROM, pa.timestamp("us", "UTC")))
    late = events.filter(later)
    more = late.set_column(
        2, "timestamp", pc.add(late["timestamp"], pa.scalar(datetime.timedelta(days=40)))
    )
    shop.validated(
        "interactions", pa.concat_tables([events.filter(pc.invert(later)), more, late.slice(5)])
    )
    late_rows = [at for at, time in enumerate(times) if time >= TEST_FROM]
    edited = changed(
        reviews, "text", {at: f"Sentence number {at % 7} was edited" for at in late_rows}
    )
    edited = changed(edited, "label", dict.fromkeys(late_rows, "neutral"))
    shop.validated("reviews", edited)
    for task, name, key in (
        ("recognition", "images", "image_key"),
        ("answers", "questions", "question_id"),
    ):
        table = tables()[name]
        tested = set(parts(shop, task)["test"][key].to_pylist())
        rows = [at for at, cell in enumerate(table[key].to_pylist()) if cell in tested]
        column, value = ("label", "scarf") if name == "images" else ("item_id", "p001")
        shop.validated(name, changed(table, column, dict.fromkeys(rows, value)))
    assert shop.run(split) == 0
    after = early(shop)
    assert after.keys() == before.keys()
    assert [name for name in before if before[name] != after[name]] == []
    assert parts(shop, "recommending")["test"].num_rows == 2 * late.num_rows - 5


def test_equal_runs_give_equal_bytes_whatever_the_order(shop: Shop) -> None:
    assert shop.run(split) == 0
    first = shop.bytes_of("split")
    for name, table in tables().items():
        shop.validated(name, table.take(list(range(table.num_rows))[::-1]))
    path = shop.root / "params.yaml"
    path.write_text(path.read_text().replace("threads: 1", "threads: 2"))
    assert shop.run(split) == 0
    assert shop.bytes_of("split") == first


def test_rows_carry_their_pictures_and_evaluation_rows_are_capped(shop: Shop) -> None:
    shop.set("split", max_eval_rows=4)
    images = tables()["images"]
    products = tables()["products"]
    keys = pa.array([f"i{at:03}" if at < 30 else None for at in range(60)])
    shop.validated("products", products.append_column("image_key", keys))
    assert shop.run(split) == 0
    pictures = dict(zip(images["image_key"].to_pylist(), images["bytes"].to_pylist(), strict=True))
    for task in ("recognition", "attributes"):
        found = parts(shop, task)
        assert found["train"].num_rows > 4
        assert found["valid"].num_rows == found["test"].num_rows == 4
        for part in found.values():
            for row in part.to_pylist():
                assert row["bytes"] == pictures.get(row["image_key"])
    rows = [row for part in parts(shop, "attributes").values() for row in part.to_pylist()]
    of_pictures = [row for row in rows if row["item_id"].startswith("i")]
    assert of_pictures and all(
        row["title"] == "" and row["type"] in ("hat", "shoe") and row["item_id"] >= "i030"
        for row in of_pictures
    )
    assert all(row["type"] is None for row in rows if row["item_id"].startswith("p"))


def test_answers_come_with_whole_reviews_of_the_asked_items(shop: Shop) -> None:
    reviews = changed(tables()["reviews"], "item_id", {40: "p050", 44: None})
    shop.validated("reviews", with_times(reviews))
    only = {row["question_id"]: row for row in parts_of_questions(shop)["test"]}
    questions = tables()["questions"].to_pylist()
    items = ["p003" if row["question_id"] in only else "p000" for row in questions]
    questions = tables()["questions"].set_column(1, "item_id", pa.array(items))
    shop.validated("questions", questions)
    assert shop.run(split) == 0
    found = {
        row["review_id"]: row for row in shop.read("split/answers/reviews.parquet").to_pylist()
    }
    whole = [row for row in reviews.slice(0, 120).to_pylist()[::4]]
    wanted = [row["review_id"] for row in whole if row["item_id"] in ("p000", "p003")]
    assert list(found) == wanted
    written = dict(
        zip(
            *with_times(reviews).select(["review_id", "timestamp"]).to_pydict().values(),
            strict=True,
        )
    )
    for name, row in found.items():
        late = 2 if written[name] >= TEST_FROM else 1 if written[name] >= VALID_FROM else 0
        asked = 2 if row["item_id"] == "p003" else 0
        assert row["part"] == ("train", "valid", "test")[max(late, asked)]


def test_a_question_is_not_asked_before_its_answer_was_written(shop: Shop) -> None:
    shop.validated("reviews", with_times(tables()["reviews"]))
    written = with_times(tables()["reviews"])
    written = dict(
        zip(*written.select(["review_id", "timestamp"]).to_pydict().values(), strict=True)
    )
    before = parts_of_questions(shop)
    early = [name for name, moment in written.items() if moment < VALID_FROM]
    late = [name for name, moment in written.items() if moment >= TEST_FROM]
    first, second = (row["question_id"] for row in before["train"][:2])
    rows = tables()["questions"].to_pylist()
    for row in rows:
        row |= {"review_id": None, "start": None, "end": None}
        if row["question_id"] in (first, second):
            name = early[0] if row["question_id"] == first else late[0]
            row |= {"review_id": name, "start": 0, "end": 1}
    shop.validated("questions", pa.Table.from_pylist(rows, tables()["questions"].schema))
    after = parts_of_questions(shop)
    kept = {row["question_id"] for row in after["train"]}
    assert first in kept and second not in kept
    assert after["test"] and len(kept) == len(before["train"]) - 1


def parts_of_questions(shop: Shop) -> dict[str, list[dict]]:
    assert shop.run(split) == 0
    return {part: table.to_pylist() for part, table in parts(shop, "answers").items()}


def test_a_part_without_rows_is_bad_data(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.set("split", test_from="2030-01-01T00:00:00+00:00")
    assert shop.run(split) == 65
    assert "recommending: no rows in test" in capsys.readouterr().err
    shop.set("split", test_from="soon")
    assert shop.run(split) == 78
    assert "split.test_from 'soon' is no moment" in capsys.readouterr().err

"""Scores name the model and the rows that they were made with, and nothing changed passes for them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.harness import BadData, Bug
from pipelines.promotion.frozen import (
    Learned,
    check_scores,
    check_seal,
    read_scores,
    rows_hash,
    seal,
    write_scores,
)

LEARNED = Learned(0, "2024-03-01T00:00:00+00:00", "2024-03-02T00:00:00+00:00")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    folder = tmp_path / "rows"
    (folder / "shards").mkdir(parents=True)
    (folder / "shards" / "0.bin").write_bytes(b"abc")
    (folder / "questions.txt").write_text("where?")
    seal(folder, "test")
    return folder


def table(**changes: object) -> pd.DataFrame:
    usual = {"row_id": ["b", "a", "c"], "score": [0.0, 1.0, 1.0], "slice_x": ["p", "q", "p"]}
    return pd.DataFrame({**usual, **changes})


def write(path: Path, rows: Path, frame: pd.DataFrame, **baselines: list[float]) -> None:
    given = {name: np.array(values) for name, values in baselines.items()}
    write_scores(
        path, frame, given, bundle="b1", seal=check_seal(rows), learned=LEARNED, metric="accuracy"
    )


def test_scores_come_back_sorted_with_what_they_belong_to(rows: Path, tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    write(path, rows, table(truth=["x", "y", "z"]), zero=[0, 0, 0], best=[1, 0, 1], also=[0, 1, 1])
    found = read_scores(path)
    assert found.table["row_id"].tolist() == ["a", "b", "c"]
    assert found.table["best"].tolist() == [0.0, 1.0, 1.0]
    assert found.table["truth"].tolist() == ["y", "x", "z"]
    assert set(found.baselines) == {"zero", "best", "also"}
    assert found.best_baseline() == "also"
    assert (found.bundle, found.metric) == ("b1", "accuracy")
    assert found.seal == check_seal(rows)
    assert found.learned == LEARNED


@pytest.mark.parametrize(
    ("learned", "apart"),
    [
        (Learned(0, "", ""), True),
        (Learned(1, "", ""), False),
        (Learned(0, "2024-03-01T00:00:00+00:00", "2024-03-02T00:00:00+00:00"), True),
        (Learned(0, "2024-03-02T00:00:00+00:00", "2024-03-02T00:00:00+00:00"), False),
        (Learned(0, "2024-03-01T23:00:00-05:00", "2024-03-02T00:00:00+00:00"), False),
        (Learned(0, "2024-03-01T00:00:00+00:00", ""), False),
    ],
)
def test_training_is_apart_where_no_row_is_shared_and_all_is_earlier(
    learned: Learned, apart: bool
) -> None:
    assert learned.apart is apart


def test_equal_scores_in_another_order_give_equal_bytes(rows: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    write(one, rows, table(), zero=[1, 2, 3])
    write(two, rows, table().iloc[::-1], zero=[3, 2, 1])
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("change", ["edit", "add", "remove", "rename"])
def test_changed_rows_are_found(rows: Path, change: str) -> None:
    file = rows / "questions.txt"
    if change == "edit":
        file.write_text("when?")
    elif change == "add":
        (rows / "more.txt").write_text("")
    elif change == "remove":
        file.unlink()
    else:
        file.rename(rows / "asked.txt")
    with pytest.raises(BadData, match="changed after they were frozen"):
        check_seal(rows)


def test_rows_without_a_seal_are_refused(rows: Path) -> None:
    before = rows_hash(rows)
    (rows / "hash.json").unlink()
    assert rows_hash(rows) == before
    with pytest.raises(BadData, match="hash.json"):
        check_seal(rows)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"score": [0.0, float("nan"), 1.0]}, "'a' is not a number"),
        ({"row_id": ["a", "a", "c"]}, "'a' was scored twice"),
    ],
)
def test_broken_scores_name_the_row(changes: dict[str, object], told: str) -> None:
    with pytest.raises(Bug, match=told):
        check_scores(table(**changes), "model")
    with pytest.raises(Bug, match="score"):
        check_scores(table().drop(columns="score"), "model")
    with pytest.raises(BadData, match="no rows"):
        check_scores(table().iloc[:0], "model")


@pytest.mark.parametrize(
    "baselines",
    [{"zero": [0.0, 0.0]}, {"zero": [0.0, float("nan"), 0.0]}, {"score": [0.0, 0.0, 0.0]}],
)
def test_a_broken_baseline_is_refused(rows: Path, tmp_path: Path, baselines: dict) -> None:
    with pytest.raises(Bug, match="baseline"):
        write(tmp_path / "scores.parquet", rows, table(), **baselines)


def test_a_table_that_names_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    table().to_parquet(path)
    with pytest.raises(BadData, match="bundle"):
        read_scores(path)


def test_training_rows_that_are_tested_are_counted_and_the_newest_is_told(tmp_path: Path) -> None:
    from pipelines.capabilities import capability
    from pipelines.evaluate import learned
    from pipelines.training.judging import fitted_rows

    pd.DataFrame({"review_id": ["a", "b"]}).to_parquet(tmp_path / "train.parquet")
    pd.DataFrame({"review_id": ["c"]}).to_parquet(tmp_path / "valid.parquet")
    found = learned(capability("sentiment"), tmp_path, pd.Series(["c", "d"]))
    assert (found.shared, found.newest, found.test_from) == (1, "", "")
    assert found.fitted == fitted_rows(tmp_path)

    days = {
        "train": ["2024-01-01T10:00:00Z", None],
        "valid": ["2024-01-05T10:00:00Z"],
        "test": ["2024-01-04"],
    }
    for part, texts in days.items():
        frame = pd.DataFrame(
            {"review_id": texts, "timestamp": pd.to_datetime(texts, utc=True, format="ISO8601")}
        )
        frame.to_parquet(tmp_path / f"{part}.parquet")
    found = learned(capability("sentiment"), tmp_path, pd.Series(["c"]))
    assert found.newest.startswith("2024-01-05T10") and found.test_from.startswith("2024-01-04")
    assert not found.apart

    for at, part in enumerate(("train", "valid")):
        times = pd.to_datetime([f"2024-01-0{at + 1}T10:00:00Z"])
        pd.DataFrame({"timestamp": times}).to_parquet(tmp_path / f"{part}.parquet")
    (tmp_path / "cut.json").write_text('{"test_from": "2024-01-03T00:00:00+00:00"}')
    found = learned(capability("recommender"), tmp_path, pd.Series(["c", "d"]))
    times = ("2024-01-02T10:00:00+00:00", "2024-01-03T00:00:00+00:00")
    assert found == Learned(0, *times, fitted_rows(tmp_path))
    assert found.apart

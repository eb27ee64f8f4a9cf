"""The benchmark of the recommenders: whom it asks, what it counts, and who is new."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import recommenders as bench


def folder(path: Path, **tables: list[tuple]) -> Path:
    for part, rows in tables.items():
        columns = ["user", "item", "rank", "score"][: len(rows[0])]
        pd.DataFrame(rows, columns=columns).to_parquet(path / f"{part}.parquet", index=False)
    return path


def test_only_what_is_new_and_open_to_the_user_is_asked_for(tmp_path: Path) -> None:
    """u1 wants a (had before) and b; u2 wants c alone; u3 gets a list and is not asked for."""
    folder(
        tmp_path,
        train=[("u1", "a"), ("u2", "b"), ("u3", "c")],
        test=[("u1", "a"), ("u1", "b"), ("u2", "c"), ("u2", "c")],
        lists=[("u1", "c", 1, 2.0), ("u1", "b", 2, 1.0), ("u2", "c", 1, 1.0), ("u3", "a", 1, 1.0)],
    )
    lists = tmp_path / "lists.parquet"
    found = bench.judged(tmp_path, lists, again=False)
    assert found.users.tolist() == ["u1", "u2"] and found.lists == 3
    np.testing.assert_allclose(found.ndcg, [1 / np.log2(3), 1.0])
    both = bench.judged(tmp_path, lists, again=True)
    np.testing.assert_allclose(both.ndcg[0], (1 / np.log2(3)) / (1 + 1 / np.log2(3)))
    assert bench.judged(tmp_path, lists, False, pd.Index(["u2"])).users.tolist() == ["u2"]
    pd.DataFrame({"item": ["b"]}).to_parquet(tmp_path / "candidates.parquet")
    assert bench.judged(tmp_path, lists, again=False).users.tolist() == ["u1"]


def test_a_gain_is_told_with_its_ratio() -> None:
    rng = np.random.default_rng(3)
    theirs = rng.random(400)
    assert bench.against(theirs * 1.1, theirs, seed=1).startswith("ratio 1.100, +0.05")


@pytest.mark.parametrize("by", ["ts", "pos"])
def test_newcomers_have_enough_events_and_keep_the_last(by: str) -> None:
    train = pd.DataFrame(
        {"user": list("aaabbbbcd"), "item": range(9), by: [3, 1, 2, 9, 8, 7, 6, 1, 1]}
    )
    assert bench.order(train).tolist() == [0, 2, 1, 0, 1, 2, 3, 0, 0]
    test = pd.DataFrame({"user": ["a", "b", "c"]})
    drawn = {bench.draw(train, test, 3, seed)[0] for seed in range(20)}
    assert drawn == {"a", "b"}

"""The benchmark of the recommenders: whom it asks, what it counts, and who is new."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import newcomers
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
def test_the_last_events_are_known_across_parts(by: str) -> None:
    """Where only the order is known, what is valid follows what is train."""
    train = pd.DataFrame({"user": list("aaabbbb"), by: [3, 1, 2, 9, 8, 7, 6]})
    found = newcomers.order({"train": train})
    assert found["train"].tolist() == [0, 2, 1, 0, 1, 2, 3]
    valid = pd.DataFrame({"user": list("bac"), by: [10, 4, 1]})
    found = newcomers.order({"train": train, "valid": valid})
    assert found["train"].tolist() == [1, 3, 2, 1, 2, 3, 4]
    assert found["valid"].tolist() == [0, 0, 0]


def test_events_of_one_moment_stand_in_their_order() -> None:
    table = pd.DataFrame({"user": list("aaaa"), "ts": [1, 1, 1, 0], "pos": [2, 3, 1, 4]})
    assert newcomers.order({"train": table})["train"].tolist() == [1, 0, 2, 3]


def test_newcomers_have_enough_events_and_are_new_once() -> None:
    known = pd.Series(list(range(40)) * 3 + list(range(100, 140)))
    asked = pd.Series([*range(20, 40), *range(100, 140)] * 2)
    groups = newcomers.dealt(known, asked, 3, seed=1, rounds=9)
    assert [(len(one), len(other)) for one, other in groups] == [(8, 8), (2, 2)]
    everyone = np.concatenate([half for halves in groups for half in halves])
    assert sorted(everyone) == list(range(20, 40))
    with pytest.raises(ValueError, match="two are needed"):
        newcomers.dealt(known, asked, 4, seed=1, rounds=1)


def test_trained_on_and_folded_in_know_the_same(tmp_path: Path) -> None:
    folder(
        tmp_path,
        items=[("x",)],
        test=[("a", "x")],
    )
    train = pd.DataFrame({"user": list("aaabcc"), "item": list("wxyzxw"), "ts": range(6)})
    valid = pd.DataFrame({"user": list("abc"), "item": list("vuz"), "ts": [7, 8, 9]})
    train.to_parquet(tmp_path / "train.parquet")
    valid.to_parquet(tmp_path / "valid.parquet")
    halves, few = {"a": pd.Index(["a"]), "c": pd.Index(["c"])}, {}
    for folded, trained in ("ac", "ca"):
        below = tmp_path / folded
        newcomers.Known.of(tmp_path).write(halves[trained], halves[folded], 2, below)
        *learnt, apart = bench.known(below)
        assert set(apart.user) == {folded} and folded not in set(pd.concat(learnt).user)
        few[folded] = {*pd.concat([*learnt, apart]).itertuples(index=False, name=None)}
        assert (below / "items.parquet").is_file() and (below / "test.parquet").is_file()
    known = {("a", "y"), ("a", "v"), ("b", "z"), ("b", "u"), ("c", "w"), ("c", "z")}
    assert few["a"] == few["c"] == known


def test_nearness_is_of_the_same_users() -> None:
    trained = np.random.default_rng(3).random(300)
    found = newcomers.nearness(trained * 0.9, trained, seed=1)
    np.testing.assert_allclose([found.mean, found.low, found.high], 0.9)
    with pytest.raises(ValueError, match="nothing to come near to"):
        newcomers.nearness(trained, trained * 0, seed=1)

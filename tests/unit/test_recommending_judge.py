"""How recommenders are judged: who is asked, what counts as true, what the lists are made from."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.recommenders.baselines import PersonalPopularity, Popularity
from models.recommenders.events import Events
from pipelines.capabilities import recommending as judge

CUTS = {"valid_from": "2024-03-01T00:00:00+00:00", "test_from": "2024-03-29T00:00:00+00:00"}


@pytest.fixture
def split(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    days = np.sort(rng.uniform(0, 110, 600))
    table = pd.DataFrame(
        {
            "user_id": [f"user {at}" for at in rng.integers(0, 15, 600)],
            "item_id": [f"item {at}" for at in rng.integers(0, 20, 600)],
            "timestamp": pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(days, "D"),
            "event": np.where(rng.random(600) < 0.5, "purchase", "view"),
        }
    )
    starts = [pd.Timestamp(CUTS[name]) for name in ("valid_from", "test_from")]
    part = np.searchsorted(
        np.array(starts, dtype=object), table.timestamp.to_numpy(object), "right"
    )
    for at, name in enumerate(("train", "valid", "test")):
        table[part == at].to_parquet(tmp_path / f"{name}.parquet")
    pd.DataFrame({"item_id": sorted(table.item_id.unique())}).to_parquet(
        tmp_path / "products.parquet"
    )
    (tmp_path / "cut.json").write_text(json.dumps(CUTS), "utf-8")
    return tmp_path


@pytest.mark.parametrize("part", ["valid", "test"])
def test_buyers_of_the_window_are_asked_from_what_was_before_it(split: Path, part: str) -> None:
    rows = split / "rows"
    judge.freeze(split, part, rows)
    items = judge.catalogue(rows)
    history, users, truth = judge.asked(rows, items)
    window = pd.read_parquet(split / f"{part}.parquet")
    bought = window[window.event == "purchase"]
    assert users == sorted(bought.user_id.unique())
    for at, name in enumerate(users):
        mine = {items[item] for item in truth.item[slice(*truth.indptr[at : at + 2])]}
        assert mine == set(bought[bought.user_id == name].item_id)
    assert history.day.max() < history.now == judge.moment(CUTS[f"{part}_from"])


def test_a_shop_without_purchases_is_judged_on_what_it_knows(split: Path) -> None:
    for name in ("train", "valid", "test"):
        path = split / f"{name}.parquet"
        pd.read_parquet(path).assign(event="view").to_parquet(path)
    judge.freeze(split, "valid", split / "rows")
    _, users, _ = judge.asked(split / "rows", judge.catalogue(split / "rows"))
    assert users == sorted(pd.read_parquet(split / "valid.parquet").user_id.unique())


def test_of_very_many_buyers_some_are_asked_whatever_else_is_there(
    split: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge.freeze(split, "test", split / "all")
    monkeypatch.setattr(judge, "MOST_USERS", 5)
    judge.freeze(split, "test", split / "some")
    items = judge.catalogue(split / "all")
    everyone, some = (judge.asked(split / name, items) for name in ("all", "some"))
    assert len(some[1]) == 5 and set(some[1]) < set(everyone[1])
    assert len(some[0].user) == len(everyone[0].user)  # the history is everyone's
    truth = everyone[2].take(np.array([everyone[1].index(name) for name in some[1]]))
    assert np.array_equal(truth.item, some[2].item)


def test_where_nothing_is_bought_again_lists_are_judged_without_it() -> None:
    days = pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"], utc=True)
    frame = pd.DataFrame({"user_id": list("aabb"), "item_id": list("xyxz"), "timestamp": days})
    history = Events.from_frame(frame, list("xyz"))
    truth = Events.from_frame(frame.head(1).assign(item_id="z"), list("xyz")).histories
    assert not history.bought_again
    own = PersonalPopularity.fit(history, 30.0)
    assert judge.listed(own, history, ["a"], truth) == 1.0  # what they have stands before it else
    for later, told in (("1h", False), ("1D", True)):
        twice = pd.concat([frame, frame.assign(timestamp=days + pd.Timedelta(later))])
        assert Events.from_frame(twice, list("xyz")).bought_again == told


def test_an_item_that_the_model_does_not_know_costs_it(split: Path) -> None:
    rows = split / "rows"
    judge.freeze(split, "valid", rows)
    items = judge.catalogue(rows)
    known = {}
    for name, kept in (("all", items), ("few", items[:3])):
        history, users, truth = judge.asked(rows, kept)
        known[name] = judge.listed(Popularity.fit(history, 30.0), history, users, truth)
    assert known["few"].mean() < known["all"].mean()
    assert len(known["few"]) == len(known["all"])


def test_scores_and_baselines_have_one_row_a_user(split: Path) -> None:
    rows = split / "rows"
    judge.freeze(split, "test", rows)
    history, users, _ = judge.asked(rows, judge.catalogue(rows))
    model = PersonalPopularity.fit(history, 90.0)
    table = judge.score(model, rows)
    assert table.row_id.tolist() == users
    assert table.score.between(0, 1).all()
    assert set(table) >= {"slice_history", *(f"side_{name}" for name in judge.SIDES)}
    # A list is full where each place is filled, not as far as it is.
    few = judge.score(PersonalPopularity.fit(judge.asked(rows, model.items[:3])[0], 90.0), rows)
    assert few["side_full"].tolist() == [0.0] * len(users)
    # A list that holds one of the truths scores by every measure, one that holds none by none.
    hit = table["also_HitRate@20"] > 0
    for name in ("score", "also_Recall@20", "also_MRR@20"):
        assert ((table[name] > 0) == hit).all() and table[name].max() <= 1
    bought = history.user.astype(int) * len(history.items) + history.item
    assert judge.buyers(history).sum() == len(set(bought.tolist()))
    assert all(len(values) == len(users) for values in judge.baselines(split, rows, 1).values())
    # The model is judged on the frozen events, not on those that it was fitted with.
    empty = PersonalPopularity.fit(
        Events.from_frame(pd.DataFrame(judge_columns()), model.items), 90.0
    )
    pd.testing.assert_frame_equal(judge.score(empty, rows), table)
    assert judge.against_own(model, rows, 1)["gain over own purchases, high"] >= 0
    products = pd.read_parquet(rows / "products.parquet").assign(category="tea")
    products.to_parquet(rows / "products.parquet")
    assert set(judge.score(model, rows)) - set(table) == {"slice_category", "side_variety"}


def test_users_are_grouped_by_the_category_that_they_have_most_of() -> None:
    items = [f"item {at}" for at in range(judge.MOST_CATEGORIES + 3)]
    names = [f"kind {at}" for at in range(judge.MOST_CATEGORIES + 2)]
    codes = np.array([-1, *range(len(names))])
    # Each of the first likes one kind; "two" is torn between two, "none" has an item of no kind, and one more likes kind 0.
    user, item = [], []
    for at in range(len(names)):
        user += [at] * 2
        item += [at + 1] * 2
    user += [len(names), len(names), len(names) + 1, len(names) + 2]
    item += [3, 2, 0, 1]
    users = [*map(str, range(len(names))), "two", "none", "more"]
    day = np.zeros(len(user))
    events = Events.from_arrays(users, items, np.array(user), np.array(item), day)
    told = dict(zip(users, judge.favourites(events, codes, names), strict=True))
    assert (told["0"], told["two"], told["none"], told["more"]) == (
        "kind 0",
        "kind 1",
        "none",
        "kind 0",
    )
    assert [told[name] for name in users[-5:-3]] == ["other", "other"]
    assert len(set(told.values()) - {"other", "none"}) == judge.MOST_CATEGORIES


def test_groups_are_thirds_of_those_who_are_not_new() -> None:
    events = np.array([0, 4, *range(5, 305)])
    names, sizes = np.unique(judge.groups(events), return_counts=True)
    assert dict(zip(names.tolist(), sizes.tolist(), strict=True)) == {
        "heavy": 100,
        "light": 100,
        "new": 2,
        "regular": 100,
    }


def judge_columns() -> dict:
    stamp = pd.Timestamp("2024-01-01", tz="UTC")
    return {"user_id": ["x"], "item_id": ["item 0"], "timestamp": [stamp]}

"""The `recommend` verb: what it reads, whom it lists, and what it does with odd shops."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.recommenders.registry import RECOMMENDERS
from pipelines import benchmark
from pipelines.harness import BadConfig, BadData
from tests.conftest import REPOSITORY

FAST = ("popularity", "next-item", "item-cosine", "attribute-neighbours")


def recommend(folder: Path, *words: str, **tables: pd.DataFrame) -> pd.DataFrame:
    folder.mkdir(exist_ok=True)
    given_files = []
    for name, table in tables.items():
        path = folder / f"{name}.parquet"
        table.to_parquet(path, index=False)
        given_files += [f"--{name.replace('_', '-')}", str(path)]
    out = folder / "lists.parquet"
    base = ["recommend", *given_files, "--out", str(out), "--profile", "tiny", "--threads", "1"]
    benchmark.run([*base, *words], REPOSITORY)
    return pd.read_parquet(out)


def shop(seed: int, users: int = 12, items: int = 15, events: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "user": [f"用户 {at}" for at in rng.integers(0, users, events)],
            "item": [f"货 {at}" for at in rng.integers(0, items, events)],
            "ts": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 90, events), "D"),
            "price": np.where(rng.random(events) < 0.2, np.nan, rng.random(events)),
        }
    )


def sound(lists: pd.DataFrame, users: set, k: int, allowed: dict) -> None:
    """No duplicate, nothing that is not allowed, ranks from 1, scores falling, full where it can be."""
    assert set(lists.user) <= users
    assert not lists.duplicated(["user", "item"]).any()
    for user in users:
        mine = lists[lists.user == user]
        assert mine["rank"].tolist() == list(range(1, min(k, len(allowed[user])) + 1))
        assert set(mine.item) <= allowed[user]
        assert (np.diff(mine.score) <= 0).all()


@pytest.mark.parametrize("name", ["auto", "user-neighbours", "ials", "ease", "rp3beta"])
def test_every_user_gets_a_full_list_of_new_items(tmp_path: Path, name: str) -> None:
    train = shop(1)
    lists = recommend(tmp_path, "--k", "4", "--recommender", name, train=train)
    everything = set(train.item)
    allowed = {user: everything - set(mine.item) for user, mine in train.groupby("user")}
    sound(lists, set(train.user), 4, allowed)


def test_ids_come_back_as_they_were_given(tmp_path: Path) -> None:
    train = shop(2).assign(
        user=lambda t: t.user.str[3:].astype("int64"), item=lambda t: t.item.str[2:].astype("int32")
    )
    lists = recommend(tmp_path, "--recommender", "next-item", train=train)
    assert lists.user.dtype == "int64" and lists.item.dtype == "int32"
    assert set(lists.user) <= set(train.user)


def test_folded_in_users_are_listed_and_only_candidates_are(tmp_path: Path) -> None:
    train, fold = shop(3), shop(4, users=3).assign(user=lambda t: "neu " + t.user)
    extra = pd.DataFrame(
        {"item": [*sorted(set(train.item))[:2], "never sold"], "kind": ["a", "b", "a"]}
    )
    lists = recommend(
        tmp_path,
        "--allow-seen",
        "--k",
        "5",
        train=train,
        fold_in=fold,
        candidates=extra,
        items=extra,
    )
    users = set(train.user) | set(fold.user)
    sound(lists, users, 5, {user: set(extra.item) for user in users})


def test_folding_in_does_not_change_the_lists_of_others(tmp_path: Path) -> None:
    train, fold = shop(5), shop(6, users=3).assign(user=lambda t: "neu " + t.user)
    words = ("--recommender", "item-cosine")
    alone = recommend(tmp_path / "a", *words, train=train)
    both = recommend(tmp_path / "b", *words, train=train, fold_in=fold)
    # Who had every item has no list.
    listed = [
        user for user in [*fold.user.unique(), *train.user.unique()] if user in set(both.user)
    ]
    assert both.user.drop_duplicates().tolist() == listed
    pd.testing.assert_frame_equal(
        alone, both[~both.user.str.startswith("neu")].reset_index(drop=True)
    )


@pytest.mark.parametrize("name", ["next-item", "item-cosine", "ials"])
def test_the_order_of_rows_and_the_names_of_ids_tell_nothing(tmp_path: Path, name: str) -> None:
    train = shop(7, events=150)
    same = recommend(tmp_path / "a", "--recommender", name, train=train)
    mixed = recommend(
        tmp_path / "b", "--recommender", name, train=train.sample(frac=1, random_state=1)
    )
    by_user = [lists.sort_values(["user", "rank"], ignore_index=True) for lists in (same, mixed)]
    pd.testing.assert_frame_equal(*by_user)


RINGS, LONG, BUYERS = 40, 12, 160
"""Tastes, items of each, and users."""


def telling() -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Events whose row order and whose ids give away what comes next, the items, and what comes next by user.

    A user walks in one ring of items, two steps a day, each day's in the order of the rows. The last step ends in the half
    with the lower ids, and so does the next.
    """
    rng = np.random.default_rng(11)
    rows, after = [], {}
    for user in range(BUYERS):
        ring = user % RINGS
        steps = [*rng.choice(np.arange(LONG // 2, LONG), 3, replace=False), *rng.permutation(3)]
        steps = [int(step) for step in steps]
        rows += [(user, ring * LONG + step, at // 2) for at, step in enumerate(steps)]
        left = [step for step in range(LONG // 2) if step not in steps]
        after[user] = ring * LONG + min(left, key=lambda step: (step - steps[-1]) % LONG)
    events = pd.DataFrame(rows, columns=["user", "item", "day"])
    events["ts"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(events.pop("day"), "D")
    items = pd.DataFrame({"item": range(RINGS * LONG)})
    items["kind"] = "ring " + (items.item // LONG).astype(str)
    return events, items, pd.Series(after)


def quality(lists: pd.DataFrame, after: pd.Series) -> np.ndarray:
    """NDCG@10 of each user of `after`, whose one truth it is."""
    place = lists.merge(after.rename("item").rename_axis("user").reset_index())
    gain = 1 / np.log2(place.set_index("user")["rank"].reindex(after.index) + 1)
    return gain.fillna(0.0).to_numpy()


def unlike(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two qualities of the same users differ by more than noise, that of broken ties among it.

    A tie is broken in one way for all users of a ring, so that rings, not users, are what chance draws.
    """
    gap = pd.Series(first - second).groupby(np.arange(BUYERS) % RINGS).mean()
    return abs(gap.mean()) > 0.03 + 3 * gap.std() / np.sqrt(len(gap))


@pytest.mark.parametrize("name", ["auto", *RECOMMENDERS])
def test_shuffled_ids_rows_and_ties_leave_the_quality_as_it_was(tmp_path: Path, name: str) -> None:
    events, items, after = telling()
    rng = np.random.default_rng(3)
    users, goods = (
        pd.Series([f"{prefix}{at:04d}" for at in rng.permutation(9000)[:count]])
        for prefix, count in (("u", BUYERS), ("i", len(items)))
    )
    words = ("--recommender", name, "--k", "10")
    plain = recommend(tmp_path / "plain", *words, train=events, items=items)
    shuffled = recommend(
        tmp_path / "shuffled",
        *words,
        train=events.assign(user=events.user.map(users), item=events.item.map(goods)).sample(
            frac=1, random_state=5
        ),
        items=items.assign(item=items.item.map(goods)).sample(frac=1, random_state=6),
    )
    moved = pd.Series(after.map(goods).to_numpy(), index=users[after.index])
    assert not unlike(quality(plain, after), quality(shuffled, moved))


@pytest.mark.parametrize("cheat", ["id", "row"])
def test_ties_that_are_broken_by_id_or_by_row_would_be_seen(cheat: str) -> None:
    events, _, after = telling()
    last = events.drop_duplicates("user", keep="last").set_index("user").item
    had = set(zip(events.user, events.item, strict=True))

    def listed(order: np.ndarray) -> pd.DataFrame:
        """All of each user's ring in the order of `order` (users, LONG), without what the user had."""
        rows = pd.DataFrame(
            {"user": np.repeat(last.index, LONG), "item": (ring + order).ravel()},
        )
        rows = rows[[pair not in had for pair in zip(rows.user, rows.item, strict=True)]]
        return rows.assign(rank=rows.groupby("user").cumcount() + 1)

    ring = last.to_numpy()[:, None] // LONG * LONG
    steps = np.tile(np.arange(LONG), (BUYERS, 1))
    read = steps if cheat == "id" else (last.to_numpy()[:, None] + 1 + steps) % LONG
    blind = np.random.default_rng(0).permuted(steps, axis=1)
    assert unlike(quality(listed(read), after), quality(listed(blind), after))


def test_the_order_alone_is_enough(tmp_path: Path) -> None:
    """Item 1 always follows item 0, 2 follows 1, ... : next-item counts find it out."""
    rows = [(f"u{u}", f"i{(u + at) % 20}", at) for u in range(40) for at in range(5)]
    train = pd.DataFrame(rows, columns=["user", "item", "pos"]).sample(frac=1, random_state=2)
    lists = recommend(tmp_path, "--recommender", "next-item", "--k", "1", train=train)
    first = lists.set_index("user").item
    right = [first[f"u{u}"] == f"i{(u + 5) % 20}" for u in range(40)]
    assert np.mean(right) > 0.9


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 10_000),
    users=st.integers(1, 5),
    items=st.integers(1, 6),
    events=st.integers(1, 30),
    name=st.sampled_from(FAST),
    again=st.booleans(),
    one_moment=st.booleans(),
    described=st.booleans(),
)
def test_odd_shops_get_sound_lists(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    users: int,
    items: int,
    events: int,
    name: str,
    again: bool,
    one_moment: bool,
    described: bool,
) -> None:
    train = shop(seed, users, items, events)
    if one_moment:
        train["ts"] = train.ts.iloc[0]
    tables = {"train": train}
    everything = set(train.item)
    if described:
        tables["items"] = pd.DataFrame({"item": sorted(everything)[:-1], "colour": "red"})
        everything |= set(tables["items"].item)
    words = ["--allow-seen"] if again else []
    folder = tmp_path_factory.mktemp("shop")
    lists = recommend(folder, *words, "--k", "3", "--recommender", name, **tables)
    had = {user: set() if again else set(mine.item) for user, mine in train.groupby("user")}
    sound(lists, set(train.user), 3, {user: everything - mine for user, mine in had.items()})


@pytest.mark.parametrize(
    "train",
    [
        pd.DataFrame({"user": ["a"], "item": ["x"], "ts": [pd.Timestamp("2024-01-01")]}),
        pd.DataFrame({"user": list("abc") * 9, "item": "x", "pos": 1}),
        pd.DataFrame({"user": "a", "item": [f"{at}" for at in range(900)], "pos": range(900)}),
        pd.DataFrame({"user": list("abcd"), "item": list("xxyz"), "ts": [1.7e9] * 4}),
    ],
    ids=["one event", "one item", "one user", "one moment"],
)
@pytest.mark.parametrize("again", [False, True])
def test_auto_serves_odd_shops(tmp_path: Path, train: pd.DataFrame, again: bool) -> None:
    words = ["--allow-seen"] if again else []
    lists = recommend(tmp_path, *words, "--k", "3", train=train)
    everything = set(train.item)
    had = {user: set() if again else set(mine.item) for user, mine in train.groupby("user")}
    sound(lists, set(train.user), 3, {user: everything - mine for user, mine in had.items()})


@pytest.mark.parametrize(
    ("change", "words", "error", "told"),
    [
        ({"ts": "soon"}, [], BadData, "column ts, row 1"),
        ({"item": None}, [], BadData, "column item, row 1"),
        ({}, ["--recommender", "magic"], BadConfig, "magic"),
        ({}, ["--k", "0"], BadConfig, "--k"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, change: dict, words: list, error: type, told: str
) -> None:
    with pytest.raises(error, match=told):
        recommend(tmp_path, *words, train=shop(8).assign(**change))


def test_the_last_line_has_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop(9).to_parquet(tmp_path / "train.parquet", index=False)
    words = [
        "recommend",
        "--train",
        str(tmp_path / "train.parquet"),
        "--out",
        str(tmp_path / "o.parquet"),
    ]
    words += ["--recommender", "popularity", "--profile", "tiny"]
    assert benchmark.main(words, REPOSITORY) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["peak_memory_mb"] > 0 and figures["rows"] > 0


def test_a_user_without_events_gets_what_users_with_the_same_features_bought(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(8)
    rows = [
        (f"u{u}", f"{'ab'[u % 2]}{rng.integers(0, 6)}", at) for u in range(80) for at in range(6)
    ]
    train = pd.DataFrame(rows, columns=["user", "item", "day"])
    train["ts"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(train.pop("day") * 5, "D")
    users = pd.DataFrame(
        {"user": [f"u{u}" for u in range(84)], "city": ["North", "South"] * 42, "age": 30.0}
    ).sample(frac=1, random_state=1)
    users.loc[users.user == "u83", "city"] = None
    lists = recommend(tmp_path, "--k", "6", train=train, users=users)
    for user, group in (("u80", "a"), ("u81", "b"), ("u82", "a")):
        assert set(lists[lists.user == user].item.str[0]) == {group}
    assert len(lists[lists.user == "u83"]) == 6


@pytest.mark.parametrize(
    ("kinds", "first"), [(("view", "purchase"), "w"), (("purchase", "view"), "z")]
)
def test_one_purchase_says_more_than_one_view(tmp_path: Path, kinds: tuple, first: str) -> None:
    """z follows x, w follows y; who touched x and y at one moment is listed what follows the one that was bought."""
    rows = [
        (f"{pair} {at}", item, at % 7 * 10 + day, "purchase")
        for pair in ("xz", "yw")
        for at in range(20)
        for day, item in enumerate(pair)
    ]
    rows += [("you", item, 69, kind) for item, kind in zip("xy", kinds, strict=True)]
    train = pd.DataFrame(rows, columns=["user", "item", "day", "event"])
    train["ts"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(train.pop("day"), "D")
    lists = recommend(tmp_path, "--recommender", "next-item", "--k", "1", train=train)
    assert lists.set_index("user").item["you"] == first

"""The recommenders: histories, exact lists, neighbours, reasons, fold-in, and what they do with odd shops."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle import load, save
from models.metrics import ndcg, paired_interval
from models.recommenders.base import Recommender, recommend, top_k
from models.recommenders.baselines import (
    PersonalPopularity,
    Popularity,
    UserNeighbours,
    matrix,
    touched,
)
from models.recommenders.collaborative import Collaborative
from models.recommenders.events import HALF_LIVES, Events, hash_order, scatter
from models.recommenders.hybrid import Hybrid
from models.recommenders.two_tower import (
    PAIR_FEATURES,
    POPULARITY_HALF_LIVES,
    popularity_features,
)

ITEMS = hash_order([f"货 {at}" for at in range(12)])


def frame(seed: int, users: int = 9, events: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    days = rng.uniform(0, 60, events)
    return pd.DataFrame(
        {
            "user_id": [f"user {at}" for at in rng.integers(0, users, events)],
            "item_id": rng.choice(ITEMS, events),
            "timestamp": pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(days, "D"),
        }
    )


def towers(events: Events, seed: int = 0, kind: type = Collaborative) -> Collaborative:
    rng = np.random.default_rng(seed)
    n, d = len(events.items), 4
    draw = lambda *shape: rng.normal(0, 0.5, shape).astype(np.float32)  # noqa: E731
    weights = {
        "mix": draw(len(HALF_LIVES)),
        "popular": draw(len(POPULARITY_HALF_LIVES)),
        "bias": draw(1),
        "w1": draw(PAIR_FEATURES, 3),
        "b1": draw(3),
        "w2": draw(3, 3),
        "b2": draw(3),
        "w3": np.abs(draw(3, 1)),
        "b3": draw(1),
    }
    return kind(
        items=events.items,
        vectors_in=draw(n, d),
        vectors_out=draw(n, d),
        weights=weights,
        popular=popularity_features(events),
        known=events,
        k=5,
    )


def models(events: Events) -> list[Recommender]:
    return [
        Popularity.fit(events, 30.0),
        PersonalPopularity.fit(events, 90.0),
        UserNeighbours.fit(events, 3),
        towers(events, 1),
        towers(events, 2, Hybrid),
    ]


def test_histories_equal_a_slow_count() -> None:
    table = frame(1)
    events = Events.from_frame(table, ITEMS)
    histories = events.histories
    for user, name in enumerate(events.users):
        mine = table[table.user_id == name]
        entries = slice(*histories.indptr[user : user + 2])
        assert [ITEMS[at] for at in histories.item[entries]] == sorted(
            mine.item_id.unique(), key=ITEMS.index
        )
        for at, item in enumerate(histories.item[entries]):
            moments = mine[mine.item_id == ITEMS[item]].timestamp
            ages = (table.timestamp.max() - moments).dt.total_seconds() / 86_400
            expected = [(0.5 ** (ages / half)).sum() for half in HALF_LIVES]
            np.testing.assert_allclose(histories.decayed[entries][at], expected, rtol=1e-4)
            assert histories.count[entries][at] == len(moments)


@pytest.mark.parametrize("kinds", [None, {"purchase": 1.0, "view": 0.1}])
def test_popularity_of_a_past_is_that_of_its_events(
    monkeypatch: pytest.MonkeyPatch, kinds: dict[str, float] | None
) -> None:
    table = frame(3).assign(event=["view", "purchase"] * 40)
    events = Events.from_frame(table, ITEMS, kinds=kinds)
    day = float(np.median(events.day))
    before = events.before(day)
    np.testing.assert_array_equal(events.popularity(30.0, day), before.popularity(30.0))
    monkeypatch.setattr("models.recommenders.columns.BLOCK_EVENTS", 7)
    np.testing.assert_allclose(events.popularity(30.0, day), before.popularity(30.0))


def test_drawn_are_whole_users_of_at_most_so_many_events() -> None:
    events = Events.from_frame(frame(4), ITEMS)
    assert events.drawn(80, 1) is events
    some = events.drawn(40, 1)
    assert 0 < len(some.user) <= 40 and some.users == sorted(some.users)
    assert some.users == events.drawn(40, 1).users != events.drawn(40, 3).users
    one = events.of(some.users)
    for name in ("user", "item", "day"):
        np.testing.assert_array_equal(getattr(some, name), getattr(one, name))


@pytest.mark.parametrize("tidy", [True, False])
def test_events_stand_by_user_day_and_hash_however_they_come(tidy: bool) -> None:
    rng = np.random.default_rng(8)
    user, item = rng.integers(0, 5, 300), rng.integers(0, len(ITEMS), 300)
    day = rng.integers(0, 9, 300).astype(float)
    weight = rng.random(300).astype(np.float32)
    if tidy:
        order = np.lexsort((day, user))
        user, item, day, weight = user[order], item[order], day[order], weight[order]
    users = [f"u{at}" for at in range(5)]
    before = day.copy(), weight.copy()
    events = Events.from_arrays(users, ITEMS, user, item, day, weight=weight)
    np.testing.assert_array_equal((day, weight), before)
    of_user, of_item = (pd.util.hash_array(np.array(ids, object)) for ids in (users, ITEMS))
    order = np.lexsort((scatter(of_user[user], of_item[item]), day, user))
    for name, values in {"user": user, "item": item, "day": day, "weight": weight}.items():
        np.testing.assert_array_equal(getattr(events, name), values[order])
    np.testing.assert_array_equal(touched(events).toarray(), matrix(events.histories).toarray())


def test_beyond_leaves_what_is_new() -> None:
    events = Events.from_frame(frame(11), ITEMS)
    late, early = events.between(40.0, 1e9).of(events.users), events.before(events.day.mean())
    fresh = late.histories.beyond(early.histories)
    for user in range(len(events.users)):
        had = early.histories.item[slice(*early.histories.indptr[user : user + 2])]
        got = late.histories.item[slice(*late.histories.indptr[user : user + 2])]
        left = fresh.item[slice(*fresh.indptr[user : user + 2])]
        assert set(left) == set(got) - set(had)


def test_what_the_user_had_can_be_left_out() -> None:
    events = Events.from_frame(frame(12), ITEMS)
    histories = events.histories
    for model in models(events):
        lists, _ = recommend(model, histories, len(ITEMS), again=False)
        for user, mine in enumerate(lists):
            had = histories.item[slice(*histories.indptr[user : user + 2])]
            assert set(mine[mine >= 0]) == set(range(len(ITEMS))) - set(had)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 9), st.integers(1, 8), st.booleans()
)
def test_top_k_is_exact_stable_and_full(
    seed: int, users: int, items: int, k: int, some: bool
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (users, items)).astype(np.float32)
    allowed = rng.random((users, items)) < 0.6 if some else None
    lists = top_k(scores, k, allowed)
    for user in range(users):
        free = np.arange(items) if allowed is None else np.flatnonzero(allowed[user])
        expected = sorted(free, key=lambda item: (-scores[user, item], item))[:k]
        assert lists[user][: len(expected)].tolist() == expected
        assert (lists[user][len(expected) :] == -1).all()


@pytest.mark.parametrize("levels", [3, 40, 10**6])
def test_of_many_items_the_best_are_found_too(levels: int) -> None:
    """More items than are looked through one by one; ties within the list and over its end; short lists."""
    rng = np.random.default_rng(levels)
    scores = rng.integers(0, levels, (9, 3000)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.5] = -np.inf
    scores[0], scores[1, 4:] = -np.inf, -np.inf
    lists = top_k(scores, 7)
    for user, mine in enumerate(scores):
        free = np.flatnonzero(np.isfinite(mine))
        expected = free[np.argsort(-mine[free], kind="stable")][:7].tolist()
        assert lists[user].tolist() == expected + [-1] * (7 - len(expected))


def test_neighbours_equal_brute_force() -> None:
    events = Events.from_frame(frame(2), ITEMS)
    model = UserNeighbours.fit(events, 3)
    nearest, cosine = model.neighbours(events.histories)
    owned = model.known.toarray()
    for user in range(len(owned)):
        others = [
            (-owned[user] @ owned[o] / np.sqrt(owned[user].sum() * owned[o].sum()), o)
            for o in range(len(owned))
            if o != user
        ]
        expected = sorted(others)[:3]
        np.testing.assert_allclose(cosine[user], [-value for value, _ in expected], rtol=1e-5)
        votes = model.scores(events.histories.take(np.array([user])))[0]
        slow = sum(-value * owned[other] for value, other in expected)
        np.testing.assert_allclose(votes, slow, atol=1e-4)


@pytest.mark.parametrize("at", [0, 1, 3, 4])
def test_falls_are_what_scores_lose_without_an_item(at: int) -> None:
    events = Events.from_frame(frame(3), ITEMS)
    model = models(events)[at]
    one = events.histories.take(np.array([4]))
    listed = np.arange(len(ITEMS))
    falls = model.falls(one, np.arange(len(one.item)), listed[None])
    whole = model.scores(one)[0]
    for entry in range(len(one.item)):
        rest = model.scores(one.without_each(np.array([entry])))[0]
        np.testing.assert_allclose(falls[entry], (whole - rest)[listed], atol=1e-4)


def test_neighbours_fall_as_their_votes_do() -> None:
    """With the neighbours that the whole history has: who is left of one's own events is no neighbour."""
    events = Events.from_frame(frame(3), ITEMS)
    model = UserNeighbours.fit(events, 3)
    one = events.histories.take(np.array([4]))
    falls = model.falls(one, np.arange(len(one.item)), np.arange(len(ITEMS))[None])
    nearest, cosine = model.neighbours(one)
    owned, mine = model.known.toarray(), set(one.item.tolist())
    for entry, item in enumerate(one.item):
        rest, slow = mine - {int(item)}, np.zeros(len(ITEMS))
        for other, value in zip(nearest[0], cosine[0], strict=True):
            theirs = set(np.flatnonzero(owned[other]))
            left = len(rest & theirs) / np.sqrt(max(len(rest), 1) * len(theirs))
            slow += (value - left if value > 0 else 0.0) * owned[other]
        np.testing.assert_allclose(falls[entry], slow, atol=1e-5)


@pytest.mark.parametrize("at", [0, 1, 3, 4])
def test_a_reason_is_the_item_that_helped_most(at: int) -> None:
    events = Events.from_frame(frame(4), ITEMS)
    model = models(events)[at]
    lists, _ = recommend(model, events.histories, 4)
    reasons = model.explain(events.histories, lists)
    for user, place in zip(*np.nonzero(reasons >= 0), strict=True):
        one = events.histories.take(np.array([user]))
        entry = int(np.flatnonzero(one.item == reasons[user, place])[0])
        item = lists[user, place]
        assert (
            model.scores(one.without_each(np.array([entry])))[0, item] < model.scores(one)[0, item]
        )


def test_ids_rows_and_ties_tell_nothing() -> None:
    """Other ids and another order of rows give the same lists, item for item, where no two scores tie."""
    table = frame(5)
    renamed = table.assign(item_id="x" + table.item_id).sample(frac=1, random_state=1)
    other = hash_order([f"x{name}" for name in ITEMS])
    for build in (lambda e: PersonalPopularity.fit(e, 90.0), lambda e: UserNeighbours.fit(e, 3)):
        one, two = Events.from_frame(table, ITEMS), Events.from_frame(renamed, other)
        first = build(one).scores(one.histories)
        second = build(two).scores(two.histories)
        order = [other.index(f"x{name}") for name in ITEMS]
        np.testing.assert_allclose(first, second[:, order], rtol=1e-5)


def test_a_bundle_gives_the_same_lists(tmp_path) -> None:
    events = Events.from_frame(frame(6), ITEMS)
    model = towers(events)
    save(model.to_bundle(), tmp_path / "bundle")
    again = type(model).from_bundle(load(tmp_path / "bundle"))
    asked = pd.DataFrame({"user_id": events.users})
    pd.testing.assert_frame_equal(model.predict(asked), again.predict(asked))


def test_a_known_user_folded_in_gets_the_same_list() -> None:
    table = frame(7)
    events = Events.from_frame(table, ITEMS)
    model = towers(events)
    name = events.users[2]
    known = model.predict(pd.DataFrame({"user_id": [name]}))
    folded = model.predict(table[table.user_id == name].sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(known, folded, rtol=1e-5)


def test_a_newcomer_gets_what_is_popular() -> None:
    events = Events.from_frame(frame(8), ITEMS)
    model = towers(events)
    model.weights["popular"][:] = [0.0, 1.0, 0.0]
    listed = model.predict(pd.DataFrame({"user_id": ["nobody yet"]}))
    popular = np.argsort(-events.popularity(30.0), kind="stable")[:5]
    assert listed.item_id.tolist() == [ITEMS[at] for at in popular]


@pytest.mark.parametrize("at", range(5))
def test_odd_shops_still_get_lists(at: int) -> None:
    """One item in the catalogue, one event, equal times, nobody known."""
    stamp = pd.Timestamp("2024-01-01", tz="UTC")
    single = pd.DataFrame({"user_id": ["a"] * 3, "item_id": ["only"] * 3, "timestamp": [stamp] * 3})
    events = Events.from_frame(single, ["only"])
    lists, _ = recommend(models(events)[at], events.of(["a", "b"]).histories, 3)
    assert lists.tolist() == [[0, -1, -1], [0, -1, -1]]


def test_ndcg_equals_a_slow_one() -> None:
    rng = np.random.default_rng(9)
    lists = np.stack([rng.permutation(8)[:5] for _ in range(6)])
    truth = [np.sort(rng.permutation(8)[: rng.integers(1, 5)]) for _ in range(6)]
    indptr = np.concatenate([[0], np.cumsum([len(one) for one in truth])])
    for user, value in enumerate(ndcg(lists, indptr, np.concatenate(truth))):
        gains = [
            1 / np.log2(place + 2) for place, item in enumerate(lists[user]) if item in truth[user]
        ]
        best = sum(1 / np.log2(place + 2) for place in range(min(5, len(truth[user]))))
        assert value == pytest.approx(sum(gains) / best, abs=1e-12)


def test_a_paired_interval_covers_a_planted_difference() -> None:
    rng = np.random.default_rng(10)
    theirs = rng.normal(0, 1, 500)
    gain = paired_interval(theirs + 0.2 + rng.normal(0, 0.1, 500), theirs, seed=1)
    assert gain.low < 0.2 < gain.high
    assert gain.high - gain.low < 0.05

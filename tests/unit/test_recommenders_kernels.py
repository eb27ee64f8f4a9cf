"""Item kernels, factors and the ranker against slow counts; what content and order tell."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models import metrics
from models.recommenders import kernels, ranker
from models.recommenders.affinity import AttributeAffinity
from models.recommenders.attributes import AttributeNeighbours
from models.recommenders.catalogue import Catalogue
from models.recommenders.cuts import Protocol, sold
from models.recommenders.events import Events, by_kind, hash_order
from models.recommenders.kernels import Ease, Fading, ImplicitFactors
from models.recommenders.sequential import sequences

N = 12
KINDS = {"purchase": 1.0, "view": 0.1}


def events(seed: int = 0, users: int = 9, count: int = 90) -> Events:
    rng = np.random.default_rng(seed)
    names = hash_order([f"item {at}" for at in range(N)])
    user, item = rng.integers(0, users, count), rng.integers(0, N, count)
    return Events.from_arrays(
        [f"user {at}" for at in range(users)], names, user, item, rng.uniform(0, 50, count)
    )


def owned(found: Events) -> np.ndarray:
    matrix = np.zeros((len(found.users), N))
    matrix[found.user, found.item] = 1.0
    return matrix


def test_cosine_equals_a_slow_one() -> None:
    found = events()
    model = kernels.cosine(found, N, Fading(), 0.0, 1)
    rows = owned(found)
    rows = rows / np.sqrt(np.maximum(rows.sum(1, keepdims=True), 1))
    length = np.maximum(np.linalg.norm(rows, axis=0), 1e-9)
    slow = (rows / length).T @ (rows / length)
    np.fill_diagonal(slow, 0)
    np.testing.assert_allclose(model.matrix.toarray(), slow, atol=1e-5)


def test_walks_equal_slow_ones() -> None:
    found = events(1)
    beta = 0.4
    model = kernels.walks(found, N, Fading(), beta, 1)
    rows = owned(found)
    degree, size = np.maximum(rows.sum(0), 1), np.maximum(rows.sum(1, keepdims=True), 1)
    slow = (rows / degree).T @ (rows / size) / degree**beta
    np.fill_diagonal(slow, 0)
    np.testing.assert_allclose(model.matrix.toarray(), slow, atol=1e-5)


def test_next_item_counts_equal_slow_ones() -> None:
    found = events(2)
    model = kernels.transitions(found, kernels.followers(found, 2.0), Fading(), 0.5, 0.25)
    slow, counts = np.zeros((N, N)), np.bincount(found.item, minlength=N)
    for user in range(len(found.users)):
        mine = found.item[found.user == user]
        for at, before in enumerate(mine):
            for step, after in enumerate(mine[at + 1 : at + 1 + kernels.STEPS]):
                slow[before, after] += 2.0 ** (-step / 2.0) * (before != after)
    slow = slow / counts[:, None] ** 0.5 / counts[None, :] ** 0.25
    np.testing.assert_allclose(model.matrix.toarray(), slow, rtol=1e-4)


@pytest.mark.parametrize("block", [5, 512])
def test_ease_equals_its_closed_form(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(kernels, "BLOCK", block)
    found = events(3)
    rows = owned(found)
    gram = rows.T @ rows + 2.0 * rows.sum(0).mean() * np.eye(N)
    inverse = np.linalg.inv(gram)
    slow = inverse / -np.diag(inverse)
    np.fill_diagonal(slow, 0)
    model = Ease.fit(found, 2.0, N, Fading())
    np.testing.assert_allclose(model.weights, slow, atol=1e-4)
    np.testing.assert_allclose(model.scores(found.histories), rows @ slow, atol=1e-4)


def test_a_folded_in_user_has_the_factors_that_implicit_gives() -> None:
    from implicit.als import AlternatingLeastSquares

    found = events(4)
    model = ImplicitFactors.fit(found, 4, 0.1, 5.0, 30, Fading(), seed=1, threads=1)
    peer = AlternatingLeastSquares(factors=4, regularization=0.1, alpha=5.0)
    peer.item_factors = model.vectors
    rows = kernels.weighted(found.histories, np.ones(len(found.histories.item)))
    slow = peer.recalculate_user(np.arange(len(found.users)), rows)
    np.testing.assert_allclose(model.user_vectors(found.histories), slow, rtol=1e-2, atol=1e-3)


def test_sequences_are_the_last_items_in_order() -> None:
    found = events(5)
    places, lengths = sequences(found.histories, 4)
    for user in range(len(found.users)):
        mine = found.item[found.user == user][::-1].tolist()
        last = list(dict.fromkeys(mine))[:4][::-1]
        assert places[user, : lengths[user]].tolist() == last


def test_content_serves_items_that_were_never_sold() -> None:
    """The user had red things; a red item that nobody bought comes before a blue one."""
    catalogue = Catalogue.from_columns({"colour": ["red", "red", "blue", "blue", "red"]}, 5)
    history = Events.from_arrays(
        ["u"], list("abcde"), np.zeros(2, int), np.array([0, 1]), np.ones(2)
    )
    scores = AttributeNeighbours(list("abcde"), catalogue.tokens, np.ones(5), Fading()).scores(
        history.histories
    )
    assert scores[0, 4] > scores[0, 2]


@pytest.mark.parametrize(
    ("values", "codes", "tokens"),
    [
        (["a", "b", "a", None], 1, True),
        ([1, 2, 1, None], 1, True),
        ([0.5, float("nan"), 2.25, 1.75], 1, True),
        ([[1, 2], [2], None, [1]], 0, True),
        ([[0.1, 0.2], [0.3, 0.1], None, [1.0, 0.0]], 0, True),
        ([True, False, None, True], 1, True),
        ([None, None, None, None], 0, False),
    ],
    ids=["texts", "whole numbers", "numbers", "lists", "vectors", "truth", "nothing"],
)
def test_columns_of_any_make_are_understood(values: list, codes: int, tokens: bool) -> None:
    found = Catalogue.from_columns({"column": values}, 4)
    assert found.codes.shape == (4, codes)
    assert found.known is tokens
    length = np.sqrt(np.asarray(found.tokens.multiply(found.tokens).sum(1)).ravel())
    assert ((abs(length - 1) < 1e-5) | (length == 0)).all()


def candidates(seed: int, users: int = 60, each: int = 30) -> ranker.Rows:
    """The second of three members is right more often than the others."""
    rng = np.random.default_rng(seed)
    scores = rng.random((users * each, 3)).astype(np.float32)
    label = rng.random(users * each) < 0.2 * scores[:, 1] ** 4
    indptr = np.arange(users + 1) * each
    wanted = np.minimum(np.add.reduceat(label, indptr[:-1]), ranker.DEPTH)
    ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, ranker.DEPTH + 2)))])
    rows = ranker.Rows(
        indptr,
        np.tile(np.arange(each), users),
        ranker.opinions(scores, indptr),
        np.zeros((users * each, 1), np.float32),
        label,
        ideal[wanted],
    )
    return rows.take(np.flatnonzero(rows.best > 0))


def test_gains_equal_the_metric() -> None:
    rows = candidates(1)
    values = np.random.default_rng(2).random(len(rows.item))
    lists, truth, indptr = [], [], [0]
    for user in range(len(rows)):
        mine = slice(rows.indptr[user], rows.indptr[user + 1])
        lists.append(rows.item[mine][np.argsort(-values[mine])][: ranker.DEPTH])
        truth += rows.item[mine][rows.label[mine]].tolist()
        indptr.append(len(truth))
    slow = metrics.ndcg(np.array(lists), np.array(indptr), np.array(truth))
    np.testing.assert_allclose(ranker.gained(values, rows), slow, atol=1e-12)


def test_the_ranker_is_not_worse_than_the_best_member() -> None:
    rows, fresh = candidates(3, users=120), candidates(4, users=120)
    found, way, quality, kept = ranker.chosen(rows, ["a", "b", "c"], 0, seed=1, threads=1)
    theirs = fresh.of_members(kept)
    assert (found is None) == (way in ("a", "b", "c"))
    ours = ranker.gained(found.values(theirs) if found else theirs.opinions[:, 0], fresh).mean()
    best = ranker.gained(fresh.opinions[:, 1], fresh).mean()
    assert ours > best - 0.03
    assert 1 in kept and quality["b"].mean() > quality["a"].mean()


def test_members_that_each_know_a_part_are_blended() -> None:
    rng = np.random.default_rng(5)
    users, each = 90, 30
    truth = rng.standard_normal((users * each, 1))
    scores = (truth + 2.0 * rng.standard_normal((users * each, 5))).astype(np.float32)
    indptr = np.arange(users + 1) * each
    label = np.zeros(users * each, dtype=bool)
    label[truth.reshape(users, each).argmax(1) + indptr[:-1]] = True
    nothing = np.zeros((users * each, 1), np.float32)
    items = np.tile(np.arange(each), users)
    opinions = ranker.opinions(scores, indptr)
    rows = ranker.Rows(indptr, items, opinions, nothing, label, np.ones(users))
    found, way, quality, kept = ranker.chosen(rows, list("abcde"), 0, seed=1, threads=1)
    assert found is not None and way == "blend" and len(kept) == 5
    assert quality["blend"].mean() > max(quality[name].mean() for name in "abcde")


def test_opinions_share_ranks_among_equals() -> None:
    scores = np.array([[2.0], [1.0], [1.0], [0.0]], dtype=np.float32)
    found = ranker.opinions(scores, np.array([0, 4]))
    assert found[:, 1].tolist() == [
        -0.0,
        -np.log1p(np.float32(1)),
        -np.log1p(np.float32(1)),
        -np.log1p(np.float32(3)),
    ]


def test_list_metrics_equal_slow_ones() -> None:
    rng = np.random.default_rng(6)
    lists = np.stack([rng.permutation(9)[:5] for _ in range(7)])
    lists[0, 3:] = -1
    truth = [np.sort(rng.permutation(9)[: rng.integers(1, 5)]) for _ in range(7)]
    indptr, flat = (
        np.concatenate([[0], np.cumsum([len(one) for one in truth])]),
        np.concatenate(truth),
    )
    buyers = rng.integers(0, 9, 9)
    bits = -np.log2(np.maximum(buyers, 1) / buyers.max())
    found = {
        name: getattr(metrics, name)(lists, indptr, flat)
        for name in ("hit_rate", "reciprocal_rank", "average_precision", "recall")
    }
    for user, mine in enumerate(lists):
        mine = mine[mine >= 0]
        right = [place for place, item in enumerate(mine) if item in truth[user]]
        assert found["hit_rate"][user] == bool(right)
        assert found["reciprocal_rank"][user] == (1 / (right[0] + 1) if right else 0)
        precision = sum((at + 1) / (place + 1) for at, place in enumerate(right))
        assert found["average_precision"][user] == pytest.approx(
            precision / min(len(truth[user]), 5), abs=1e-12
        )
        assert found["recall"][user] == pytest.approx(len(right) / len(truth[user]), abs=1e-12)
        assert metrics.novelty(lists, buyers)[user] == pytest.approx(bits[mine].mean(), abs=1e-9)
    assert metrics.coverage(lists, 20) == len(set(lists[lists >= 0])) / 20
    counts = np.bincount(lists[lists >= 0], minlength=9)
    apart = sum(abs(a - b) for a in counts for b in counts)
    assert metrics.gini(lists, 9) == pytest.approx(apart / (2 * 9 * counts.sum()), abs=1e-12)


def test_affinity_learns_which_values_users_come_back_to() -> None:
    """Users keep to one maker; items appear one after the other: the maker of a new one tells who wants it."""
    rng = np.random.default_rng(6)
    users, items = 60, 200
    names = hash_order([f"i{at}" for at in range(items)])
    number = np.array([int(name[1:]) for name in names])
    maker = number % 4
    user = np.repeat(np.arange(users), 40)
    day = np.tile(np.arange(40.0), users)
    place = np.argsort(number)
    newest = (day * 5).astype(int)
    item = np.minimum(newest + rng.integers(0, 5, len(day)), items - 1) // 4 * 4 + user % 4
    events = Events.from_arrays([f"u{at}" for at in range(users)], names, user, place[item], day)
    known = Catalogue.from_columns({"maker": [f"m{at}" for at in maker]}, items)
    cut = Protocol(last=False, days=8.0).cut(events, 0, unsold=True)
    model = AttributeAffinity.fit(
        cut.before, known, Protocol(last=False, days=8.0), unsold=True, pool=50, seed=1
    )
    scores = model.scores(cut.before.histories.take(cut.asked))
    fresh = np.flatnonzero(~sold(cut.before))
    best = fresh[scores[:, fresh].argmax(1)]
    assert (maker[best] == cut.asked % 4).mean() > 0.95


def clicked(kinds: Sequence[str], seed: int = 5) -> tuple[pd.DataFrame, list[str]]:
    """Events of these kinds as a table, and the items."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "user_id": [f"user {at}" for at in rng.integers(0, 9, 120)],
            "item_id": [f"item {at}" for at in rng.integers(0, N, 120)],
            "timestamp": pd.Timestamp("2024-01-01", tz="UTC")
            + pd.to_timedelta(rng.uniform(0, 50, 120), "D"),
            "event": rng.choice(kinds, 120),
        }
    )
    return frame, hash_order([f"item {at}" for at in range(N)])


def clicks() -> tuple[Events, Events]:
    """The same events twice: all of one kind, and with kinds of which a view says a tenth."""
    frame, items = clicked(("view", "purchase"))
    plain = Events.from_frame(frame.assign(event="view"), items, kinds=KINDS)
    return plain, Events.from_frame(frame, items, kinds=KINDS)


def test_events_of_one_kind_say_as_much_as_without_kinds() -> None:
    plain, _ = clicks()
    assert plain.weight is None
    told = replace(plain, weight=np.ones(len(plain.user), np.float32))
    for name in ("decayed", "strength", "count", "recency"):
        assert np.array_equal(getattr(plain.histories, name), getattr(told.histories, name))
    assert np.array_equal(plain.popularity(30.0), told.popularity(30.0))
    assert (kernels.followers(plain, 2.0) != kernels.followers(told, 2.0)).nnz == 0


@pytest.mark.parametrize("kinds", [("view", "purchase"), ("view", "cart"), ("view",)])
def test_who_is_listed_from_given_events_is_like_one_who_is_known(kinds: tuple[str, ...]) -> None:
    """Also one whose events are all of a weaker kind than others' are."""
    frame, items = clicked(kinds)
    known = Events.from_frame(frame, items, kinds={"purchase": 2.0, "cart": 1.0, "view": 0.2})
    for one in known.users:
        mine = frame[(frame.user_id == one) & (frame.event == "view")].assign(user_id="new")
        rest = pd.concat([frame[frame.user_id != one], mine])
        with_them = Events.from_frame(rest, items, known.now, known.kinds)
        as_known, given = with_them.of(["new"]).histories, known.beside(mine).of(["new"]).histories
        for name in ("item", "decayed", "strength", "count", "recency", "place"):
            assert np.array_equal(getattr(as_known, name), getattr(given, name))


def test_given_events_are_an_order_where_only_orders_are_known() -> None:
    frame, items = clicked(("purchase",))
    known = Events.from_frame(frame, items).without_clock()
    mine = frame[frame.user_id == known.users[0]]
    given, told = known.beside(mine), known.of(known.users[:1])
    assert (given.clock, given.now) == (told.clock, told.now)
    assert np.array_equal(given.day, told.day) and np.array_equal(given.item, told.item)


def test_the_order_in_which_kinds_are_named_says_nothing() -> None:
    frame = pd.DataFrame({"user_id": "you", "item_id": ["a"], "event": ["view"]})
    frame["timestamp"] = pd.Timestamp("2024-01-01", tz="UTC")
    ways = [KINDS, dict(reversed(KINDS.items()))]
    one, other = (Events.from_frame(frame, ["a"], kinds=kinds).kinds for kinds in ways)
    assert list(one.items()) == list(other.items()) and list(ways[0]) != list(ways[1])


def test_a_purchase_says_more_than_a_view() -> None:
    _, told = clicks()
    bought = told.strongest
    assert 0 < len(bought.user) < len(told.user)
    # Whoever viewed one item and bought another, at one moment, has the latter's neighbours first.
    names = ["viewed", "bought"]
    one = Events.from_arrays(
        ["you"],
        names,
        np.zeros(2, int),
        np.arange(2),
        np.zeros(2),
        weight=by_kind(np.array(["view", "purchase"]), KINDS),
    )
    weights = Fading().weights(one.histories)
    assert weights.tolist() == pytest.approx([0.1, 1.0])
    assert one.popularity(30.0).tolist() == pytest.approx([0.1, 1.0])
    np.testing.assert_allclose(one.histories.decayed[0], 0.1)


def test_what_is_asked_for_is_what_was_bought_and_views_are_no_buying_again() -> None:
    _, told = clicks()
    cut = Protocol(last=False, days=20.0).cut(told, 0)
    late = told.between(told.now + 1e-6 - 20.0, told.now + 1e-6)
    bought = late.strongest
    assert cut.targets.count.sum() == len(bought.user) < len(late.user)
    day = np.array([1.0, 2.0, 3.0])
    user, item = np.zeros(3, int), np.zeros(3, int)
    kinds = np.array(["view", "view", "purchase"])
    viewed = Events.from_arrays(["a"], ["x"], user, item, day, weight=by_kind(kinds, KINDS))
    assert not viewed.bought_again
    assert Events.from_arrays(["a"], ["x"], user, item, day).bought_again

"""The rules of a list hold for whatever scores, limits and exclusions."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.lists.rules import Rules, Shelf, choose


def slow(scores: np.ndarray, allowed: np.ndarray, shelf: Shelf, rules: Rules) -> list[int]:
    """The ladder for one user, as one would say it."""
    known = [i for i in np.argsort(-scores, kind="stable") if np.isfinite(scores[i]) and allowed[i]]
    rest = [i for i in shelf.popular if allowed[i] and i not in known]
    taken: Counter[tuple[str, int]] = Counter()
    first, second = [], []
    limits = {"category": rules.max_per_category, "brand": rules.max_per_brand}
    for item in [*known, *rest]:
        mine = {name: int(getattr(shelf, name)[item]) for name, most in limits.items() if most}
        marks = [(name, number) for name, number in mine.items() if number >= 0]
        if any(taken[mark] >= limits[mark[0]] for mark in marks):
            second.append(int(item))
        else:
            taken.update(marks)
            first.append(int(item))
    return (first + second)[: rules.k]


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, Shelf, Rules]:
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    users, n = draw(st.integers(1, 5)), draw(st.integers(1, 120))
    scores = rng.permutation(users * n).reshape(users, n).astype(np.float32)
    scores[rng.random((users, n)) < draw(st.sampled_from([0.0, 0.5, 0.97]))] = -np.inf
    if draw(st.booleans()):
        scores[0] = np.nan
    allowed = rng.random((users, n)) < draw(st.sampled_from([0.05, 0.6, 1.0]))
    numbers = [rng.integers(-1, draw(st.integers(1, 6)), n) for _ in range(2)]
    limits = [draw(st.integers(0, 3)) for _ in range(2)]
    return (
        scores,
        allowed,
        Shelf(rng.permutation(n), *numbers),
        Rules(draw(st.integers(1, 7)), *limits),
    )


@settings(max_examples=150, deadline=None)
@given(cases())
def test_lists_follow_the_ladder(case: tuple) -> None:
    scores, allowed, shelf, rules = case
    items, ours = choose(scores, allowed, shelf, rules)
    for user in range(len(scores)):
        mine = items[user][items[user] >= 0]
        assert mine.tolist() == slow(scores[user], allowed[user], shelf, rules)
        assert len(mine) == min(rules.k, allowed[user].sum())
        by_model = ours[user][: len(mine)]
        assert np.array_equal(by_model, np.isfinite(scores[user][mine]))
        assert not ours[user][len(mine) :].any()


def test_a_limit_moves_the_third_of_a_category_down() -> None:
    scores = np.array([[5.0, 4.0, 3.0, 2.0]], dtype=np.float32)
    shelf = Shelf(np.arange(4), np.array([0, 0, 0, 1]), np.full(4, -1))
    items, _ = choose(scores, np.ones((1, 4), bool), shelf, Rules(3, 2, 0))
    assert items.tolist() == [[0, 1, 3]]


def test_what_one_limit_leaves_out_counts_for_no_other() -> None:
    scores = np.array([[5.0, 4.0, 3.0, 2.0]], dtype=np.float32)
    # The second is one brand too many, so that the third is the first of its category.
    shelf = Shelf(np.arange(4), np.array([0, 1, 1, 2]), np.array([7, 7, 8, 8]))
    items, _ = choose(scores, np.ones((1, 4), bool), shelf, Rules(2, 1, 1))
    assert items.tolist() == [[0, 2]]


def test_a_user_of_whom_the_model_says_nothing_gets_what_is_popular() -> None:
    scores = np.full((1, 4), -np.inf, dtype=np.float32)
    shelf = Shelf(np.array([2, 0, 3, 1]), np.full(4, -1), np.full(4, -1))
    items, ours = choose(scores, np.array([[True, True, False, True]]), shelf, Rules(2, 0, 0))
    assert items.tolist() == [[0, 3]] and not ours.any()

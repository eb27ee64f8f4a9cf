"""Drift is seen where it is, and unchanged data raise fewer than one false alarm in a hundred."""

import numpy as np
import pandas as pd
import pytest

from pipelines.monitoring.drift import one_a_user, shift, volume

LEVEL = 0.005  # of all checks of one look together, as params.yaml says
SMALLEST = 0.2  # index below which a shift is none, as there
LOOKS = 200


def events(rng: np.random.Generator, users: int, moved: float = 0.0) -> pd.DataFrame:
    """Clustered rows: each user has habits of price and category, and few or many events."""
    counts = rng.geometric(0.1, users)
    taste, level = rng.integers(0, 12, users), rng.normal(0, 1, users)
    owner = np.repeat(np.arange(users), counts)
    habit = rng.random(len(owner)) < 0.6
    category = np.where(habit, taste[owner], rng.integers(0, 12, len(owner)))
    price = np.exp(level[owner] + rng.normal(0, 0.5, len(owner)) + moved)
    return pd.DataFrame({"user": owner, "price": price, "category": category.astype(str)})


def sampled(rng: np.random.Generator, frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[one_a_user(frame["user"].to_numpy(), int(rng.integers(1 << 30)))]


def test_unchanged_data_raise_under_one_false_alarm_in_a_hundred_looks() -> None:
    """A look is an alarm where any of its columns is significant at the level shared among them."""
    alarms = naive = 0
    for seed in range(LOOKS):
        rng = np.random.default_rng(seed)
        before, now = events(rng, 100), events(rng, 100)
        drawn = sampled(rng, before), sampled(rng, now)
        tests = [shift(drawn[0][name], drawn[1][name]) for name in ("price", "category")]
        alarms += any(found.p < LEVEL / len(tests) and found.psi >= SMALLEST for found in tests)
        if seed < 20:
            pairs = [shift(before[name], now[name]) for name in ("price", "category")]
            naive += any(found.p < LEVEL / 2 for found in pairs)
    assert alarms / LOOKS < 0.01
    assert naive / 20 > 0.5  # what rows of the same user do to a test that ignores them


@pytest.mark.parametrize("rows", [60, 500])
def test_bins_that_are_chosen_on_the_data_raise_no_false_alarm(rows: int) -> None:
    """Few rows over many alike values: bins chosen on one sample alone would alarm."""
    alarms, low = 0, []
    for seed in range(LOOKS):
        rng = np.random.default_rng(seed)
        hours = [pd.Series(rng.integers(0, 24, rows).astype(str)) for _ in range(2)]
        prices = [pd.Series(rng.lognormal(0, 1, rows)) for _ in range(2)]
        found = [shift(*hours), shift(*prices)]
        alarms += any(one.p < LEVEL / 2 and one.psi >= SMALLEST for one in found)
        low += [one.p < 0.05 for one in found]
    assert alarms / LOOKS < 0.01
    assert 0.02 < np.mean(low) < 0.08  # p is what it says


def test_unchanged_counts_raise_under_one_false_alarm_in_a_hundred_looks() -> None:
    alarms = 0
    for seed in range(2000):
        rng = np.random.default_rng(seed)
        weeks = rng.negative_binomial(20, 0.02, 16).astype(float)
        alarms += volume(weeks[:12], weeks[12:])[1] < LEVEL
    assert alarms / 2000 < 0.01


def test_moved_prices_are_seen() -> None:
    rng = np.random.default_rng(3)
    before, now = sampled(rng, events(rng, 600)), sampled(rng, events(rng, 600, moved=0.7))
    found = shift(before["price"], now["price"])
    assert found.p < 1e-6 and found.psi > 0.1
    assert shift(before["category"], now["category"]).psi < 0.1


def test_a_halved_volume_is_seen() -> None:
    weeks = np.array([100, 104, 98, 101, 99, 103], float)
    change, p = volume(weeks, np.array([50.0]))
    assert change == pytest.approx(50 / weeks.mean() - 1) and p < 0.001
    assert volume(np.array([7.0]), weeks) == (0.0, 1.0)
    assert volume(np.array([7.0, 7.0]), np.array([7.0])) == (0.0, 1.0)
    assert volume(np.array([7.0, 7.0]), np.array([8.0]))[1] == 0.0


def test_empty_cells_and_new_values_are_bins() -> None:
    before = pd.Series(["a"] * 60 + ["b"] * 40)
    assert shift(before, pd.Series(["a"] * 60 + [None] * 40)).psi > 0.25
    new = shift(before, pd.Series(["c"] * 100))
    assert new.psi > 1 and new.now[new.bins.index("c")] == 1.0
    numbers = pd.Series(np.arange(100.0))
    assert shift(numbers, numbers.where(numbers > 50)).psi > 0.25
    assert shift(numbers, numbers).psi == 0.0 and shift(numbers, numbers).p == pytest.approx(1.0)
    assert shift(pd.Series([1.0] * 9), pd.Series([1.0] * 9)).psi == 0.0
    assert shift(pd.Series([], dtype=float), numbers) is None
    flags = pd.Series([True] * 50 + [False] * 50)
    assert shift(flags, ~flags).psi == 0.0 and shift(flags, pd.Series([True] * 100)).psi > 1


def test_one_row_a_user() -> None:
    users = np.array(["a", "b", "a", "a", "c"])
    found = one_a_user(users, 5)
    assert sorted(users[found]) == ["a", "b", "c"] and (np.diff(found) > 0).all()

"""The decision against a slow and obvious one written apart, and each way in which it must fail closed."""

import functools
import math
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.promotion.decision import Case, Rules, decide
from pipelines.promotion.frozen import Learned

ROUNDS = 40
GOOD = [0.0, 0.25, 0.5, 1.0]
SCORES = [*GOOD, float("nan"), float("inf")]
SIDES = {
    "side_full": st.sampled_from(["both"] * 6 + ["neither"] * 3 + ["ours", "theirs"]),
    "side_other": st.sampled_from(["neither"] * 8 + ["both"]),
}
"""Which of the two tables have a figure beside the score."""


@functools.cache
def drawn(n: int, seed: int, rounds: int) -> list[list[int]]:
    return np.random.default_rng(seed).integers(0, n, size=(rounds, n)).tolist()


def bounds(differences: list[float], seed: int, rounds: int) -> tuple[float, float]:
    """Percentile interval of the mean by resampling, one round and one row at a time."""
    n = len(differences)
    means = sorted(sum(differences[at] for at in draw) / n for draw in drawn(n, seed, rounds))
    return quantile(means, 0.025), quantile(means, 0.975)


def quantile(ordered: list[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


class Close(Exception):
    """Rounding could tip the comparison."""


def reaches(value: float, limit: float) -> bool:
    if value != limit and abs(value - limit) < 1e-9:
        raise Close
    return value >= limit


def expected(case: Case, rules: Rules) -> bool | None:
    """The rule of promotion as the documentation says it, row by row; None where rounding could tip it."""
    try:
        return all(condition(case, rules) for condition in CONDITIONS)
    except Close:
        return None


def rows_of(table: pd.DataFrame, column: str) -> dict[str, float]:
    return {line["row_id"]: float(line[column]) for line in table.to_dict("records")}


def the_rows_are_the_expected_ones(case: Case, rules: Rules) -> bool:
    return bool(case.found_rows) and case.found_rows == case.expected_rows


def it_can_be_served(case: Case, rules: Rules) -> bool:
    return case.megabytes <= rules.max_megabytes and case.seconds <= rules.max_seconds


def nothing_learned_is_of_the_test(case: Case, rules: Rules) -> bool:
    newest, begins = case.learned.newest, case.learned.test_from
    if newest == "" and begins == "":
        return case.learned.shared == 0
    if newest == "" or begins == "":
        return False
    earlier = datetime.fromisoformat(newest) < datetime.fromisoformat(begins)
    return case.learned.shared == 0 and earlier


def both_have_a_figure_for_each_row(case: Case, rules: Rules) -> bool:
    ids = [sorted(table["row_id"]) for table in (case.challenger, case.reference)]
    whole = ids[0] == ids[1] and len(ids[0]) == len(set(ids[0])) > 0
    scores = [*case.challenger["score"], *case.reference["score"]]
    return whole and all(math.isfinite(value) for value in scores)


def no_slice_gets_worse(case: Case, rules: Rules) -> bool:
    ours, theirs = rows_of(case.challenger, "score"), rows_of(case.reference, "score")
    language = dict(zip(case.challenger["row_id"], case.challenger["slice_language"], strict=True))
    for one in set(language.values()):
        rows = sorted(row for row in ours if language[row] == one)
        if len(rows) >= rules.min_slice_rows:
            high = bounds([ours[row] - theirs[row] for row in rows], rules.seed, rules.rounds)[1]
            mean = sum(theirs[row] for row in rows) / len(rows)
            if not reaches(high, -rules.slice_drop * abs(mean)):
                return False
    return True


def no_figure_beside_the_score_falls(case: Case, rules: Rules) -> bool:
    for name in ("side_full", "side_other"):
        there = [name in table.columns for table in (case.challenger, case.reference)]
        if there == [False, False] and name.removeprefix("side_") not in case.sides:
            continue
        if name.removeprefix("side_") not in rules.side_drop or not there[0]:
            return False
        ours = rows_of(case.challenger, name)
        if not all(math.isfinite(value) for value in ours.values()):
            return False
        if not there[1]:
            if case.first:
                continue
            return False
        theirs = rows_of(case.reference, name)
        if not all(math.isfinite(value) for value in theirs.values()):
            return False
        rows = sorted(ours)
        high = bounds([ours[row] - theirs[row] for row in rows], rules.seed, rules.rounds)[1]
        mean = sum(theirs.values()) / len(theirs)
        if not reaches(high, -rules.side_drop[name.removeprefix("side_")] * abs(mean)):
            return False
    return True


def it_is_better(case: Case, rules: Rules) -> bool:
    ours, theirs = rows_of(case.challenger, "score"), rows_of(case.reference, "score")
    gains = [ours[row] - theirs[row] for row in sorted(ours)]
    if case.first:
        return sum(gains) > 0
    low = bounds(gains, rules.seed, rules.rounds)[0]
    return low != rules.margin and reaches(low, rules.margin)


CONDITIONS = (
    the_rows_are_the_expected_ones,
    it_can_be_served,
    nothing_learned_is_of_the_test,
    both_have_a_figure_for_each_row,
    no_slice_gets_worse,
    no_figure_beside_the_score_falls,
    it_is_better,
)
"""In this order: those below need what those above hold."""
DAYS = ("2024-03-01T23:30:00+00:00", "2024-03-02T00:00:00+00:00", "2024-03-01T23:30:00-05:00")


TIMES = st.sampled_from(
    [("", "")] * 6
    + [(DAYS[0], DAYS[1])] * 6
    + [(one, other) for one in ("", *DAYS) for other in ("", *DAYS)]
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Case, Rules]:
    """Hypothesis draws the shape of a case; the figures of its rows come from one number, which costs a tenth.

    Half of them have no other fault than their figures.
    """
    whole = draw(st.booleans())

    def sound(value: Any, *faults: Any) -> Any:
        """One of these; in a whole case the first."""
        return value if whole else draw(st.sampled_from([value] * 5 + [*faults]))

    count = draw(st.integers(0, 12))
    values = sound(GOOD, SCORES, SCORES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    better = draw(st.sampled_from([0.0, 0.5, 1.0]))
    ids = [f"r{at:02d}" for at in range(count)]
    columns = {
        "row_id": ids,
        "score": rng.choice(values, count) + better,
        "slice_language": rng.choice(["en", "zh"], count),
    }
    others = {"row_id": ids, "score": rng.choice(values, count)}
    for name, sides in SIDES.items():
        has = draw(sides)
        if whole:
            has = "both" if has == "both" and name == "side_full" else "neither"
        for one, told, more in ((columns, "ours", better), (others, "theirs", 0.0)):
            if has in ("both", told):
                one[name] = rng.choice(values, count) + more
    ours, theirs = pd.DataFrame(columns), pd.DataFrame(others)
    change = sound("none", "drop", "twice", "shuffle", "shuffle")
    if count and change == "drop":
        theirs = theirs.iloc[1:]
    if count and change == "twice":
        ours = pd.concat([ours, ours.iloc[:1]])
    if change == "shuffle":
        ours = ours.iloc[::-1]
    case = Case(
        challenger=ours,
        reference=theirs,
        reference_name="champion",
        first=draw(st.booleans()),
        megabytes=sound(1.0, 11.0),
        seconds=sound(0.1, 1.1),
        learned=Learned(sound(0, 1), *(("", "") if whole else draw(TIMES))),
        expected_rows="aa",
        found_rows=sound("aa", "bb"),
        sides=draw(st.sampled_from([(), (), ("full",)])) if not whole else (),
    )
    rules = Rules(
        margin=draw(st.sampled_from([0.0, 0.0, 0.1])),
        slice_drop=draw(st.sampled_from([0.0, 0.1, 0.3])),
        min_slice_rows=draw(st.integers(1, 6)),
        side_drop=draw(
            st.sampled_from([{"full": 0.0}, {"full": 0.2}, {"full": 0.2, "other": 0.1}])
        ),
        max_megabytes=10.0,
        max_seconds=1.0,
        rounds=ROUNDS,
        seed=draw(st.integers(0, 3)),
    )
    return case, rules


def test_decision_agrees_with_the_slow_one() -> None:
    over_champions = []

    @settings(max_examples=500, deadline=None)
    @given(cases())
    def agrees(drawn: tuple[Case, Rules]) -> None:
        case, rules = drawn
        wanted = expected(case, rules)
        found = decide(case, rules)
        assert wanted is None or found.promote == wanted, found
        assert found.reason
        assert not found.promote or all(guard.held for guard in found.guards)
        over_champions.append(found.promote and not case.first)

    agrees()
    assert sum(over_champions) >= 10, "hardly a case that a challenger wins: they show little"


def test_a_slice_of_few_rows_is_told_as_not_judged() -> None:
    found = decide(
        a_case(challenger=with_scores([1.0] * 60, slice_age=["old"] * 5 + ["new"] * 55)), RULES
    )
    told = {guard.name: guard for guard in found.guards}
    assert found.promote and told["age old"].held
    assert told["age old"].found == "not judged: 5 rows, 20 are needed"
    assert told["age new"].found.endswith("on 55 rows")


def a_case(**changes: object) -> Case:
    """A challenger that clearly wins: 60 rows, better by a half on each."""
    ids = [f"r{at}" for at in range(60)]
    better = pd.DataFrame(
        {"row_id": ids, "score": np.ones(60), "slice_language": ["en", "zh"] * 30}
    )
    usual = {
        "challenger": better,
        "reference": pd.DataFrame({"row_id": ids, "score": np.full(60, 0.5)}),
        "reference_name": "champion",
        "first": False,
        "megabytes": 1.0,
        "seconds": 0.1,
        "learned": Learned(0, "", ""),
        "expected_rows": "aa",
        "found_rows": "aa",
        "sides": (),
    }
    return Case(**{**usual, **changes})  # type: ignore[arg-type]


RULES = Rules(
    margin=0.0,
    slice_drop=0.02,
    min_slice_rows=20,
    side_drop={"full": 0.1},
    max_megabytes=10.0,
    max_seconds=1.0,
    rounds=100,
    seed=1,
)


def with_scores(values: list[float], **columns: list[str]) -> pd.DataFrame:
    table = a_case().challenger.copy()
    table["score"] = values
    return table.assign(**columns)


def with_side(name: str, ours: list[float] | None, theirs: list[float] | None) -> dict[str, object]:
    """A challenger that clearly wins, and a figure beside the score in both tables or in one."""
    case, column = a_case(), f"side_{name}"
    return {
        "challenger": case.challenger if ours is None else case.challenger.assign(**{column: ours}),
        "reference": case.reference
        if theirs is None
        else case.reference.assign(**{column: theirs}),
    }


def test_a_figure_beside_the_score_may_fall_a_little() -> None:
    assert decide(a_case(**with_side("full", [0.95] * 60, [1.0] * 60)), RULES).promote


def test_a_first_champion_needs_its_figures_and_is_held_against_none() -> None:
    good = decide(a_case(first=True, **with_side("full", [0.1] * 60, None)), RULES)
    assert good.promote
    assert "no champion to hold it against" in str(good.guards)
    nan = a_case(first=True, **with_side("full", [float("nan")] * 60, None))
    assert not decide(nan, RULES).promote


def test_a_refusal_tells_the_gain_before_what_failed() -> None:
    found = decide(a_case(megabytes=11.0), RULES)
    assert found.reason.startswith("gain over champion +0.5")
    assert found.reason.endswith("size: 11.0 MB of 10 MB allowed")


def test_clearly_better_wins() -> None:
    found = decide(a_case(), RULES)
    assert found.promote
    assert found.gain is not None and found.gain.low == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"challenger": with_scores([0.5] * 60)}, "not above the margin"),
        ({"challenger": with_scores([float("nan")] + [1.0] * 59)}, "not numbers"),
        ({"challenger": a_case().challenger.drop(columns="score")}, "no score"),
        ({"reference": a_case().reference.drop(columns="score")}, "no score"),
        ({"reference": a_case().reference.iloc[:0]}, "no rows"),
        ({"reference": a_case().reference.iloc[1:]}, "other rows"),
        ({"reference": a_case().reference.assign(score=None)}, "not numbers"),
        ({"found_rows": "bb"}, "test rows"),
        ({"expected_rows": "", "found_rows": ""}, "test rows"),
        ({"megabytes": 11.0}, "size"),
        ({"megabytes": float("nan")}, "size"),
        ({"challenger": with_scores([1.0, 0.4] * 30)}, "language zh"),
        ({"seconds": 1.1}, "latency"),
        ({"seconds": float("nan")}, "latency"),
        ({"learned": Learned(1, "", "")}, "training apart: 1 of the training rows"),
        (with_side("full", [0.8] * 60, [1.0] * 60), "full: 0.8000"),
        (with_side("full", [float("nan")] * 60, [1.0] * 60), "full: some rows"),
        (with_side("other", [1.0] * 60, [1.0] * 60), "other: the rules set no limit"),
        (with_side("full", [1.0] * 60, None), "full: the champion has no such figure"),
        (with_side("full", None, [1.0] * 60), "full: the challenger has no such figure"),
        ({"sides": ("full",)}, "full: the challenger has no such figure"),
        ({"sides": ("full",), "first": True}, "full: the challenger has no such figure"),
        ({"first": True, "challenger": with_scores([0.5] * 60)}, "not above 0"),
    ],
)
def test_everything_else_stays_out(changes: dict[str, object], told: str) -> None:
    found = decide(a_case(**changes), RULES)
    assert not found.promote
    assert told in found.reason


def test_a_margin_or_a_drop_that_is_no_number_stays_out() -> None:
    for change in ({"margin": float("nan")}, {"slice_drop": float("nan")}):
        assert not decide(a_case(), Rules(**{**vars(RULES), **change})).promote


def test_a_slice_too_small_is_not_judged() -> None:
    columns = ["rare"] * 10 + ["common"] * 50
    scores = [0.0] * 10 + [1.0] * 50
    case = a_case(challenger=with_scores(scores, slice_language=columns))
    assert decide(case, RULES).promote
    strict = Rules(**{**vars(RULES), "min_slice_rows": 5})
    assert not decide(case, strict).promote


def test_a_first_champion_needs_a_gain_on_average_and_its_guards() -> None:
    noisy = with_scores([1.0] * 31 + [0.0] * 29, slice_language=["en"] * 60)
    case = a_case(challenger=noisy, first=True)
    found = decide(case, RULES)
    assert found.promote and found.gain is not None and found.gain.low < 0
    assert not decide(a_case(challenger=noisy, first=False), RULES).promote

"""Whether a challenger takes the champion's place: a pure function of scores and rules.

Everything that is not clearly better stays out: a tie, a figure that is missing or no number, other rows, rows that it
was fitted on, a group of rows or a figure beside the score that got worse, a model that is too large or too slow.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.metrics import Interval, paired_interval
from pipelines.journal import LATENCY
from pipelines.promotion.frozen import ROW, SCORE, SIDE, SLICE, Learned


@dataclass(frozen=True)
class Rules:
    """What a challenger is held to.

    margin: the gain over the champion that the lower bound of its 95 % interval must exceed, in the metric's unit.
    slice_drop: how much worse a slice may be, as a share of what the reference reaches there (the metrics of the
    capabilities differ in size). min_slice_rows: a smaller slice is not judged.
    side_drop: how much worse each figure beside the score may be, as a share of the reference's, beyond chance.
    max_megabytes: size of the bundle. max_seconds: one small request to the loaded model. rounds: resamples of each bootstrap. seed: of the resamples.
    """

    margin: float
    slice_drop: float
    min_slice_rows: int
    side_drop: Mapping[str, float]
    max_megabytes: float
    max_seconds: float
    rounds: int
    seed: int


@dataclass(frozen=True)
class Case:
    """What is decided on.

    challenger, reference: tables with `row_id` and `score`; the challenger's has `slice_*` columns too, and `side_*` of both
    are held against each other (a baseline has none).
    sides: figures beside the score that the capability always has.
    reference_name: for the reasons. first: there is no champion, and the reference is the best baseline.
    megabytes: size of the challenger's bundle. seconds: of one small request to it. learned: what keeps the rows apart
    from what it was fitted on. expected_rows, found_rows: hash of the frozen rows as the challenger's
    scores name it, and of the files that are there.
    """

    challenger: pd.DataFrame
    reference: pd.DataFrame
    reference_name: str
    first: bool
    megabytes: float
    seconds: float
    learned: Learned
    expected_rows: str
    found_rows: str
    sides: tuple[str, ...]


@dataclass(frozen=True)
class Guard:
    """One condition, whether it held, and what was found."""

    name: str
    held: bool
    found: str


@dataclass(frozen=True)
class Decision:
    """promote: the challenger wins. gain: ours less the reference's, None where it could not be computed."""

    promote: bool
    reason: str
    gain: Interval | None
    guards: tuple[Guard, ...]


def decide(case: Case, rules: Rules) -> Decision:
    """Judge the challenger.

    Against a champion the lower bound of the paired bootstrap interval must exceed the margin. Without one the mean
    gain over the best baseline must be above 0: to serve nothing is worse than to serve what is better on average,
    and the journal keeps the interval. All guards must hold in both cases; what a figure beside the score is held against
    is the champion's, so that without one it must only be there and be a number.
    """
    guards = [
        rows_guard(case),
        Guard("training apart", case.learned.apart, str(case.learned)),
        size_guard(case, rules),
        latency_guard(case, rules),
    ]
    fault = unusable(case)
    guards.append(Guard("figures", fault is None, fault or "every row has both figures"))
    if fault:
        first = next(guard for guard in guards if not guard.held)
        return Decision(False, f"{first.name}: {first.found}", None, tuple(guards))
    ours = case.challenger.sort_values(ROW, kind="stable")
    theirs = case.reference.sort_values(ROW, kind="stable")
    left = ours[SCORE].to_numpy(dtype=float)
    right = theirs[SCORE].to_numpy(dtype=float)
    gain = paired_interval(left, right, rules.seed, rounds=rules.rounds)
    guards.extend(slice_guards(ours, left, right, rules))
    guards.extend(side_guards(ours, theirs, case, rules))
    told = f"gain over {case.reference_name} {spread(gain)}"
    failed = [f"{guard.name}: {guard.found}" for guard in guards if not guard.held]
    if failed:
        return Decision(False, "; ".join([told, *failed]), gain, tuple(guards))
    if case.first:
        won = gain.mean > 0
        text = f"no champion yet; {told}, {'above' if won else 'not above'} 0 on average"
    else:
        won = gain.low > rules.margin
        text = f"{told}: lower bound {'above' if won else 'not above'} the margin {rules.margin:g}"
    return Decision(won, text, gain, tuple(guards))


def rows_guard(case: Case) -> Guard:
    """The rows that are there are those that the challenger was scored on."""
    held = bool(case.expected_rows) and case.expected_rows == case.found_rows
    found = f"expected {case.expected_rows[:12] or 'none'}, found {case.found_rows[:12] or 'none'}"
    return Guard("test rows", held, found)


def size_guard(case: Case, rules: Rules) -> Guard:
    """The bundle is no larger than allowed."""
    held = case.megabytes <= rules.max_megabytes
    return Guard("size", held, f"{case.megabytes:.1f} MB of {rules.max_megabytes:g} MB allowed")


def latency_guard(case: Case, rules: Rules) -> Guard:
    """A small request to the loaded model is answered in time."""
    held = case.seconds <= rules.max_seconds
    return Guard(LATENCY, held, f"{case.seconds:.3f} s of {rules.max_seconds:g} s allowed")


def unusable(case: Case) -> str | None:
    """Why the two tables can't be compared row by row, or None where they can."""
    for who, table in (("challenger", case.challenger), (case.reference_name, case.reference)):
        absent = {ROW, SCORE} - set(table.columns)
        if absent:
            return f"{who} has no {', '.join(sorted(absent))}"
        if len(table) == 0:
            return f"{who} has no rows"
        if table[ROW].duplicated().any():
            return f"{who} has row {table[ROW][table[ROW].duplicated()].iloc[0]!r} twice"
        values = pd.to_numeric(table[SCORE], errors="coerce").to_numpy(dtype=float)
        if not np.isfinite(values).all():
            return f"{who} has {int((~np.isfinite(values)).sum())} scores that are not numbers"
    if set(case.challenger[ROW]) != set(case.reference[ROW]):
        apart = len(set(case.challenger[ROW]) ^ set(case.reference[ROW]))
        return f"challenger and {case.reference_name} were scored on other rows ({apart} differ)"
    return None


def slice_guards(
    table: pd.DataFrame, left: np.ndarray, right: np.ndarray, rules: Rules
) -> list[Guard]:
    """One guard a slice: its drop must not exceed what is allowed beyond what chance explains.

    table: the challenger's, in the order of left and right (n,). A slice fails when even the upper bound of its
    paired 95 % interval lies below `-slice_drop` times the reference's mean. One of too few rows holds, and says that it
    was not judged.
    """
    guards = []
    for column in sorted(column for column in table.columns if column.startswith(SLICE)):
        groups = table[column].to_numpy()
        for value in sorted(set(groups)):
            inside = groups == value
            name, rows = f"{column.removeprefix(SLICE)} {value}", int(inside.sum())
            if rows < rules.min_slice_rows:
                few = f"not judged: {rows} rows, {rules.min_slice_rows} are needed"
                guards.append(Guard(name, True, few))
                continue
            gain = paired_interval(left[inside], right[inside], rules.seed, rounds=rules.rounds)
            found = f"{spread(gain)} on {rows} rows"
            allowed = rules.slice_drop * abs(float(right[inside].mean()))
            guards.append(Guard(name, gain.high >= -allowed, found))
    return guards


def side_guards(ours: pd.DataFrame, theirs: pd.DataFrame, case: Case, rules: Rules) -> list[Guard]:
    """One guard a figure that either table (sorted alike) has beside the score, or must have, judged as a slice is.

    One that is no number, that only one of the two has, or that the rules set no limit to, fails. A baseline has scores
    alone: before the first champion the challenger's figures must be numbers, and there is nothing that they could fall
    below.
    """
    guards = []
    columns = {name for name in (*ours.columns, *theirs.columns) if name.startswith(SIDE)}
    columns |= {f"{SIDE}{name}" for name in case.sides}
    for column in sorted(columns):
        name = column.removeprefix(SIDE)
        values = [
            table[column].to_numpy(dtype=float) if column in table else None
            for table in (ours, theirs)
        ]
        left, right = values
        if name not in rules.side_drop:
            guards.append(Guard(name, False, "the rules set no limit to its drop"))
        elif left is None:
            guards.append(Guard(name, False, "the challenger has no such figure"))
        elif right is None and not case.first:
            guards.append(Guard(name, False, "the champion has no such figure"))
        elif not all(np.isfinite(one).all() for one in values if one is not None):
            guards.append(Guard(name, False, "some rows have a figure that is not a number"))
        elif right is None:
            guards.append(Guard(name, True, f"{left.mean():.4f}, no champion to hold it against"))
        else:
            gain = paired_interval(left, right, rules.seed, rounds=rules.rounds)
            allowed = rules.side_drop[name] * abs(float(right.mean()))
            found = f"{left.mean():.4f}, {spread(gain)}"
            guards.append(Guard(name, gain.high >= -allowed, found))
    return guards


def spread(gain: Interval) -> str:
    """A difference as the journal tells it."""
    return f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"

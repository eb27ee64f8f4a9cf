"""What several sections do with the scores of the test rows: slices, and the surest mistakes."""

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipelines.report_sections.capabilities import named
from pipelines.report_sections.inputs import Absent, Inputs

SLICE = "slice_"
OUTCOME = ("row_id", "score", "prediction", "truth", "confidence")
BASELINES = "vitrine.baselines"


@dataclass(frozen=True)
class Judged:
    """rows: one line a test row. baselines: names of the columns that hold a baseline's scores."""

    rows: pd.DataFrame
    baselines: list[str]


def scores(inputs: Inputs, key: str, need: tuple[str, ...] = OUTCOME) -> Judged:
    """The scores of one capability, with at least the columns `need`. Raises `Absent`."""
    name = f"evaluate/{key}/scores.parquet"
    more = tuple(column for column in inputs.columns(name) if column not in need)
    baselines = json.loads(inputs.note(name, BASELINES) or "[]")
    rows = inputs.table(name, need=need, like=more)
    if not len(rows):
        raise Absent(f"data/{name} holds no rows.")
    return Judged(rows, baselines)


def slices(judged: Judged) -> dict[str, Any]:
    """Mean score of each value of each `slice_` column, beside that of each baseline.

    Returns baselines (names) and rows (slice, value, count, ours, theirs in the order of the names).
    """
    frame, theirs = judged.rows, judged.baselines
    rows = []
    for column in sorted(column for column in frame if column.startswith(SLICE)):
        for value, group in frame.groupby(column, sort=True):
            rows.append(
                {
                    "slice": named(column.removeprefix(SLICE)),
                    "value": str(value),
                    "count": len(group),
                    "ours": float(group["score"].mean()),
                    "theirs": [float(group[name].mean()) for name in theirs],
                }
            )
    return {"baselines": [named(name) for name in theirs], "rows": rows}


def surest_mistakes(frame: pd.DataFrame, count: int) -> pd.DataFrame:
    """The wrong predictions of which the model was most confident."""
    wrong = frame[frame["prediction"] != frame["truth"]]
    return wrong.sort_values(["confidence", "row_id"], ascending=[False, True], kind="stable").head(
        count
    )

"""Load one registered version as a stranger would, and hold its answers against those that were evaluated.

Run by file name in an isolated interpreter (`python -I`), so that neither the checkout nor the environment's
variables help: `load_check.py TRACKING_URI MODEL_URI EXAMPLE_FOLDER`. It prints the seconds of a request to the warm
model and ends with status 0, or tells what differs.
MODEL_URI is where the version's artifacts lie: opening the database to look that up again would take seconds.
"""

import math
import sys
import time
from pathlib import Path
from typing import Any

import mlflow
import mlflow.pyfunc
import pandas as pd
import pyarrow.parquet as pq

TOLERANCE = 1e-3
REPEATED = 3
"""Requests of which the quickest counts: the others tell what else the machine did."""


def main(tracking_uri: str, model_uri: str, example: str) -> None:
    """Predict `example/input.parquet`, compare with `example/output.parquet` (exits with a text on a difference), time it."""
    mlflow.set_tracking_uri(tracking_uri)
    # The environment is the one that the version's packages were pinned from: no need to compare it, which takes seconds.
    model = mlflow.pyfunc.load_model(model_uri, suppress_warnings=True)
    asked, expected = (
        pd.DataFrame(pq.read_table(Path(example) / f"{name}.parquet").to_pydict())
        for name in ("input", "output")
    )
    answer = model.predict(asked)
    if list(answer.columns) != list(expected.columns):
        sys.exit(f"columns {list(answer.columns)}, evaluated were {list(expected.columns)}")
    if len(answer) != len(expected):
        sys.exit(f"{len(answer)} rows, evaluated were {len(expected)}")
    for column in expected.columns:
        for at, (ours, theirs) in enumerate(zip(answer[column], expected[column], strict=True)):
            if not same(ours, theirs):
                sys.exit(f"row {at}, column {column}: {ours!r}, evaluated was {theirs!r}")
    print(min(seconds(model, asked) for _ in range(REPEATED)))


def seconds(model: Any, asked: pd.DataFrame) -> float:
    """How long one request takes."""
    started = time.perf_counter()
    model.predict(asked)
    return time.perf_counter() - started


def same(ours: Any, theirs: Any) -> bool:
    """Equality of two cells, up to a thousandth between numbers, element by element in lists and mappings."""
    if hasattr(ours, "tolist"):
        ours = ours.tolist()
    if isinstance(theirs, dict):
        return isinstance(ours, dict) and all(same(ours.get(key), theirs[key]) for key in theirs)
    if isinstance(theirs, (list, tuple)):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if missing(ours) or missing(theirs):
        return missing(ours) and missing(theirs)
    if isinstance(theirs, (int, float)) and not isinstance(theirs, bool):
        return math.isclose(ours, theirs, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(ours == theirs)


def missing(value: Any) -> bool:
    """Whether a cell is empty: None, NaN or a missing time."""
    return (
        value is None or bool(value is pd.NaT) or (isinstance(value, float) and math.isnan(value))
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Score a challenger and its baselines on frozen test rows: `python -m pipelines.evaluate sentiment`.

The rows are frozen as files, so that the champion of another week can be scored on them. No model is chosen here
and none is tuned: the test part is read by this stage alone.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.bundle import manifest_hash
from models.kinds import load_model
from models.metrics import interval
from pipelines.capabilities import Capability, capability
from pipelines.harness import BadData, Params, Run, stage
from pipelines.harness.tracking import BUNDLE_TAG
from pipelines.promotion.frozen import (
    ALSO,
    ROW,
    SCORE,
    SIDE,
    SLICE,
    Learned,
    Scores,
    cut_dates,
    read_scores,
    seal,
    write_scores,
)
from pipelines.training.judging import BEFORE, fitted_rows, headline

PART = "test"
EXAMPLE_ROWS = 2


class EvaluateParams(Params):
    """rounds: resamples of each bootstrap."""

    rounds: int


@stage
def evaluate(run: Run, params: EvaluateParams) -> None:
    name = run.instance or ""
    judge = capability(name)
    bundle = run.input(f"{name}/bundle")
    manifest = manifest_hash(bundle)
    run.tracker.tag(BUNDLE_TAG, manifest)
    split = split_folder(run)
    check_fitted(name, split, run.input(f"{name}/metrics.json"))
    run.advance(0.05, "loading the model")
    model = load_model(bundle)
    rows = run.output("rows")
    run.advance(0.15, "freezing the test rows")
    judge.freeze(split, PART, rows, beside(run))
    made = seal(rows, PART)
    run.advance(0.25, "scoring the challenger")
    table = judge.score(model, rows)
    run.advance(0.6, "scoring the baselines")
    baselines = judge.baselines(split, rows, run.seed)
    write_scores(
        run.output("scores.parquet"),
        table,
        baselines,
        bundle=manifest,
        seal=made,
        learned=learned(judge, split, table[ROW]),
        metric=judge.METRIC,
    )
    write_example(model, judge.example(rows, EXAMPLE_ROWS), run.output("example"))
    run.advance(0.8, "resampling")
    report(run, read_scores(run.output("scores.parquet")), params.rounds)


def split_folder(run: Run) -> Path:
    """The one folder of the split that this instance's deps name."""
    task = next(dep for dep in run.node.deps if dep.startswith("data/split/"))
    return run.input(task.removeprefix("data/"))


def beside(run: Run) -> Path | None:
    """The table that this instance's judge reads beside the split's folder, where its deps name one."""
    path = next((dep for dep in run.node.deps if dep.endswith(".parquet")), None)
    return run.input(path.removeprefix("data/")) if path else None


def check_fitted(name: str, split: Path, metrics: Path) -> None:
    """Raise `BadData` where the model was fitted on other rows than those that its split has before the test now.

    What is told of the rows that it learned from is read from the split.
    """
    now, then = fitted_rows(split), json.loads(metrics.read_text("utf-8")).get("fitted")
    if then != now:
        raise BadData(
            f"data/{name}/bundle was fitted on rows {str(then)[:12]}, data/split/{split.name} holds {now[:12]} before "
            f"its test: run `dvc repro {name}`"
        )


def learned(judge: Capability, split: Path, rows: pd.Series) -> Learned:
    """What keeps the frozen rows (their keys) apart from the parts that came before them."""
    shared, newest = 0, None
    for part in BEFORE:
        path = split / f"{part}.parquet"
        if judge.KEY is not None:
            keys = pq.read_table(path, columns=[judge.KEY])[0]
            shared += pc.sum(pc.is_in(keys, pa.array(rows.tolist(), pa.string()))).as_py() or 0
        if timed(judge, path):
            last = pc.max(pq.read_table(path, columns=[judge.TIME])[0]).as_py()
            newest = last if newest is None or (last and last > newest) else newest
    told = cut_dates(split).get("test_from") if judge.TIME is not None else None
    if told is None and newest is not None:
        test = pq.read_table(split / f"{PART}.parquet", columns=[judge.TIME])
        told = begins.isoformat() if (begins := pc.min(test[0]).as_py()) else None
    return Learned(shared, newest.isoformat() if newest else "", told or "", fitted_rows(split))


def timed(judge: Capability, path: Path) -> bool:
    """Whether the rows of a part have the column by which they are cut: a shop's reviews may have no time."""
    return judge.TIME is not None and judge.TIME in pq.read_schema(path).names


def report(run: Run, scores: Scores, rounds: int) -> None:
    """The headline against the best baseline; each baseline, side figure, figure that is only told and slice (with its
    rows), all with their intervals."""
    table = scores.table
    ours = table[SCORE].to_numpy()
    baselines = {name: table[name].to_numpy() for name in scores.baselines}
    found = headline(scores.metric, ours, baselines, run.seed, rounds)
    run.judge(found)
    run.rows_in = run.rows_out = len(table)
    run.measure("gain", found.value - found.baseline_value)

    def spread(place: str, values: np.ndarray) -> None:
        """A mean, and the ends of its interval; of values that are no numbers there is none."""
        if not np.isfinite(values).all():
            run.measure(place, float(values.mean()))
            return
        told = interval(values, run.seed, rounds=rounds).named(place)
        for figure, value in told.items():
            run.measure(figure, value)

    for name, values in baselines.items():
        spread(f"baseline/{name}", values)
    for begin, place in ((SIDE, "side"), (ALSO, "also")):
        for column in (column for column in table.columns if column.startswith(begin)):
            spread(f"{place}/{column.removeprefix(begin)}", table[column].to_numpy(dtype=float))
    for column in (column for column in table.columns if column.startswith(SLICE)):
        for value, group in table.groupby(column, sort=True):
            place = f"{column.removeprefix(SLICE)}/{value}"
            spread(f"slice/{place}", group[SCORE].to_numpy())
            spread(f"slice_baseline/{place}", group[found.baseline].to_numpy())
            run.measure(f"slice_rows/{place}", len(group))


def write_example(model: Any, frame: pd.DataFrame, folder: Path) -> None:
    """Keep a small input and what the model answers to it: the registered version must answer the same."""
    folder.mkdir()
    for name, table in (("input", frame), ("output", model.predict(frame))):
        kept = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
        pq.write_table(kept, folder / f"{name}.parquet")


if __name__ == "__main__":
    evaluate.main()

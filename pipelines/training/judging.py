"""How a training stage judges what it made: on the validation rows, against the best baseline there."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.bundle import manifest_hash, sha256
from models.metrics import interval, paired_interval
from pipelines.capabilities import Capability
from pipelines.harness import Run
from pipelines.harness.stage import Headline
from pipelines.harness.tracking import BUNDLE_TAG

BEFORE = ("train", "valid")
"""The parts that a model may have been fitted or chosen on."""


def fitted_rows(split: Path) -> str:
    """Hash over the parts of a split that a model may have been fitted or chosen on."""
    hashes = "".join(sha256(split / f"{part}.parquet") for part in BEFORE)
    return hashlib.sha256(hashes.encode()).hexdigest()


def tell_fitted(run: Run, task: str) -> None:
    """Keep with the run and in `metrics.json` what rows its bundle was fitted on, and which bundle it is."""
    run.fitted = fitted_rows(run.input(f"split/{task}"))
    run.tracker.tag(BUNDLE_TAG, manifest_hash(run.output("bundle")))


def judge_on_validation(
    run: Run, judge: Capability, task: str, model: Any, beside: Path | None = None
) -> pd.DataFrame:
    """Score `model` and its baselines on `data/split/<task>`'s valid part, keep the headline, return the scores.

    beside: see `Capability.freeze`.
    What the model was fitted on, and what bundle the run made of it, is kept with the run and in `metrics.json`.
    """
    tell_fitted(run, task)
    with tempfile.TemporaryDirectory() as scratch:
        split, rows = run.input(f"split/{task}"), Path(scratch) / "rows"
        judge.freeze(split, "valid", rows, beside)
        table = judge.score(model, rows)
        baselines = judge.baselines(split, rows, run.seed)
    run.judge(headline(judge.METRIC, table["score"].to_numpy(), baselines, run.seed))
    for name, values in baselines.items():
        run.measure(f"baseline/{name}", float(values.mean()))
    return table


def headline(
    metric: str, ours: np.ndarray, baselines: dict[str, np.ndarray], seed: int, rounds: int = 2000
) -> Headline:
    """The figure with its interval, against the baseline with the highest mean (the first by name among equals)."""
    best = max(sorted(baselines), key=lambda name: float(np.mean(baselines[name])))
    whole = interval(ours, seed, rounds=rounds)
    gain = paired_interval(ours, baselines[best], seed, rounds=rounds)
    return Headline(
        metric=metric,
        value=whole.mean,
        low=whole.low,
        high=whole.high,
        baseline=best,
        baseline_value=float(np.mean(baselines[best])),
        gain_low=gain.low,
        gain_high=gain.high,
    )

"""A small project that ran twice, as MLflow, the journal and the monitor keep it; with hostile texts."""

import json
import shutil
from pathlib import Path
from typing import Any

from pipelines.harness.state import State
from pipelines.harness.tracking import EXPERIMENT, RUN_TAG, client
from pipelines.journal import Journal

HOSTILE = "<script>alert(1)</script>"
STAGES = {"split": "train", "model": "train", "lists": "later"}
HOUR = 3_600_000
"""Milliseconds."""


def write_project(root: Path, database: Path) -> None:
    """A graph of three stages and an empty MLflow database."""
    stages = {
        name: {"desc": name, "cmd": "true", "meta": {"dag": dag, "group": "data"}}
        for name, dag in STAGES.items()
    }
    root.mkdir(parents=True, exist_ok=True)
    (root / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    (root / "params.yaml").write_text("profile: tiny\n")
    place = State(root).mlflow / "mlflow.db"
    place.parent.mkdir(parents=True)
    shutil.copy(database, place)


def write_two_runs(root: Path, database: Path) -> None:
    """The project with its two runs, its decisions and its look."""
    write_project(root, database)
    write_runs(root)
    write_news(root)


def ran(root: Path, run: str, stages: dict[str, dict[str, Any]], hour: int) -> None:
    """One run of the pipeline. Each stage has metrics, and perhaps params, tags and status."""
    tracking = client(State(root))
    experiment = tracking.get_experiment_by_name(EXPERIMENT).experiment_id
    begun = hour * HOUR
    tags = {RUN_TAG: run, "mlflow.runName": run, "profile": "tiny"}
    parent = tracking.create_run(experiment, start_time=begun, tags=tags).info.run_id
    for at, (stage, told) in enumerate(stages.items()):
        tags = {"stage": stage, "mlflow.parentRunId": parent, **told.get("tags", {})}
        start = begun + at * 60_000
        made = tracking.create_run(experiment, start_time=start, tags=tags).info.run_id
        for name, value in told.get("metrics", {}).items():
            tracking.log_metric(made, name, value)
        for name, value in told.get("params", {}).items():
            tracking.log_param(made, name, value)
        tracking.set_terminated(made, told.get("status", "FINISHED"), start + 30_000)
    tracking.set_terminated(parent, "FINISHED", begun + 600_000)


def write_runs(root: Path) -> None:
    """Two runs: in the second the model got better by another parameter, and the lists failed."""
    split = {"metrics": {"rows_in": 100, "rows_out": 90, "seconds": 3.0}}
    model = {
        "metrics": {"rows_in": 90, "rows_out": 90, "seconds": 20.0, "quality": 0.2}
        | {"quality_low": 0.1, "quality_high": 0.3},
        "params": {"epochs": "2", "words": HOSTILE},
        "tags": {"quality": "ndcg_at_20"},
    }
    lists = {"metrics": {"rows_in": 9, "rows_out": 90, "seconds": 5.0}}
    ran(root, "train one", {"split": split, "model": model, "lists": lists}, hour=10)
    better = {
        "metrics": model["metrics"] | {"quality": 0.25, "seconds": 31.5},
        "params": {"epochs": "4", "words": HOSTILE},
        "tags": model["tags"],
    }
    failed = {"status": "FAILED", "tags": {"error": f"no champion {HOSTILE}"}}
    ran(root, "train two", {"model": better, "lists": failed}, hour=20)


def write_news(root: Path) -> None:
    """Two decisions, and a look with one column that drifts."""
    journal = Journal(State(root))
    line = {"who": "run 1", "capability": "content", "from": None, "to": "a" * 64}
    journal.append({**line, "outcome": "promoted", "reason": "better on average", "key": "1"})
    line |= {"from": "a" * 64, "to": "b" * 64}
    journal.append({**line, "outcome": "refused", "reason": f"worse {HOSTILE}", "key": "2"})
    drifts = {"check": "drift", "what": "interactions.price", "value": 0.31, "limit": "PSI 0.20"}
    drifts |= {"alarm": True, "why": ""}
    fresh = {**drifts, "check": "freshness", "what": "days since the newest event", "alarm": False}
    look = {"at": "2026-03-02T02:00:00Z", "newest_event": "2026-03-01", "train": True}
    look |= {"alarms": ["drift, interactions.price: 0.31"], "findings": [fresh, drifts]}
    place = State(root).home / "monitor" / "newest.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(look))

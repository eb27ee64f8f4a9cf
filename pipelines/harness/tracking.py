"""MLflow: one run a stage, under one parent for each run of the pipeline.

MLflow is imported when a run is opened, not before: it costs two seconds.
"""

import contextlib
import fcntl
import logging
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from pipelines.harness.errors import MissingResource
from pipelines.harness.state import State

EXPERIMENT = "vitrine"
RUN_VARIABLE = "VITRINE_RUN"
RUN_TAG = "vitrine.run"
BUNDLE_TAG = "bundle"
"""Of a run that made or judged a bundle: its manifest hash."""
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def pipeline_run_id() -> str:
    """The run of the pipeline that this process belongs to.

    The orchestrator names it in `VITRINE_RUN`; else it is the `dvc` process above us, known by its start time;
    else this process alone. It only groups runs in MLflow: no output depends on it.
    """
    given = os.environ.get(RUN_VARIABLE)
    if given:
        return given
    import psutil

    own = psutil.Process()
    for process in own.parents():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if any(Path(word).name == "dvc" for word in words[:2]):
                return f"repro {_stamp(process.create_time())}"
    return f"stage {_stamp(own.create_time())}"


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


@contextlib.contextmanager
def database_lock(state: State) -> Iterator[None]:
    """Serialise what two processes must not do at once: migrating the database, making the parent."""
    state.locks.mkdir(parents=True, exist_ok=True)
    with (state.locks / "mlflow.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def client(state: State) -> Any:
    """An `MlflowClient` on a migrated database. Raises `MissingResource` where it can't be reached."""
    os.environ.update({key: os.environ.get(key, value) for key, value in SETTINGS.items()})
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    uri = state.tracking_uri
    with database_lock(state):
        if uri.startswith("sqlite:///"):
            database = Path(uri.removeprefix("sqlite:///"))
            if not database.exists():
                _make_database(uri, database)
        found = MlflowClient(tracking_uri=uri)
        try:
            if found.get_experiment_by_name(EXPERIMENT) is None:
                # A server keeps artifacts where it was told to; its own place is none of this machine.
                local = uri.startswith("sqlite:///")
                place = (state.mlflow / "artifacts").as_uri() if local else None
                found.create_experiment(EXPERIMENT, place)
        except Exception as error:
            raise MissingResource(f"MLflow at {uri} can't be reached: {error}") from error
    return found


def _make_database(uri: str, database: Path) -> None:
    """Two processes on a fresh database would race in its migration: make it once, then rename it."""
    database.parent.mkdir(parents=True, exist_ok=True)
    partial = database.with_name(f".{database.name}.partial")
    partial.unlink(missing_ok=True)
    from mlflow.store.db.utils import _initialize_tables
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{partial}")
    _initialize_tables(engine)  # type: ignore[no-untyped-call] # MLflow leaves it untyped
    engine.dispose()
    partial.replace(database)


class Tracker:
    """The MLflow run of one stage, as a context; a failure inside it marks the run as failed."""

    def __init__(
        self, root: Path, state: State, stage: str, params: dict[str, Any], tags: dict[str, str]
    ) -> None:
        self.pipeline_run = pipeline_run_id()
        self._root, self._state, self._stage = root, state, stage
        self._params, self._tags = params, tags

    def __enter__(self) -> "Tracker":
        self.client = client(self._state)
        experiment = self.client.get_experiment_by_name(EXPERIMENT).experiment_id
        self._experiment = experiment
        self.commit = _git_commit(self._root)
        with database_lock(self._state):
            self.parent_id = self._parent(experiment, self.commit)
        tags = {
            **self._tags,
            "mlflow.parentRunId": self.parent_id,
            "mlflow.runName": self._stage,
            "stage": self._stage,
            "git_commit": self.commit,
        }
        self.run_id = self.client.create_run(experiment, tags=tags).info.run_id
        from mlflow.entities import Param

        params = {_plain(key): str(value)[:6000] for key, value in self._params.items()}
        self.client.log_batch(self.run_id, params=[Param(*pair) for pair in params.items()])
        return self

    def _parent(self, experiment: str, commit: str) -> str:
        found = self.client.search_runs(
            [experiment], f"tags.`{RUN_TAG}` = '{self.pipeline_run}'", max_results=1
        )
        if found:
            self.client.update_run(found[0].info.run_id, status="RUNNING")
            return found[0].info.run_id
        tags = {
            RUN_TAG: self.pipeline_run,
            "mlflow.runName": self.pipeline_run,
            "git_commit": commit,
            "profile": self._tags.get("profile", ""),
        }
        return self.client.create_run(experiment, tags=tags).info.run_id

    def finish(self, record: dict[str, Any]) -> None:
        """Log a stage's record: rows, seconds, memory, the headline with its interval, other figures."""
        from mlflow.entities import Metric, RunTag

        now = int(time.time() * 1000)
        values = {
            key: record[key] for key in ("rows_in", "rows_out", "seconds", "peak_memory_mb")
        } | record["measures"]
        tags = [RunTag("status", record["status"])]
        if record["why"]:
            tags.append(RunTag("why", record["why"]))
        for kind in ("absent", "without"):
            tags += [RunTag(f"{kind}/{name}", why) for name, why in record[kind].items()]
        head = record["headline"]
        if head:
            values |= {
                "quality": head["value"],
                "quality_low": head["low"],
                "quality_high": head["high"],
                "baseline": head["baseline_value"],
                "gain_low": head["gain_low"],
                "gain_high": head["gain_high"],
            }
            tags += [RunTag("quality", head["metric"]), RunTag("baseline", head["baseline"])]
        metrics = [Metric(_plain(key), float(value), now, 0) for key, value in values.items()]
        for at in range(0, len(metrics), 900):
            self.client.log_batch(self.run_id, metrics=metrics[at : at + 900], tags=tags)

    def tag(self, key: str, value: str) -> None:
        """Set one tag of the run; MLflow holds 8,000 characters of it."""
        self.client.set_tag(self.run_id, key, value[:8000])

    def made(self, stage: str, tag: str, value: str) -> str | None:
        """The newest run of `stage` that carries this tag; None where there is none (DVC's store had its outputs)."""
        found = self.client.search_runs(
            [self._experiment],
            f"tags.stage = '{stage}' AND tags.{tag} = '{value}'",
            order_by=["attributes.start_time DESC"],
            max_results=1,
        )
        return found[0].info.run_id if found else None

    def page(self, run: str) -> str:
        """Where MLflow's pages show a run, relative to their root."""
        return f"#/experiments/{self._experiment}/runs/{run}"

    def curve(self, name: str, values: list[float]) -> None:
        """Log one figure a step (a loss over epochs)."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(_plain(name), float(value), now, at) for at, value in enumerate(values)]
        self.client.log_batch(self.run_id, metrics=metrics)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        status = "FAILED" if error else "FINISHED"
        if error:
            self.client.set_tag(self.run_id, "error", str(error)[:5000])
        self.client.set_terminated(self.run_id, status)
        self.client.set_terminated(self.parent_id, status)


def _plain(name: str) -> str:
    """MLflow allows letters, digits and `_-. :/` in the name of a metric or a parameter."""
    return "".join(
        letter if letter.isalnum() or letter in "_-. :/" else "_" for letter in name
    ).strip()


def _git_commit(root: Path) -> str:
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"

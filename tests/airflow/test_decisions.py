"""A person decides in the real Airflow: a challenger is asked about and approved, then taken back."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from pipelines.harness.state import State
from pipelines.journal import Journal
from pipelines.promotion.registry import CHALLENGER, CHAMPION, Registry
from pipelines.services import airflow, processes, stack
from pipelines.services.airflow import Api
from tests.conftest import REPOSITORY
from tests.pipeline.standin.project import ROWS, Project
from tests.waiting import poll

NAME = "sentiment"
PAUSED = re.compile(r"executor event .*task_id='ask'")


@pytest.fixture
def project(tmp_path: Path, migrated_database: Path, warm_python: Path) -> Iterator[Project]:
    """A champion of .7 and a challenger of .9 that waits for a person; whatever was started is stopped."""
    made = Project(tmp_path / "shop", warm_python)
    state = State(made.root)
    state.mlflow.mkdir(parents=True)
    shutil.copy(migrated_database, state.mlflow / "mlflow.db")
    shutil.copytree(
        REPOSITORY / "dags", made.root / "dags", ignore=shutil.ignore_patterns("__pycache__")
    )
    for words in (("git", "init", "-q"), ("dvc", "init", "-q")):
        subprocess.run(words, cwd=made.root, check=True)
    for share, mode in ((0.7, "automatic"), (0.9, "ask")):
        made.choose(promotion=mode)
        made.train(np.random.default_rng(7).random(ROWS) < share)
        made.stage("evaluate")
        made.stage("promote")
    try:
        yield made
    finally:
        processes.stop(state, stack.NAMES)


def ended(api: Api, dag: str, run: str) -> str:
    """The state in which a run ended."""
    poll(lambda: api.run(dag, run)["state"] in ("success", "failed"), f"the end of {dag}")
    return api.run(dag, run)["state"]


def test_a_challenger_is_approved_and_taken_back(project: Project) -> None:
    state = State(project.root)
    first = Registry(state).aliases(NAME)
    api = Api(airflow.start(state, "test")[0].port)
    poll(lambda: {"promote", "rollback", "recommend"} <= api.dags(), "the DAGs read")
    assert api.import_errors() == []
    api.request("PATCH", "/dags/recommend", {"is_paused": True})

    run = api.trigger("promote", {})
    place = f"/dags/promote/dagRuns/{quote(run, safe='')}"
    asked = poll(
        lambda: [
            one
            for one in api.request("GET", f"{place}/hitlDetails")["hitl_details"]
            if not one["response_received"]
        ],
        "the question",
    )
    assert len(asked) == 1 and "vitrine.sentiment" in asked[0]["subject"]
    assert "| gain, 95 % |" in asked[0]["body"] and "| guard |" in asked[0]["body"]
    answer = {"chosen_options": ["Approve"], "params_input": {"because": "looks right"}}
    index = asked[0]["task_instance"]["map_index"]
    # A person takes a moment. Airflow 3.3 fails a task that is answered before its scheduler saw it pause.
    log = processes.log_file(state, airflow.NAMES[1])
    poll(lambda: PAUSED.search(log.read_text("utf-8")), "the task seen to pause")
    api.request("PATCH", f"{place}/taskInstances/ask/{index}/hitlDetails", answer)
    assert ended(api, "promote", run) == "success"
    then = Registry(state).aliases(NAME)
    assert then[CHAMPION].manifest == first[CHALLENGER].manifest
    assert then[CHAMPION].manifest in project.receipt().decode()
    assert Journal(state).entries()[-1]["reason"] == "looks right"

    run = api.trigger("rollback", {"capability": NAME, "because": "customers complain"})
    assert ended(api, "rollback", run) == "success"
    assert Registry(state).aliases(NAME)[CHAMPION].manifest == first[CHAMPION].manifest
    assert first[CHAMPION].manifest in project.receipt().decode()
    assert [line["outcome"] for line in Journal(state).entries()] == [
        *("promoted", "waits", "approved", "rolled back"),
    ]
    assert Journal(state).verify() == []
    assert len(api.runs("recommend")) == 2

    run = api.trigger("promote", {})
    assert ended(api, "promote", run) == "success"
    assert api.tasks("promote", run)["waiting"]["state"] == "skipped"

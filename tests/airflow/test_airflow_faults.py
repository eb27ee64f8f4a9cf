"""The real Airflow: a scheduler stopped in the middle of a run, and a stage that fails."""

import json
import os
import shutil
import signal
from pathlib import Path

import psutil
import pytest

from pipelines.harness.state import State
from pipelines.services import airflow, processes, stack
from tests.conftest import REPOSITORY, Project
from tests.dags.sink import listening
from tests.waiting import poll


@pytest.fixture
def shop(toy_project: Project) -> Project:
    """The small project with what its tasks in Airflow need."""
    root = toy_project.root
    for name in ("dags", "pipelines"):
        shutil.copytree(REPOSITORY / name, root / name)
    graph = root / "dvc.yaml"
    graph.write_text(graph.read_text().replace("deps: [", "deps: [pipelines/harness, "))
    return toy_project


def writers(root: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline", "cwd", "status"])
        if process.info["cwd"] == str(root)
        and (process.info["cmdline"] or [])[-2:] == ["-m", "toy"]
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_a_run_goes_on_after_its_scheduler_was_stopped(shop: Project, how: signal.Signals) -> None:
    state = State(shop.root)
    marker = shop.root / "marker"
    os.mkfifo(f"{marker}.gate")
    shop.set('tiny: {toy: {wait: ""}', f'tiny: {{toy: {{wait: "{marker}"}}')
    try:
        started = airflow.start(state, "test")
        api = airflow.Api(started[0].port)
        poll(lambda: "train" in api.dags(), "the DAG read")
        run = api.trigger("train", {})
        poll(marker.exists, "the first stage at work")
        scheduler = processes.running(state, airflow.NAMES[1])
        assert scheduler
        if how == signal.SIGTERM:  # as `make down` and an operator do it
            processes.stop(state, [airflow.NAMES[1]])
        else:
            for process in scheduler.family():
                process.send_signal(how)
        poll(lambda: not processes.running(state, airflow.NAMES[1]), "the scheduler gone")
        poll(lambda: not writers(shop.root), "the stage gone with its task")
        assert not (shop.root / "data" / "toy").exists()
        marker.unlink()
        airflow.start(state, "test")
        poll(marker.exists, "the stage at work again")
        Path(f"{marker}.gate").write_text("go")
        poll(lambda: api.run("train", run)["state"] in ("success", "failed"), "the run's end")
        assert api.run("train", run)["state"] == "success"
        assert (shop.root / "data" / "after" / "sum.txt").exists()
    finally:
        processes.stop(state, stack.NAMES)


def test_a_failed_stage_is_told_once_with_its_error_and_log(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(shop.root)
    shop.set("toy: {rows: 5}", "toy: {rows: 13}")
    with listening() as sink:
        hook = json.dumps({"conn_type": "http", "host": sink.address})
        monkeypatch.setenv("AIRFLOW_CONN_VITRINE_INCIDENTS", hook)
        try:
            started = airflow.start(state, "test")
            api = airflow.Api(started[0].port)
            poll(lambda: "train" in api.dags(), "the DAG read")
            run = api.trigger("train", {})
            poll(lambda: api.run("train", run)["state"] in ("success", "failed"), "the run's end")
            poll(lambda: sink.bodies, "the message")
            tries = {name: one["try_number"] for name, one in api.tasks("train", run).items()}
        finally:
            processes.stop(state, stack.NAMES)
    (told,) = sink.bodies
    assert (told["dag"], told["run"], told["task"]) == ("train", run, "toy")
    assert "toy.txt, column n, row 13: unlucky; choose another number" in told["text"]
    assert f"{api.address}/dags/train/runs/" in told["log"]
    assert tries == {"toy": 1, "after": 0}, "data that are wrong are not tried again"
    assert not (shop.root / "data" / "toy").exists()

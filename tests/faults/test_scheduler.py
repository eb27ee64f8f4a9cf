"""Airflow's scheduler stopped in the middle of a run: started again, the run goes on and ends well."""

import os
import shutil
import signal
from pathlib import Path

import psutil
import pytest

from pipelines.harness.state import State
from pipelines.services import airflow, processes, stack
from tests.conftest import REPOSITORY, Project
from tests.waiting import poll

# In one worker with the other tests that start Airflow.
pytestmark = pytest.mark.xdist_group("airflow")


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

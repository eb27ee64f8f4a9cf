"""Two workers without a common disk: what one made arrives at the other by content hash."""

import shutil
from pathlib import Path

import pytest
import yaml

from tests.conftest import Project

CONFIG = """\
[core]
    no_scm = true
    analytics = false
    remote = store
['remote "store"']
    url = {store}
"""


@pytest.fixture
def workers(toy_project: Project, tmp_path: Path) -> tuple[Project, Project]:
    """The toy project in two folders, with a store beside them."""
    shutil.rmtree(toy_project.root / ".git")
    (toy_project.root / ".dvc" / "config").write_text(CONFIG.format(store=tmp_path / "store"))
    second = tmp_path / "second"
    shutil.copytree(toy_project.root, second)
    return toy_project, Project(second, toy_project.warm)


def run(worker: Project, stage: str) -> tuple[int, str]:
    """Run a stage as Airflow's tasks do on a cluster: its status and all it said."""
    done = worker.run("env", "VITRINE_EXCHANGE=true", "python", "-m", "pipelines.run", stage)
    return done.returncode, done.stdout + done.stderr


def outs(worker: Project) -> dict[str, str]:
    """Out to hash, of all stages that the worker's `dvc.lock` knows."""
    document = yaml.safe_load((worker.root / "dvc.lock").read_text())
    return {
        out["path"]: out["md5"] for entry in document["stages"].values() for out in entry["outs"]
    }


def test_outputs_travel_and_nothing_is_made_or_fetched_twice(
    workers: tuple[Project, Project],
) -> None:
    first, second = workers
    status, told = run(first, "toy")
    assert status == 0, told
    assert "Running stage 'toy'" in told

    status, told = run(second, "after")
    assert status == 0, told
    assert "1 files fetched" in told and "Running stage 'after'" in told

    status, told = run(first, "after")
    assert status == 0, told
    assert "fetched" in told and "Running stage" not in told
    assert (first.root / "data/after/sum.txt").read_text() == (
        second.root / "data/after/sum.txt"
    ).read_text()
    assert outs(first) == outs(second)

    status, told = run(second, "after")
    assert status == 0, told
    assert "fetched" not in told and "Running stage" not in told

    # Other parameters on the one, and the other takes the new numbers, not the ones that it has.
    for worker in workers:
        worker.set("toy: {rows: 5}", "toy: {rows: 6}")
    assert run(first, "toy")[0] == 0
    status, told = run(second, "after")
    assert status == 0, told
    assert len((second.root / "data/toy/numbers.txt").read_text().split()) == 6
    assert outs(first)["data/toy/numbers.txt"] == outs(second)["data/toy/numbers.txt"]


def test_a_store_that_lost_a_file_or_is_not_told_of_is_a_named_error(
    workers: tuple[Project, Project], tmp_path: Path
) -> None:
    first, second = workers
    assert run(first, "toy")[0] == 0
    digest = outs(first)["data/toy/numbers.txt"]
    (tmp_path / "store" / "files" / "md5" / digest[:2] / digest[2:]).unlink()
    status, told = run(second, "after")
    assert status == 69 and "what after needs could not be fetched" in told
    assert not (second.root / "data/after").exists()

    config = second.root / ".dvc" / "config"
    config.write_text(config.read_text().replace("    remote = store\n", ""))
    status, told = run(second, "after")
    assert status == 78 and "names no store" in told

"""Fixtures that several groups of tests share."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from pipelines.harness.state import State
from pipelines.services import warm
from tests.waiting import poll

REPOSITORY = Path(__file__).resolve().parent.parent
WARM_SECONDS = 300.0

TOY_PARAMS = """\
profile: tiny  # the choice
promotion: automatic
seed: 7
threads: 1
toy: {rows: 5}
after: {}
profiles:
  tiny: {toy: {wait: ""}, after: {}}
  smoke: {toy: {wait: ""}, after: {}}
"""

TOY_GRAPH = """\
vars: [params.yaml]
stages:
  toy:
    desc: Write some numbers.
    cmd: exec python -m toy
    deps: [toy.py]
    params: [seed, threads, toy, "profiles.${profile}.toy"]
    outs: [data/toy/numbers.txt]
    metrics: [data/toy/metrics.json]
    meta: {dag: train, group: data, retries: 1, timeout: 60}
  after:
    desc: Add them up.
    cmd: exec python -m after
    deps: [after.py, data/toy/numbers.txt]
    params: [seed, after]
    outs: [data/after/sum.txt]
    metrics: [data/after/metrics.json]
    meta: {dag: train, group: data, retries: 1, timeout: 60}
"""

TOY_STAGE = '''\
"""Write some numbers."""
import random
from pathlib import Path

from pipelines.harness import BadData, Params, Run, stage


class ToyParams(Params):
    rows: int
    wait: str


@stage
def toy(run: Run, params: ToyParams) -> None:
    with run.output("numbers.txt").open("w") as file:
        for at in run.progress(range(params.rows), "counting"):
            file.write(f"{random.randrange(1000)}\\n")
    if params.wait:
        Path(params.wait).write_text("here")
        with open(params.wait + ".gate") as gate:  # a pipe that the test opens
            gate.read()
    if params.rows == 13:
        raise BadData("toy.txt, column n, row 13: unlucky; choose another number")
    if params.rows == 14:
        raise RuntimeError("boom")
    if params.rows == 15:
        run.output("stray.txt").write_text("x")
    run.rows_out = params.rows


if __name__ == "__main__":
    toy.main()
'''

TOY_AFTER = '''\
"""Add them up."""
from pipelines.harness import Params, Run, stage


class AfterParams(Params):
    pass


@stage
def after(run: Run, params: AfterParams) -> None:
    numbers = [int(line) for line in run.input("toy/numbers.txt").read_text().split()]
    run.rows_in = len(numbers)
    run.output("sum.txt").write_text(str(sum(numbers)))
    run.measure("sum", sum(numbers))


if __name__ == "__main__":
    after.main()
'''


@dataclass
class Project:
    """A small project of two stages in a folder of its own, run in processes of their own."""

    root: Path
    warm: Path

    def environment(self, warm: bool = True, **more: str) -> dict[str, str]:
        """Of a process in the project; `python` is the warm one where not said otherwise."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("DVC_")}
        first = [str(self.warm)] if warm else []
        path = os.pathsep.join([*first, str(Path(sys.executable).parent), kept["PATH"]])
        pythonpath = f"{self.root}{os.pathsep}{REPOSITORY}"
        return {**kept, "PATH": path, "PYTHONPATH": pythonpath, **more}

    def run(
        self, *words: str, timeout: float = 120, warm: bool = True
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.root,
            env=self.environment(warm),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A process that is to be killed: a cold one."""
        return subprocess.Popen(
            words,
            cwd=self.root,
            env=self.environment(warm=False),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def set(self, old: str, new: str) -> None:
        path = self.root / "params.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Path]:
    """A folder whose `python` begins with the slow packages loaded: to be put first on a PATH.

    All workers of a run share one server, which holds a gigabyte; the last one to leave ends it.
    """
    base = tmp_path_factory.getbasetemp()
    home = (base if worker_id == "master" else base.parent) / "warm"
    home.mkdir(exist_ok=True)
    folder, process, mine = home / "bin", home / "process", home / f"user-{worker_id}"
    with FileLock(home / "lock"):
        mine.touch()
        if not (folder / "python").exists():
            server = subprocess.Popen(warm.command(folder))
            poll(
                lambda: (folder / "python").exists() or server.poll() is not None,
                "the warm interpreter",
                WARM_SECONDS,
            )
            assert server.poll() is None, server.returncode
            process.write_text(str(server.pid))
    try:
        yield folder
    finally:
        with FileLock(home / "lock"):
            mine.unlink()
            if not any(home.glob("user-*")):
                os.kill(int(process.read_text()), signal.SIGTERM)
                poll(lambda: not folder.exists(), "the end of the warm interpreter", pause=0.05)


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database, made once: its migration takes seconds."""
    from pipelines.harness.tracking import client

    root = tmp_path_factory.mktemp("mlflow")
    client(State(root))
    return State(root).mlflow / "mlflow.db"


def own_store(root: Path, migrated: Path) -> State:
    """The state of a project with an MLflow database of its own, whose artifacts lie below it too."""
    state = State(root)
    state.mlflow.mkdir(parents=True)
    shutil.copy(migrated, state.mlflow / "mlflow.db")
    place = (state.mlflow / "artifacts").as_uri()
    with closing(sqlite3.connect(state.mlflow / "mlflow.db")) as base, base:
        base.execute("update experiments set artifact_location = ?", (place,))
    return state


@pytest.fixture
def toy_project(tmp_path: Path, migrated_database: Path, warm_python: Path) -> Project:
    root = tmp_path / "shop"
    root.mkdir()
    for name, text in {
        "params.yaml": TOY_PARAMS,
        "dvc.yaml": TOY_GRAPH,
        "toy.py": TOY_STAGE,
        "after.py": TOY_AFTER,
        ".gitignore": "/data/\n/.vitrine/\n__pycache__/\n",
    }.items():
        (root / name).write_text(text)
    database = root / ".vitrine" / "mlflow" / "mlflow.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(migrated_database.read_bytes())
    project = Project(root, warm_python)
    for words in (("git", "init", "-q"), ("dvc", "init", "-q")):
        done = project.run(*words)
        assert done.returncode == 0, done.stderr
    return project

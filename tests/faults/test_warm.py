"""A warm interpreter does what a cold one does, and nothing that it began outlives who asked for it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from pipelines.harness.interpreter import stage_path, warm_folder
from pipelines.harness.state import State
from pipelines.services import processes, warm
from tests.conftest import Project
from tests.faults.test_killed import held_stage, outputs, stage_processes, wait_for
from tests.waiting import poll

PROBE = """\
import os, sys
print(os.getcwd(), sorted(sys.argv[1:]), os.environ.get("WORD"), sys.stdin.read())
print("pipelines" in sys.modules, "torch" in sys.modules, file=sys.stderr)
files = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
assert not [file for file in files if file.endswith("warm/server.py")]
sys.exit(int(os.environ.get("STATUS", "0")))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "probe.py").write_text(PROBE)
    return tmp_path


def call(
    python: Path, project: Path, *words: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *words],
        cwd=project,
        env={"PATH": os.defpath, **variables},
        input="told",
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("words", [("-m", "probe"), ("-I", "-B", "probe.py")])
def test_words_folder_variables_streams_and_status_are_handed_on(
    warm_python: Path, project: Path, words: tuple[str, ...]
) -> None:
    done = call(warm_python / "python", project, *words, "é", WORD="字", STATUS="65")
    assert done.stdout == f"{project} ['é'] 字 told\n"
    assert done.stderr == "False True\n"
    assert done.returncode == 65


def test_other_calls_are_those_of_the_real_interpreter(warm_python: Path, project: Path) -> None:
    done = call(warm_python / "python", project, "-c", "import sys; print(sys.executable)")
    assert done.stdout.strip() == sys.executable


def test_a_stranger_finds_nothing_of_the_caller(warm_python: Path, project: Path) -> None:
    text = "import importlib.util as u; print(u.find_spec('probe'))"
    (project / "other.py").write_text(text)
    words = ("-I", "-B", "other.py")
    assert call(warm_python / "python", project, *words, PYTHONPATH=str(project)).stdout == "None\n"


def test_an_error_is_told_and_a_killed_one_has_the_shells_status(
    warm_python: Path, project: Path
) -> None:
    (project / "probe.py").write_text("raise ValueError('wrong')")
    done = call(warm_python / "python", project, "-m", "probe")
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: wrong\n")
    (project / "probe.py").write_text("import os; os.kill(os.getpid(), 9)")
    assert call(warm_python / "python", project, "-m", "probe").returncode == 137


def test_without_a_server_the_real_interpreter_runs_it(warm_python: Path, project: Path) -> None:
    left = project / "left"
    left.mkdir()
    text = (warm_python / "python").read_text().replace(str(warm_python), str(left))
    (left / "python").write_text(text)
    (left / "python").chmod(0o700)
    done = call(left / "python", project, "-m", "probe", STATUS="3")
    assert (done.returncode, done.stderr) == (3, "False False\n")


@contextmanager
def started(state: State) -> Iterator[Path]:
    """The folder of a warm interpreter that is up as the project's service."""
    folder = warm_folder(state)
    try:
        assert warm.start(state, "test")
        poll((folder / "python").exists, lambda: processes.log_file(state, warm.NAME).read_text())
        yield folder
    finally:
        processes.stop(state, [warm.NAME])


def test_as_a_service_it_is_found_by_stages_and_clears_up(toy_project: Project) -> None:
    state = State(toy_project.root)
    before = stage_path(state)
    with started(state) as folder:
        assert stage_path(state).split(os.pathsep)[0] == str(folder)
        assert folder.stat().st_mode & 0o077 == 0
        done = toy_project.run("python", "-m", "pipelines.run", "toy", warm=False)
        assert done.returncode == 0, done.stdout + done.stderr
        found = outputs(toy_project)
        record = json.loads((state.records / "toy.json").read_text("utf-8"))
        assert 0 < record["peak_memory_mb"] < 400
    assert not folder.exists()
    assert stage_path(state) == before
    again = toy_project.run("python", "-m", "pipelines.run", "toy", "--force", warm=False)
    assert again.returncode == 0, again.stdout + again.stderr
    assert outputs(toy_project) == found


@pytest.mark.parametrize("victim", ["caller", "DVC", "stage"])
def test_the_writer_dies_with_its_caller(toy_project: Project, victim: str) -> None:
    """The chain is: who calls, DVC's client, DVC, the stage's client, the stage; both others forked by the server."""
    path = f"{toy_project.warm}{os.pathsep}{os.environ['PATH']}"
    words = ("env", f"PATH={path}", sys.executable, "-m", "pipelines.run", "toy")
    process, marker = held_stage(toy_project, *words)
    forked = forks(toy_project)
    assert len(forked) == 2
    mark = {"caller": process.pid, "DVC": forked[0], "stage": forked[1]}[victim]
    os.kill(mark, signal.SIGKILL)
    process.communicate()
    assert process.returncode != 0
    wait_for(lambda: not stage_processes(toy_project.root), "the stage's client gone")
    wait_for(lambda: not forks(toy_project), "what was forked gone")
    assert not (toy_project.root / "data" / "toy").exists()
    toy_project.set(f'wait: "{marker}"', 'wait: ""')
    again = toy_project.run("python", "-m", "pipelines.run", "toy")
    assert again.returncode == 0, again.stdout + again.stderr


def forks(project: Project) -> list[int]:
    """Processes that the server forked for the project, in the order of their start."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status", "create_time"]):
        words = process.info["cmdline"] or []
        alive = process.info["status"] != psutil.STATUS_ZOMBIE
        if alive and process.info["cwd"] == str(project.root) and words[-1:] == [str(project.warm)]:
            found.append((process.info["create_time"], process.pid))
    return [pid for _, pid in sorted(found)]

"""Killed at any point: the writer dies with its caller, and the next try gives the same hashes."""

import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import Project
from tests.waiting import poll

DEADLINE = 180.0


def wait_for(condition: Callable[[], object], what: str) -> None:
    poll(condition, what, DEADLINE, pause=0.05)


def stage_processes(root: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        words = process.info["cmdline"] or []
        alive = process.info["status"] != psutil.STATUS_ZOMBIE
        if alive and process.info["cwd"] == str(root) and words[-2:] == ["-m", "toy"]:
            found.append(process)
    return found


def held_stage(project: Project, *caller: str):
    """Start `caller` and return it once its stage stands in the middle of its work."""
    marker = project.root / "marker"
    os.mkfifo(f"{marker}.gate")
    project.set('tiny: {toy: {wait: ""}', f'tiny: {{toy: {{wait: "{marker}"}}')
    process = project.start(*caller)
    wait_for(marker.exists, "the stage at work")
    return process, marker


def open_gate(marker: Path) -> None:
    """Let the stage go on: it reads the pipe to its end."""
    Path(f"{marker}.gate").write_text("go")


def outputs(project: Project) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((project.root / "data" / "toy").iterdir())
    }


@pytest.mark.parametrize(
    "caller",
    [("python", "-m", "pipelines.run", "toy"), ("dvc", "repro", "-s", "toy")],
    ids=["run", "dvc"],
)
def test_the_writer_dies_with_its_caller_and_the_next_try_completes(
    toy_project: Project, caller: tuple[str, ...]
) -> None:
    process, marker = held_stage(toy_project, *caller)
    assert len(stage_processes(toy_project.root)) == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not stage_processes(toy_project.root), "the stage gone")
    assert not (toy_project.root / "data" / "toy").exists()
    toy_project.set(f'wait: "{marker}"', 'wait: ""')
    again = toy_project.run(*caller)
    assert again.returncode == 0, again.stdout + again.stderr
    first = outputs(toy_project)
    toy_project.run("python", "-m", "toy")
    assert outputs(toy_project) == first


ARMED = """\
import importlib
import os
import signal
from pathlib import Path

harness = importlib.import_module("pipelines.harness.stage")
caller = os.getppid()


def dies(at, process=os.getpid()):
    if armed == at:
        Path("armed").unlink()
        os.kill(process, signal.SIGKILL)
        signal.pause()


armed = Path("armed").read_text() if Path("armed").exists() else ""
check, rename, finish = harness.check_outputs, Path.rename, harness.Tracker.finish
moves = []


def checked(run):
    dies("outputs are written")
    check(run)


def renamed(self, target):
    moved = rename(self, target)
    moves.append(target)
    dies(f"rename {len(moves)}")
    return moved


def finished(self, record):
    dies("outputs have their name")
    finish(self, record)
    dies("the run is logged, not the lock", caller)


harness.check_outputs, Path.rename, harness.Tracker.finish = checked, renamed, finished
"""
POINTS = [
    *("outputs are written", "rename 1", "rename 2", "outputs have their name"),
    "the run is logged, not the lock",
]


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_the_next_try_makes_the_same(toy_project: Project, point: str) -> None:
    toy = toy_project.root / "toy.py"
    toy.write_text(toy.read_text().replace("import random\n", f"import random\n{ARMED}\n", 1))
    of_lock = point == POINTS[-1]
    words = ("python", "-m", *(("pipelines.run",) if of_lock else ()), "toy")
    assert toy_project.run(*words, warm=not of_lock).returncode == 0
    toy_project.set("rows: 5", "rows: 6")
    (toy_project.root / "armed").write_text(point)
    assert toy_project.run(*words, warm=not of_lock).returncode != 0
    assert not (toy_project.root / "armed").exists()
    again = toy_project.run(*words, warm=not of_lock)
    assert again.returncode == 0, again.stdout + again.stderr
    found = outputs(toy_project)
    assert len((toy_project.root / "data/toy/numbers.txt").read_text().split()) == 6
    assert not list((toy_project.root / "data" / ".partial").iterdir())
    assert toy_project.run("python", "-m", "toy").returncode == 0
    assert outputs(toy_project) == found


def test_the_stage_itself_killed_fails_the_run_and_leaves_nothing(toy_project: Project) -> None:
    process, marker = held_stage(toy_project, "python", "-m", "pipelines.run", "toy")
    stage_processes(toy_project.root)[0].send_signal(signal.SIGKILL)
    process.communicate(timeout=DEADLINE)
    assert process.returncode != 0
    assert not (toy_project.root / "data" / "toy").exists()
    toy_project.set(f'wait: "{marker}"', 'wait: ""')
    assert toy_project.run("python", "-m", "pipelines.run", "toy").returncode == 0


def test_the_second_of_two_waits_and_says_so(toy_project: Project) -> None:
    first, marker = held_stage(toy_project, "python", "-m", "pipelines.run", "toy")
    second = toy_project.start("python", "-m", "pipelines.run", "toy")
    said = ""
    for line in second.stdout:
        said += line
        if "wait" in line:
            break
    assert "wait" in said
    open_gate(marker)
    assert first.wait(DEADLINE) == 0
    rest, _ = second.communicate(timeout=DEADLINE)
    assert second.returncode == 0, said + rest
    found = outputs(toy_project)
    toy_project.set(f'wait: "{marker}"', 'wait: ""')
    assert toy_project.run("python", "-m", "toy").returncode == 0
    assert outputs(toy_project) == found


def test_two_stages_side_by_side_do_not_disturb_each_other(toy_project: Project) -> None:
    first, marker = held_stage(toy_project, "python", "-m", "pipelines.run", "toy")
    path = toy_project.root / "dvc.yaml"
    path.write_text(path.read_text().replace(", data/toy/numbers.txt]", "]"))
    (toy_project.root / "after.py").write_text(
        (toy_project.root / "after.py")
        .read_text()
        .replace('run.input("toy/numbers.txt").read_text().split()', "[]")
    )
    done = toy_project.run("python", "-m", "pipelines.run", "after")
    assert done.returncode == 0, done.stdout + done.stderr
    assert first.poll() is None
    open_gate(marker)
    assert first.wait(DEADLINE) == 0

"""A full disk: the stage fails with the path and the bytes needed, and the store stays whole."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Project


def may_mount() -> bool:
    if not shutil.which("unshare"):
        return False
    probe = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


# On a machine that only runs tests, what can't be mounted fails: nobody would see that it was skipped.
small_disk = pytest.mark.skipif(
    "CI" not in os.environ and not may_mount(),
    reason="a small disk can't be mounted without privileges",
)

BUNDLE = """\
import numpy as np
from models.bundle import Bundle, save
from pipelines.harness import Params, Run, stage


class ToyParams(Params):
    rows: int
    wait: str


@stage
def toy(run: Run, params: ToyParams) -> None:
    save(Bundle("toy", tensors={"weights": np.arange(float(params.rows))}), run.output("bundle"))


toy.main()
"""
DEVICE = """\
from pipelines.harness import Params, Run, stage


class ToyParams(Params):
    rows: int
    wait: str


@stage
def toy(run: Run, params: ToyParams) -> None:
    run.output("numbers.txt").symlink_to("/dev/full")
    run.output("numbers.txt").write_text("1")


toy.main()
"""


def on_small_disk(project: Project, place: Path, size: str, *words: str):
    """Run `words` where `place` is a disk of `size` bytes."""
    place.mkdir(parents=True, exist_ok=True)
    script = f'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"'
    return project.run("unshare", "-rm", "sh", "-c", script, str(place), *words, warm=False)


def needed(text: str) -> int:
    found = re.search(r"at least ([\d,]+) bytes are needed", text)
    assert found, text
    return int(found.group(1).replace(",", ""))


@small_disk
def test_a_full_disk_is_told_with_path_and_bytes(toy_project: Project) -> None:
    assert toy_project.run("python", "-m", "toy").returncode == 0
    kept = (toy_project.root / "data/toy/numbers.txt").read_bytes()
    toy_project.set("rows: 5", "rows: 900000")
    small = toy_project.root / "data" / ".partial"
    done = on_small_disk(toy_project, small, "256k", "python", "-m", "toy")
    assert done.returncode == 69, done.stdout + done.stderr
    assert str(small / "toy") in done.stderr
    assert needed(done.stderr) > 256 * 1024
    assert (toy_project.root / "data/toy/numbers.txt").read_bytes() == kept


@small_disk
def test_a_bundle_that_does_not_fit_is_told_alike(toy_project: Project) -> None:
    (toy_project.root / "toy.py").write_text(BUNDLE)
    toy_project.set("rows: 5", "rows: 900000")
    graph = toy_project.root / "dvc.yaml"
    graph.write_text(graph.read_text().replace("[toy.py]", "[toy.py, models]"))
    small = toy_project.root / "data" / ".partial"
    done = on_small_disk(toy_project, small, "256k", "python", "-m", "toy")
    assert done.returncode == 69, done.stdout + done.stderr
    assert f"no space left for {small / 'toy'}" in done.stderr
    assert needed(done.stderr) > 200 * 1024
    assert not (toy_project.root / "data" / "toy").exists()


def test_a_device_without_room_is_told_where_nothing_can_be_mounted(toy_project: Project) -> None:
    (toy_project.root / "toy.py").write_text(DEVICE)
    done = toy_project.run("python", "-m", "toy")
    assert done.returncode == 69, done.stdout + done.stderr
    assert f"no space left for {toy_project.root / 'data' / '.partial' / 'toy'}" in done.stderr


@small_disk
def test_a_store_that_is_full_stays_whole(toy_project: Project) -> None:
    toy_project.set("rows: 5", "rows: 600000")
    cache = toy_project.root / ".dvc" / "cache"
    # What is mounted is gone with the command, so that it looks at the store itself, before and after room was made.
    look = "find .dvc/cache -type f -size +0"
    script = (
        f"python -m pipelines.run toy; echo status $?; {look}; "
        "mount -o remount,size=64m .dvc/cache; python -m pipelines.run toy; echo then $?; "
        f"cp $({look}) kept/"
    )
    (toy_project.root / "kept").mkdir()
    done = on_small_disk(toy_project, cache, "1m", "sh", "-c", script)
    told = done.stdout + done.stderr
    assert "status 69" in done.stdout, told
    assert "missing resource: no space left for" in told and ".dvc/cache/files/md5" in told
    assert needed(told) >= (toy_project.root / "data/toy/numbers.txt").stat().st_size
    assert ".tmp\n" not in done.stdout.partition("then")[0].partition("status")[2]
    assert "then 0" in done.stdout, told
    kept = {
        hashlib.md5(path.read_bytes()).hexdigest() for path in (toy_project.root / "kept").iterdir()
    }
    made = (toy_project.root / "data/toy/numbers.txt").read_bytes()
    assert hashlib.md5(made).hexdigest() in kept

"""A full disk: the stage fails with the path and the bytes needed, and the store stays whole."""

import re
import shutil
import subprocess

import pytest

from tests.conftest import Project


def may_mount() -> bool:
    if not shutil.which("unshare"):
        return False
    probe = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="a small disk can't be mounted without privileges")
def test_a_full_disk_is_told_with_path_and_bytes(toy_project: Project) -> None:
    assert toy_project.run("python", "-m", "toy").returncode == 0
    kept = (toy_project.root / "data/toy/numbers.txt").read_bytes()
    toy_project.set("rows: 5", "rows: 900000")
    small = toy_project.root / "data" / ".partial"
    script = f"mount -t tmpfs -o size=256k tmpfs {small} && exec python -m toy"
    done = toy_project.run("unshare", "-rm", "sh", "-c", script, warm=False)
    assert done.returncode == 69, done.stdout + done.stderr
    assert str(small / "toy") in done.stderr
    needed = re.search(r"at least ([\d,]+) bytes are needed", done.stderr)
    assert needed
    assert int(needed.group(1).replace(",", "")) > 256 * 1024
    assert (toy_project.root / "data/toy/numbers.txt").read_bytes() == kept

"""A copy of the project in a folder of its own, run as a user runs it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.harness.state import State
from tests.conftest import REPOSITORY

SECONDS = 3600.0


@dataclass
class Shop:
    """The copy at `root`. warm: the folder of a `python` that its processes are run by, where there is one."""

    root: Path
    warm: Path | None = None

    @property
    def state(self) -> State:
        return State(self.root)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`python -m …` in the copy, with stdout and stderr as one text."""
        return subprocess.run(
            ["python", "-m", *words],
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        """This one's, without what tells tools of another run."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("DVC_", "MLFLOW_", "AIRFLOW", "VITRINE_", "PYTHONPATH"))
        }
        first = [str(self.warm)] if self.warm else []
        path = os.pathsep.join([*first, str(Path(sys.executable).parent), kept["PATH"]])
        return {**kept, "PATH": path, "PYTHONUNBUFFERED": "1"}

    def copy(self, root: Path) -> "Shop":
        """The whole of it in another folder, registry and outputs too."""
        shutil.copytree(self.root, root, symlinks=True)
        return Shop(root, self.warm)

    def repro(self, guarded: bool = False) -> str:
        """What `dvc repro` prints; it must end well. guarded: as Airflow's tasks call DVC, which spares a second a stage."""
        done = self.run("pipelines.guarded" if guarded else "dvc", "repro")
        assert done.returncode == 0, done.stdout[-8000:]
        return done.stdout

    def choose(self, profile: str) -> None:
        from pipelines.harness.params import set_choice

        set_choice(self.root, "profile", profile)

    def outputs(self) -> dict[str, str]:
        """Path to SHA-256 of every file below `data/`."""
        folder = self.root / "data"
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    def record(self, stage: str) -> dict[str, Any]:
        return json.loads((self.state.records / f"{stage}.json").read_text("utf-8"))


def make_shop(root: Path, profile: str, warm: Path | None = None) -> Shop:
    """Copy what git has or would have; downloads are shared with the project, outputs are not."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        source = REPOSITORY / name
        if name and source.is_file() and not name.startswith(("tests/", "docs/")):
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    (root / "dvc.lock").unlink(missing_ok=True)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    shop = Shop(root, warm)
    downloads = State(REPOSITORY).downloads
    downloads.mkdir(parents=True, exist_ok=True)
    shop.state.home.mkdir()
    shop.state.downloads.symlink_to(downloads)
    shop.choose(profile)
    return shop


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Names that are not in both with the same hash."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))

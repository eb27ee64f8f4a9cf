"""Which `python` the commands of `dvc.yaml` find."""

import os
import sys
from pathlib import Path

from pipelines.harness.state import State

INSTALLED = "installed.lock"
"""Written into the environment by each installation of packages."""


def search_path() -> str:
    """This process's PATH; the folder of its interpreter comes first where it is not on it.

    Where it is on it, whoever set the PATH has chosen what else comes before.
    """
    own, path = str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)
    return path if own in path.split(os.pathsep) else f"{own}{os.pathsep}{path}"


def warm_folder(state: State) -> Path:
    """Where the script `python` of a warm interpreter lies while one is up: see `pipelines.services.warm`."""
    return state.home / "warm"


def stage_path(state: State) -> str:
    """The PATH that stages are run with: a warm interpreter comes first, where one is up.

    Not one that was begun before packages were installed: it knows those of then.
    """
    folder, path = warm_folder(state), search_path()
    begun, installed = changed(folder / "python"), changed(Path(sys.prefix) / INSTALLED)
    return f"{folder}{os.pathsep}{path}" if begun > installed else path


def changed(file: Path) -> float:
    """When a file was written, in seconds since 1970; 0 where it is not there."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0

"""Python that imports Airflow, run in a process of its own with a home of its own and no database."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY


def run_snippet(code: str, *words: str, cwd: Path, home: Path, **more: str) -> str:
    """What `python -c code words…` prints; it must end well. more: variables of its environment."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=cwd,
        env={**kept, "AIRFLOW_HOME": str(home), "PYTHONPATH": str(REPOSITORY), **more},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

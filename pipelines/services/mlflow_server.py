"""MLflow's pages on loopback, over the database that the stages write."""

import os
import sys

from pipelines.harness import tracking
from pipelines.harness.state import State
from pipelines.services import processes
from pipelines.services.processes import LOOPBACK, Running, Service
from pipelines.services.web import answers

NAME = "mlflow"
PORT = 5000
START_SECONDS = 120.0


def start(state: State, owner: str) -> Running:
    """Start the server where it does not run, on a migrated database, and wait until it answers."""
    alive = processes.running(state, NAME)
    if alive:
        return alive
    tracking.client(state)
    return processes.on_free_port(PORT, lambda port: _start(state, owner, port))


def _start(state: State, owner: str, port: int) -> Running:
    command = (
        *(sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", state.tracking_uri),
        *("--default-artifact-root", (state.mlflow / "artifacts").as_uri(), "--no-serve-artifacts"),
    )
    environment = {
        **os.environ,
        **tracking.SETTINGS,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }
    found = processes.start(state, Service(NAME, command, environment, port), owner)
    processes.wait_until(
        state, [found], lambda: answers(f"http://{LOOPBACK}:{port}/health"), START_SECONDS
    )
    return found

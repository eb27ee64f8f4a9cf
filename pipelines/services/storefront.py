"""The shop page on loopback, over the newest lists and the champions."""

import os
import sys

from pipelines.harness import tracking
from pipelines.harness.state import State
from pipelines.services import processes
from pipelines.services.processes import LOOPBACK, PortTaken, Running, Service
from pipelines.services.web import answers

NAME = "storefront"
PORT = 8000
START_SECONDS = 60.0


def has_goods(state: State) -> bool:
    """Whether there is anything to show: before the first run there is not."""
    return (state.root / "data" / "validate-products" / "table.parquet").exists()


def begin(state: State, owner: str) -> Running | None:
    """Start the process where it does not run and there is something to show; `ready` waits for it."""
    alive = processes.running(state, NAME)
    if alive or not has_goods(state):
        return alive
    return _start(state, owner, processes.free_port(PORT))


def _start(state: State, owner: str, port: int) -> Running:
    command = (sys.executable, "-m", "pipelines.storefront.serve", str(port))
    return processes.start(
        state, Service(NAME, command, {**os.environ, **tracking.SETTINGS}, port), owner
    )


def ready(state: State, found: Running) -> None:
    """Wait until it answers, on another port where somebody took its own; champions are loaded after that."""
    try:
        _wait(state, found)
    except PortTaken:
        processes.on_free_port(PORT, lambda port: _wait(state, _start(state, found.owner, port)))


def _wait(state: State, found: Running) -> None:
    address = f"http://{LOOPBACK}:{found.port}/api/state"
    processes.wait_until(state, [found], lambda: answers(address), START_SECONDS)

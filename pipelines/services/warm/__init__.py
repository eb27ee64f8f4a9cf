"""A `python` that begins with the slow packages loaded, for runs of many short stages.

A stage imports packages for three to ten seconds of a core before it works for one, and DVC does before it starts one.
The server (`server.py`) imports them once; the script `python` in its folder has each `python -m …`, and each stranger's
isolated `python -I -B …`, forked from it: a process of its own, which imports the project's code afresh and ends with
who asked for it. What else the script is asked for, and everything where no server answers, the real interpreter runs.
"""

import os
import sys
from pathlib import Path

from pipelines.harness.interpreter import warm_folder
from pipelines.harness.state import State
from pipelines.services import processes
from pipelines.services.processes import Running, Service

NAME = "warm"
SERVER = Path(__file__).with_name("server.py")
LONGEST = 100
"""Bytes of a socket's path that every system takes."""


def command(folder: Path) -> tuple[str, ...]:
    """What starts a server whose socket and script lie in `folder`; it makes the folder, and removes it at its end."""
    return sys.executable, "-I", str(SERVER), str(folder)


def offered(state: State) -> bool:
    """Whether this system can: it is Linux, and takes a socket's path of this length."""
    path = os.fsencode(warm_folder(state) / "socket")
    return sys.platform == "linux" and len(path) <= LONGEST


def start(state: State, owner: str) -> Running | None:
    """The server, which is not waited for: until its script is there, stages begin cold. None where it can't be had."""
    up = processes.running(state, NAME)
    if up or not offered(state):
        return up
    service = Service(NAME, command(warm_folder(state)), dict(os.environ))
    return processes.start(state, service, owner)

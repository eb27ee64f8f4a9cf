"""Long-lived processes of ours: started in sessions of their own, known by files, stopped with all they started."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from pipelines.harness.errors import MissingResource
from pipelines.harness.state import State

LOOPBACK = "127.0.0.1"
STOP_SECONDS = 8.0
ORPHAN_SECONDS = 0.5
"""How long what a service started may outlive it."""
POLL_SECONDS = 0.1
TAIL = 15
ATTEMPTS = 3
"""On how many ports a service is tried."""

T = TypeVar("T")


class PortTaken(MissingResource):
    """Somebody else listens on the port that a service was to have."""


@dataclass(frozen=True)
class Service:
    """What to start. port: the one it listens on, 0 where it listens on none."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    port: int = 0


@dataclass(frozen=True)
class Running:
    """A started service. created: the process's start time, so that a reused pid is not taken for it.

    owner: who started it and will stop it.
    """

    name: str
    pid: int
    created: float
    port: int
    owner: str

    def alive(self) -> bool:
        """Whether the process is still the one that was started."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 1
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def family(self) -> list[psutil.Process]:
        """The process, all below it, and all of its session: also those whose parent died before."""
        found = {}
        with contextlib.suppress(psutil.Error):
            if self.alive():
                main = psutil.Process(self.pid)
                found = {main.pid: main, **{one.pid: one for one in main.children(recursive=True)}}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
                if os.getsid(process.pid) == self.pid and process.create_time() > self.created - 1:
                    found[process.pid] = process
        return list(found.values())

    def listens(self) -> bool:
        """Whether the process, or one of its family, listens on the port."""
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                for connection in process.net_connections("tcp"):
                    if (
                        connection.status == psutil.CONN_LISTEN
                        and connection.laddr.port == self.port
                    ):
                        return True
        return False


def free_port(preferred: int) -> int:
    """`preferred` where nobody listens on it, else one that the system picks."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((LOOPBACK, port))
                return probe.getsockname()[1]
    raise MissingResource(f"no port is free on {LOOPBACK}")


def on_free_port(preferred: int, begin: Callable[[int], T]) -> T:
    """`begin(port)`, which starts a service and waits for it: again on another port where somebody took it meanwhile."""
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(PortTaken):
            return begin(free_port(preferred))
    return begin(free_port(preferred))


def _note(state: State, name: str) -> Path:
    return state.home / "services" / f"{name}.json"


def log_file(state: State, name: str) -> Path:
    """Where a service writes what it prints."""
    return state.logs / f"{name}.log"


def known(state: State, name: str) -> Running | None:
    """What the file of a service says, whether or not it still runs."""
    try:
        return Running(**json.loads(_note(state, name).read_text("utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def running(state: State, name: str) -> Running | None:
    """The service, where it runs."""
    found = known(state, name)
    return found if found and found.alive() else None


def claim(state: State, found: Running, owner: str) -> Running:
    """Write down who will stop a service."""
    claimed = Running(**{**asdict(found), "owner": owner})
    path = _note(state, found.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(asdict(claimed)), encoding="utf-8")
    partial.replace(path)
    return claimed


def start(state: State, service: Service, owner: str) -> Running:
    """Start a service; what is left of an earlier one that died is ended before."""
    stop(state, [service.name])
    log = log_file(state, service.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as lines:
        process = subprocess.Popen(
            service.command,
            cwd=state.root,
            env=dict(service.environment),
            stdin=subprocess.DEVNULL,
            stdout=lines,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    created = psutil.Process(process.pid).create_time()
    return claim(state, Running(service.name, process.pid, created, service.port, owner), owner)


def stop(state: State, names: Iterable[str], seconds: float = STOP_SECONDS) -> list[str]:
    """End services: TERM, and KILL after `seconds`, to them and to all they started. Names what ran."""
    found = [one for one in (known(state, name) for name in names) if one]
    families = [process for one in found for process in one.family()]
    ended = [one.name for one in found if one.alive()]
    for one in found:
        with contextlib.suppress(psutil.Error):
            if one.alive():
                psutil.Process(one.pid).send_signal(signal.SIGTERM)
    mains = {one.pid for one in found}
    _wait([process for process in families if process.pid in mains], seconds if ended else 0)
    alive = _wait(families, ORPHAN_SECONDS if ended else 0)
    late = {process.pid: process for one in found for process in one.family()}
    rest = {**{process.pid: process for process in alive}, **late}
    for process in rest.values():
        with contextlib.suppress(psutil.Error):
            process.kill()
    _wait(rest.values(), STOP_SECONDS)
    for one in found:
        _note(state, one.name).unlink(missing_ok=True)
    return ended


def _wait(family: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that are not gone after `seconds`. One that is dead and waits for its parent's look counts as gone."""
    until = time.monotonic() + seconds
    alive = list(family)
    while True:
        alive = [process for process in alive if _lives(process)]
        if not alive or time.monotonic() > until:
            return alive
        time.sleep(POLL_SECONDS)


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)  # a child of ours is gone once somebody looked
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def wait_until(
    state: State, services: Iterable[Running], ready: Callable[[], bool], seconds: float
) -> None:
    """Wait for `ready()`.

    Raises `MissingResource` with the end of the log where a service died or none answers; `PortTaken` where somebody
    else answers in its place.
    """
    services = list(services)
    until = time.monotonic() + seconds
    while not ready():
        for one in services:
            if not one.alive():
                raise _ended(state, one)
        if time.monotonic() > until:
            names = ", ".join(one.name for one in services)
            raise MissingResource(
                f"{names}: no answer within {seconds:.0f} s:\n{_tail(state, services[0].name)}"
            )
        time.sleep(POLL_SECONDS)
    for one in services:
        if one.port and not one.listens():
            raise PortTaken(
                f"{one.name}: another program answers on port {one.port}:\n{_tail(state, one.name)}"
            )


def _ended(state: State, one: Running) -> MissingResource:
    """What to raise for a service that died: somebody may have taken its port before it could."""
    why = f"{one.name} ended right after its start:\n{_tail(state, one.name)}"
    taken = one.port and free_port(one.port) != one.port
    return PortTaken(why) if taken else MissingResource(why)


def _tail(state: State, name: str) -> str:
    path = log_file(state, name)
    lines = path.read_text("utf-8", "replace").splitlines()[-TAIL:] if path.exists() else []
    return "\n".join([*lines, f"log: {path}"])

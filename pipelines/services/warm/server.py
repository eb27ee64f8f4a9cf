"""The server of warm interpreters: `python -I server.py FOLDER`, ended by TERM.

It imports nothing of the project, so that what it forks takes the project's code as it is then.
The standard library's fork server can't be used: it forks what its own process's children ask for, and no others.
"""

import importlib
import json
import multiprocessing
import os
import runpy
import shlex
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import Any

PACKAGES = (
    "duckdb",
    "dvc.cli",
    "dvc.commands.repro",
    "dvc.repo",
    "great_expectations",
    "ibis",
    "lightgbm",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.tracking",
    "pandas",
    "psutil",
    "pyarrow.parquet",
    "pytorch_lightning",
    "scipy.stats",
    "sentence_transformers",
    "sklearn.linear_model",
    "threadpoolctl",
    "timm",
    "torch._dynamo",
)
"""What stages, and DVC, import."""
SHARED = "VITRINE_SHARED_KB"
"""Tells a forked process how much of its memory it had from here."""
KILLED = 128
"""An exit status of a killed process is this and the signal's number, as shells tell it."""
SCRIPT = """\
#!/bin/sh
exec {real} -I -S {client} {socket} {real} "$@"
"""


def main(folder: Path) -> None:
    """Import, then fork for each call; returns at TERM."""
    signal.signal(signal.SIGTERM, leave)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # it would start its threads when it is loaded
    for name in PACKAGES:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for who answers a call
    with opened(folder) as door:
        while True:
            line, _ = door.accept()
            with line:
                if os.fork() == 0:
                    door.close()
                    os._exit(answer(line))


def leave(number: int, frame: FrameType | None) -> None:
    """End by the usual way, through what is to be cleared up."""
    sys.exit(0)


@contextmanager
def opened(folder: Path) -> Iterator[socket.socket]:
    """The socket, for the owner alone; the script `python` beside it is there as long as somebody listens."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    own = os.getpid()
    address = folder / "socket"
    names = {
        "real": sys.executable,
        "client": str(Path(__file__).with_name("client.py")),
        "socket": str(address),
    }
    script = folder / ".python.partial"
    script.write_text(SCRIPT.format_map({key: shlex.quote(name) for key, name in names.items()}))
    script.chmod(0o700)
    try:
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(str(address))
            door.listen(64)
            script.rename(folder / "python")
            yield door
    finally:
        if os.getpid() == own:
            shutil.rmtree(folder, ignore_errors=True)


def answer(line: socket.socket) -> int:
    """Run what is asked for in a child and tell its exit status; the child ends with who asked."""
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    length, descriptors, _, _ = socket.recv_fds(line, 8, 3)
    with line.makefile("rb") as words:
        call = json.loads(words.read(int.from_bytes(length, "big")))
    python = str(Path(sys.argv[1]) / "python")
    child = multiprocessing.get_context("fork").Process(
        target=run, args=(line, descriptors, call, python)
    )
    child.start()
    assert child.pid is not None
    for descriptor in descriptors:
        os.close(descriptor)
    if child.sentinel not in wait([line, child.sentinel]):  # who asked is gone
        end(child.pid)
    child.join()
    status = child.exitcode or 0
    try:
        line.sendall((status if status >= 0 else KILLED - status).to_bytes(4, "big"))
    except OSError:
        return 1
    return 0


def end(group: int) -> None:
    """Kill a child with all of its group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:  # it has no group of its own yet
        os.kill(group, signal.SIGKILL)


def run(line: socket.socket, descriptors: list[int], call: dict[str, Any], python: str) -> None:
    """What `python WORDS…` does, as who asked would have done it."""
    os.setpgid(0, 0)
    line.close()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    words, env = call["words"], call["env"]
    os.umask(call["umask"])
    os.chdir(call["cwd"])
    os.environ.clear()
    os.environ.update(env, **{SHARED: str(anonymous())})
    if "OMP_NUM_THREADS" in env:  # libraries read it when they are loaded
        threadpoolctl = importlib.import_module("threadpoolctl")
        threadpoolctl.threadpool_limits(int(env["OMP_NUM_THREADS"]))
    alone = words[0] == "-I"
    more = [] if alone else [call["cwd"], *filter(None, env.get("PYTHONPATH", "").split(":"))]
    sys.path[:0] = more
    sys.modules.pop("__mp_main__", None)  # this file, by the name that multiprocessing gives it
    sys.dont_write_bytecode = alone or "PYTHONDONTWRITEBYTECODE" in env
    sys.executable = python
    sys.argv = words[2 if alone else 1 :]
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, buffering=1, closefd=False)  # noqa: SIM115 - for the life of the process
        for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    if alone:
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def anonymous() -> int:
    """Kilobytes that this process holds and no file does."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

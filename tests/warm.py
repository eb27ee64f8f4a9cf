"""A `python` that begins with the slow packages loaded, for tests that run many stages.

A stage imports packages for five to ten seconds before it works for one, and so does the stranger that loads what is
to be promoted. A server imports them once; the script `python` of a `WarmPython` has each `python -m …` and each
isolated `python -I -B …` forked from it: a process of its own, with the project's own code imported afresh. What must
be killed, or is to be shown cold, is run by the real interpreter.
"""

import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import stat
import subprocess
import sys
import traceback
from pathlib import Path

PACKAGES = (
    "duckdb",
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
    "sklearn.linear_model",
    "threadpoolctl",
    "timm",
    "torch._dynamo",
)
"""What stages import, none of it ours: a project of a test brings its own code."""
CLIENT = """\
import json, os, socket, sys
words = sys.argv[1:]
if words[: len({taken!r})] != {taken!r}:
    os.execv({real!r}, [{real!r}, *words])
with socket.socket(socket.AF_UNIX) as line:
    line.connect({address!r})
    call = json.dumps({{"words": words, "cwd": os.getcwd(), "env": dict(os.environ)}}).encode()
    socket.send_fds(line, [len(call).to_bytes(8, "big")], [0, 1, 2])
    line.sendall(call)
    status = line.recv(4)
sys.exit(int.from_bytes(status, "big") if status else 1)
"""
TAKEN = {"python": ["-m"], "stranger": ["-I", "-B"]}
"""The scripts, and how what each has forked begins. What a warm process itself starts goes to the second: who watches over
the process that called it must be its child.
"""
READY = "ready"


class WarmPython:
    """The server, as a context; `folder` holds its script `python`, to be put first on a PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> "WarmPython":
        self.folder.mkdir(parents=True)
        address = str(self.folder / "socket")
        for name, taken in TAKEN.items():
            script = self.folder / name
            client = CLIENT.format(real=sys.executable, address=address, taken=taken)
            script.write_text(f"#!{sys.executable} -S\n{client}")
            script.chmod(script.stat().st_mode | stat.S_IXUSR)
        self._server = subprocess.Popen(
            [sys.executable, __file__, address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdout.readline().strip() == READY
        return self

    def __exit__(self, *failure: object) -> None:
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


def serve(address: str) -> None:
    """Import the packages, then fork a process for each call until the standard input ends."""
    for name in PACKAGES:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address)
        door.listen()
        print(READY, flush=True)
        while True:
            ready, _, _ = select.select([door, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            line, _ = door.accept()
            with line:
                if os.fork() == 0:
                    door.close()
                    answer(line)


def answer(line: socket.socket) -> None:
    """Run the module that is asked for in a child, and tell its exit status; this process ends here."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, descriptors, _, _ = socket.recv_fds(line, 8, 3)
    call = json.loads(line.makefile("rb").read(int.from_bytes(length, "big")))
    child = os.fork()
    if child == 0:
        line.close()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.executable = str(Path(sys.argv[1]).with_name("stranger"))
        os._exit(run(call["words"], call["cwd"], call["env"]))
    for descriptor in descriptors:
        os.close(descriptor)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        line.sendall((status if status >= 0 else 128 - status).to_bytes(4, "big"))
    os._exit(0)


def run(words: list[str], cwd: str, env: dict[str, str]) -> int:
    """What `python words…` does in the folder `cwd`; the exit status."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    alone = words[0] == "-I"
    more = [entry for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry]
    # The first was the folder of this file.
    sys.path[:] = [*([] if alone else [cwd, *more]), *sys.path[1:]]
    sys.dont_write_bytecode = alone or "PYTHONDONTWRITEBYTECODE" in env
    sys.argv = words[2 if alone else 1 :]
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, buffering=1, closefd=False)  # noqa: SIM115 - for the life of the process
        for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    code = 0
    try:
        if alone:
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    serve(sys.argv[1])

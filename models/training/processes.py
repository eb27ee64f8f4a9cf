"""Processes that train together on one machine: copies of this one, which do nothing else and end with it.

They are forked: so they have the data in memory without a copy, and nothing that this process began is begun again. What
they tell comes by pipes: text as JSON, arrays as safetensors.
"""

import contextlib
import ctypes
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors.torch import load, save

PR_SET_PDEATHSIG = 1
HEARD, FAILED, MADE = b"h", b"f", b"m"
"""What a message begins with."""
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
"""What keeps the processes' talk on this machine, unless the environment says otherwise."""

Tell = Callable[[Any], None]
Work = Callable[[int, Tell], Mapping[str, torch.Tensor] | None]


def together(
    count: int, backend: str, work: Work, hear: Callable[[Any], None]
) -> dict[str, torch.Tensor]:
    """Run `work` in `count` processes of one group, and return what the one that returns something does.

    work: called with the process's rank and a way to tell something that JSON knows, which `hear` is called with here.
    backend: `gloo` or `nccl`. Raises what a process failed by: `OSError` with its number where it had one, else
    `RuntimeError` with the trace; `ChildProcessError` where one was killed. No process is left over.
    """
    if not hasattr(os, "fork"):
        raise RuntimeError("several devices need a system that can fork processes")
    started: dict[Connection, tuple[int, multiprocessing.process.BaseProcess]] = {}
    found: dict[str, torch.Tensor] = {}
    forking = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as meeting, contextlib.ExitStack() as ending:
        for rank in range(count):
            mine, theirs = multiprocessing.Pipe(duplex=False)
            place = Path(meeting) / "group"
            one = forking.Process(
                target=_worker, args=(rank, count, backend, place, work, theirs, os.getpid())
            )
            sys.stdout.flush()
            one.start()
            # The process holds the only end that is open: it reads as ended when the process does.
            theirs.close()
            started[mine] = (rank, one)
            ending.callback(_end, one)
        while started:
            for pipe in wait(list(started)):
                assert isinstance(pipe, Connection)
                rank, process = started[pipe]
                try:
                    message = pipe.recv_bytes()
                except EOFError:
                    process.join()
                    if process.exitcode:
                        raise ChildProcessError(_ended(rank, count, process.exitcode)) from None
                    del started[pipe]
                    continue
                kind, rest = message[:1], message[1:]
                if kind == HEARD:
                    hear(json.loads(rest))
                elif kind == FAILED:
                    # Where one was killed, the others fail by that: it is what is to be told.
                    for other, beside in started.values():
                        if beside.exitcode:
                            raise ChildProcessError(_ended(other, count, beside.exitcode))
                    fault = json.loads(rest)
                    if fault["number"] is not None:
                        raise OSError(fault["number"], fault["text"])
                    raise RuntimeError(f"process {rank + 1} of {count}: {fault['trace']}")
                else:
                    found = load(rest)
    return found


def _ended(rank: int, count: int, code: int) -> str:
    """What the exit code of a process that told nothing means."""
    how = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
    if code == -signal.SIGKILL:
        how = "was killed: where memory ran out, lower devices.count in params.yaml, or the batch"
    return f"process {rank + 1} of the {count} that trained together {how}"


def _end(process: multiprocessing.process.BaseProcess) -> None:
    if process.is_alive():
        process.kill()
    process.join()
    process.close()


def _worker(
    rank: int, count: int, backend: str, place: Path, work: Work, pipe: Connection, parent: int
) -> NoReturn:
    """The life of one process. What it inherited is not closed, since its owner is the process that forked it."""
    if sys.platform == "linux":
        # A killed stage leaves no process behind.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    try:
        for name, value in LOOPBACK.items():
            os.environ.setdefault(name, value)
        # The pool of threads was not forked: what asked for it would wait forever.
        torch.set_num_threads(1)
        torch.distributed.init_process_group(
            backend, init_method=f"file://{place}", rank=rank, world_size=count
        )
        made = work(rank, lambda text: pipe.send_bytes(HEARD + json.dumps(text).encode()))
        torch.distributed.barrier()
        if made is not None:
            whole = {
                name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
                for name, value in made.items()
            }
            pipe.send_bytes(MADE + save(whole))
        torch.distributed.destroy_process_group()
    except BaseException as error:
        number = error.errno if isinstance(error, OSError) else None
        fault = {"number": number, "text": str(error), "trace": traceback.format_exc()}
        pipe.send_bytes(FAILED + json.dumps(fault).encode())
        # Until it is ended: the others would fail by its absence, and hide what it told.
        signal.pause()
    pipe.close()
    sys.stdout.flush()
    os._exit(0)

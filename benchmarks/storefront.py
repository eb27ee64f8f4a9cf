"""How fast the shop page answers: `python -m benchmarks.storefront [--clients 50] [--seconds 10]`, after `make demo`.

A server of its own is started over this folder's outputs. Each client asks for the list of one user after the other,
the next as soon as the last is there (no pause: the hardest case), over one connection. First every user is asked for
once (cold: no list is made yet), then up to `WARM` of them again and again (their lists are kept as they were sent).
Printed: answers a second and the quantiles of the time from request to whole answer, for lists warm and cold in one line,
and for a list of somebody new.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from pipelines.harness.state import State
from pipelines.lists.archive import newest
from pipelines.services.processes import LOOPBACK, free_port
from pipelines.services.web import Refused, call
from pipelines.storefront.goods import newest_mark, read_lists

UP_SECONDS = 180.0
COLD, WARM = 10_000, 2_000
"""Users who are asked for once; those of them who are asked for again. The server keeps the lists of all."""
HEAD = """\
| asked | clients | answers/s | p50 ms | p95 ms | p99 ms | cold: users | p50 ms | p99 ms |
|---|---|---|---|---|---|---|---|---|"""


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    """The body of one answer; raises `RuntimeError` where it is no success."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head[:16]:
        raise RuntimeError(head.decode("latin-1").splitlines()[0])
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    return await reader.readexactly(length)


async def client(port: int, requests: Iterator[bytes]) -> list[float]:
    """Seconds of the answer to each request, one after the other."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    taken = []
    for request in requests:
        begun = time.perf_counter()
        await ask(reader, writer, request)
        taken.append(time.perf_counter() - begun)
    writer.close()
    return taken


async def together(port: int, streams: list[Iterator[bytes]]) -> np.ndarray:
    """Seconds of all answers to as many clients as there are streams of requests."""
    found = await asyncio.gather(*(client(port, one) for one in streams))
    return np.concatenate([np.asarray(one) for one in found])


def again(requests: list[bytes], first: int, until: float) -> Iterator[bytes]:
    """The requests over and over, until a moment of `time.perf_counter`."""
    at = first
    while time.perf_counter() < until:
        yield requests[at % len(requests)]
        at += 1


def load(port: int, requests: list[bytes], clients: int, seconds: float) -> np.ndarray:
    """Seconds of all answers of all clients, each of which begins at another request."""
    until, step = time.perf_counter() + seconds, max(1, len(requests) // clients)
    return asyncio.run(together(port, [again(requests, at * step, until) for at in range(clients)]))


def once(port: int, requests: list[bytes], clients: int) -> np.ndarray:
    """Seconds of each answer; every request is sent once, by the client that is free."""
    shared = iter(requests)
    return asyncio.run(together(port, [shared] * clients))


@dataclass(frozen=True)
class Asked:
    """Seconds of each answer with lists, cold and warm; cold: one answer a user."""

    cold: np.ndarray
    warm: np.ndarray


def measure(port: int, users: list[str], clients: int, seconds: float) -> Asked:
    """Lists of these users. What is warmed up before has nothing to do with lists."""
    load(port, [get("/api/state")], clients, seconds / 10)
    requests = [get(f"/api/lists/{quote(user, safe='')}") for user in users]
    cold = once(port, requests, clients)
    return Asked(cold, load(port, requests[:WARM], clients, seconds))


def get(path: str) -> bytes:
    """A request for a path."""
    return f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\n\r\n".encode()


def post(path: str, body: dict[str, list[str]]) -> bytes:
    """A request with a body."""
    data = json.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n{data}".encode()


def told(
    name: str, clients: int, seconds: float, taken: np.ndarray, cold: np.ndarray | None = None
) -> str:
    """One line of the table. cold: seconds of answers that were not made before, where they are told apart."""
    q = np.quantile(taken, [0.5, 0.95, 0.99]) * 1000
    line = f"| {name} | {clients} | {len(taken) / seconds:,.0f} | {q[0]:.1f} | {q[1]:.1f} | {q[2]:.1f} |"
    if cold is None:
        return f"{line} | | |"
    q = np.quantile(cold, [0.5, 0.99]) * 1000
    return f"{line} {len(cold):,} | {q[0]:.1f} | {q[1]:.1f} |"


def wait(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until lists and champion are there."""
    until = time.monotonic() + UP_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            state = call("GET", f"http://{LOOPBACK}:{port}/api/state")
            if state["recommender"] and state["lists"]:
                return
        except (OSError, Refused):
            pass
        time.sleep(0.5)
    raise SystemExit("the shop page did not come up with a champion and lists: run `make demo`")


def main(root: Path, words: list[str]) -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storefront", description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args(words)
    mark = newest_mark(root)
    if mark is None:
        raise SystemExit("there are no lists: run `make demo`")
    lists = read_lists(root, mark)
    users = np.random.default_rng(1).permutation(lists.users)[:COLD].tolist()
    port = free_port(8000)
    process = subprocess.Popen([sys.executable, "-m", "pipelines.storefront.serve", str(port)])
    try:
        wait(port, process)
        kept = newest(State(root))
        print(f"{len(lists.users):,} users, lists of {kept.facts.maker if kept else 'recommend'}\n")
        print(HEAD)
        found = measure(port, users, asked.clients, asked.seconds)
        print(told("a list", asked.clients, asked.seconds, found.warm, found.cold), flush=True)
        rng = np.random.default_rng(2)
        new = [
            post("/api/fold-in", {"items": rng.choice(lists.popular[:200], 3).tolist()})
            for _ in range(50)
        ]
        for clients in (1, 8):
            taken = load(port, new, clients, asked.seconds / 2)
            print(told("a newcomer's list", clients, asked.seconds / 2, taken), flush=True)
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main(Path.cwd(), sys.argv[1:])

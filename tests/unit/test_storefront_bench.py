"""The benchmark of the shop page: what it asks for and in which order, and what it prints."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks import storefront as bench
from pipelines.services.processes import LOOPBACK

LISTS = "/api/lists/"


@pytest.fixture
def server() -> Iterator[tuple[int, list[str]]]:
    """(port, paths that were asked for) of a server that answers everything."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                asked.append(head.split()[1].decode())
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        except asyncio.IncompleteReadError:
            writer.close()

    loop = asyncio.new_event_loop()
    opened = loop.run_until_complete(asyncio.start_server(answer, LOOPBACK, 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield opened.sockets[0].getsockname()[1], asked
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    opened.close()
    loop.close()


def test_cold_lists_are_of_users_who_were_not_asked_for_before(
    server: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "WARM", 10)
    port, asked = server
    users = [f"user/{at} é" for at in range(60)]
    found = bench.measure(port, users, clients=7, seconds=0.3)
    lists = [path for path in asked if path.startswith(LISTS)]
    assert len(found.cold) == len(set(lists[:60])) == len(users)
    counts = Counter(lists[60:])
    assert len(found.warm) == counts.total() > 0
    assert set(counts) <= {f"{LISTS}user%2F{at}%20%C3%A9" for at in range(10)}
    assert {path for path in asked if not path.startswith(LISTS)} == {"/api/state"}


def test_both_figures_stand_in_one_line() -> None:
    warm, cold = np.full(2000, 0.004), np.full(500, 0.03)
    line = bench.told("a list", 50, 2.0, warm, cold)
    assert line == "| a list | 50 | 1,000 | 4.0 | 4.0 | 4.0 | 500 | 30.0 | 30.0 |"
    assert line.count("|") == bench.told("new", 1, 2.0, warm).count("|")
    assert all(row.count("|") == line.count("|") for row in bench.HEAD.splitlines())

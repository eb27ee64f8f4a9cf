"""Services: started once, known by their files, stopped with all they started, reachable from loopback alone."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from pipelines.harness.errors import MissingResource
from pipelines.harness.state import State
from pipelines.run_page import page_path
from pipelines.services import airflow, processes
from pipelines.services.processes import LOOPBACK, Running, Service
from pipelines.services.report_server import Pages
from pipelines.services.web import answers

PARENT = """
import signal, subprocess, sys
{ignore}
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
print(child.pid, flush=True)
signal.pause()
"""


def service(state: State, ignore: bool) -> tuple[Running, int]:
    """A process with a child in another session; `ignore`: it does not heed TERM."""
    line = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if ignore else ""
    command = (sys.executable, "-c", PARENT.format(ignore=line))
    found = processes.start(state, Service("one", command, os.environ), "test")
    log = processes.log_file(state, "one")
    processes.wait_until(state, [found], lambda: log.read_text().endswith("\n"), 60)
    return found, int(log.read_text())


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("ignore", [False, True], ids=["heeds TERM", "needs KILL"])
def test_a_service_is_stopped_with_its_children(tmp_path: Path, ignore: bool) -> None:
    state = State(tmp_path)
    found, child = service(state, ignore)
    assert processes.running(state, "one") == found
    assert processes.stop(state, ["one"], seconds=0.5) == ["one"]
    assert processes.running(state, "one") is None
    assert processes.known(state, "one") is None
    assert gone(found.pid) and gone(child)
    assert processes.stop(state, ["one"]) == []


def test_a_stale_file_names_no_process_and_harms_none(tmp_path: Path) -> None:
    state = State(tmp_path)
    own = Running("one", os.getpid(), psutil.Process().create_time() - 100, 0, "test")
    processes.claim(state, own, "test")
    assert processes.running(state, "one") is None
    assert processes.stop(state, ["one"]) == []
    assert processes.known(state, "one") is None


def test_what_a_killed_service_left_is_ended_at_the_next_start(tmp_path: Path) -> None:
    state = State(tmp_path)
    command = (
        sys.executable,
        "-c",
        PARENT.format(ignore="").replace(", start_new_session=True", ""),
    )
    first = processes.start(state, Service("one", command, os.environ), "test")
    log = processes.log_file(state, "one")
    processes.wait_until(state, [first], lambda: log.read_text().endswith("\n"), 60)
    child = int(log.read_text())
    os.kill(first.pid, signal.SIGKILL)
    os.waitpid(first.pid, 0)
    assert psutil.pid_exists(child)
    service(state, ignore=False)
    assert gone(child)
    processes.stop(state, ["one"])


def test_a_service_that_ends_at_once_is_told_with_its_log(tmp_path: Path) -> None:
    state = State(tmp_path)
    command = (sys.executable, "-c", "raise SystemExit('no luck today')")
    found = processes.start(state, Service("one", command, os.environ), "test")
    with pytest.raises(MissingResource, match="no luck today"):
        processes.wait_until(state, [found], lambda: False, 60)


def test_a_busy_port_is_another_port() -> None:
    with socket.socket() as holder:
        holder.bind((LOOPBACK, 0))
        holder.listen()
        busy = holder.getsockname()[1]
        assert processes.free_port(busy) != busy


ANSWERING = "import http.server, sys; http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()"


def answering(state: State, port: int) -> Running:
    """A service that answers on `port`, or ends where it can't have it."""
    command = (sys.executable, "-c", ANSWERING, str(port))
    found = processes.start(state, Service("one", command, os.environ, port), "test")
    processes.wait_until(state, [found], lambda: answers(f"http://{LOOPBACK}:{port}/"), 60)
    return found


def test_a_port_that_somebody_took_meanwhile_is_another_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(tmp_path)
    with ThreadingHTTPServer((LOOPBACK, 0), Pages) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        taken = other.server_address[1]
        with pytest.raises(processes.PortTaken):
            answering(state, taken)
        # As if the other had come between the look for a port and the start.
        free_port, looks = processes.free_port, iter([taken])
        monkeypatch.setattr(
            processes, "free_port", lambda port: next(looks, None) or free_port(port)
        )
        try:
            found = processes.on_free_port(taken, lambda port: answering(state, port))
            assert found.port != taken and found.listens()
        finally:
            processes.stop(state, ["one"])
            other.shutdown()


def test_keys_are_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    state = State(tmp_path)
    first = airflow.settings(state, 1234)
    assert airflow.settings(state, 1234) == first
    assert len(first["AIRFLOW__API_AUTH__JWT_SECRET"]) >= 64
    assert state.airflow.stat().st_mode & 0o077 == 0
    assert (state.airflow / "keys.json").stat().st_mode & 0o077 == 0
    assert first["AIRFLOW__API__HOST"] == LOOPBACK


def test_settings_of_another_airflow_are_left_out_and_connections_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__SSL_CERT", "x")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", "postgres://db/shop")
    found = airflow.settings(State(tmp_path), 1)
    assert "AIRFLOW__API__SSL_CERT" not in found
    assert found["AIRFLOW_CONN_SHOP_DB"] == "postgres://db/shop"


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[int]:
    report = tmp_path / "data" / "report"
    docs = State(tmp_path).data_docs / "products"
    monitor, last = State(tmp_path).home / "monitor", page_path(State(tmp_path))
    for folder in (report, docs, monitor, last.parent):
        folder.mkdir(parents=True)
    last.write_text("<p>ran")
    (report / "report.html").write_text("<p>here")
    (monitor / "index.html").write_text("<p>looked")
    State(tmp_path).journal.write_text("{}\n")
    (docs / "index.html").write_text("<p>docs")
    (tmp_path / "data" / "secret.txt").write_text("no")
    (report / "link").symlink_to(tmp_path / "data" / "secret.txt")
    handler = type("TestPages", (Pages,), {"root": tmp_path, "log_message": lambda *words: None})
    with ThreadingHTTPServer((LOOPBACK, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def get(port: int, path: str, host: str = "localhost") -> tuple[int, str]:
    connection = HTTPConnection(LOOPBACK, port, timeout=10)
    connection.request("GET", path, headers={"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/", 200, 'href="/data/report/report.html"'),
        ("/", 200, 'href="/.vitrine/monitor/index.html"'),
        ("/", 200, 'href="/.vitrine/report/run.html"'),
        ("/data/report/report.html", 200, "here"),
        ("/.vitrine/report/run.html", 200, "ran"),
        ("/.vitrine/monitor/index.html", 200, "looked"),
        ("/.vitrine/data-docs/products/index.html?x=1", 200, "docs"),
        ("/data/report/", 404, ""),
        ("/data/secret.txt", 404, ""),
        ("/data/report/../secret.txt", 404, ""),
        ("/data/report/%2e%2e/secret.txt", 404, ""),
        ("/data/report/link", 404, ""),
        ("/data/report/report.html%00", 404, ""),
        ("/.vitrine/journal.jsonl", 404, ""),
        ("/params.yaml", 404, ""),
        ("//etc/passwd", 404, ""),
    ],
)
def test_only_the_pages_are_shown(pages: int, path: str, status: int, words: str) -> None:
    code, text = get(pages, path)
    assert code == status
    assert words in text


def test_another_host_name_is_refused(pages: int) -> None:
    assert get(pages, "/data/report/report.html", host="shop.example")[0] == 403


def test_the_services_file_is_plain_json(tmp_path: Path) -> None:
    state = State(tmp_path)
    with subprocess.Popen(["sleep", "600"]) as process:
        made = psutil.Process(process.pid).create_time()
        processes.claim(state, Running("one", process.pid, made, 5, "up"), "demo")
        note = json.loads((state.home / "services" / "one.json").read_text())
        assert note["owner"] == "demo"
        processes.stop(state, ["one"])


@pytest.mark.parametrize(("method", "calls"), [("GET", 3), ("POST", 1)])
def test_a_question_is_asked_again_an_order_is_not(
    method: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def call(method: str, url: str, body: object = None, token: str | None = None) -> object:
        asked.append(method)
        if len(asked) < 3:
            raise TimeoutError("timed out")
        return {"answer": 42}

    monkeypatch.setattr(airflow, "call", call)
    monkeypatch.setattr(airflow, "PAUSE_SECONDS", 0.0)
    api = airflow.Api(1, "token")
    if method == "GET":
        assert api.request(method, "/x") == {"answer": 42}
    else:
        with pytest.raises(MissingResource, match="does not answer .timed out"):
            api.request(method, "/x")
    assert len(asked) == calls

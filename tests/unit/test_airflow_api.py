"""Airflow's REST interface as seen from here: what is asked, what is asked again, what is an error."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from pipelines.harness.errors import BadConfig
from pipelines.services import airflow, stack
from pipelines.services.web import Refused

Answer = tuple[int, dict[str, Any]]


@contextmanager
def answering(answers: dict[str, list[Answer]]) -> Iterator[tuple[airflow.Api, list[Any]]]:
    """An Airflow that gives each of a call's answers in turn, the last for ever. Yields what was asked of it, too."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            call = f"{self.command} {self.path.removeprefix('/api/v2')}"
            asked.append((call, body))
            given = answers[call]
            status, told = given.pop(0) if len(given) > 1 else given[0]
            text = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = answer

        def log_message(self, *words: Any) -> None:
            """Quiet."""

    server = HTTPServer((airflow.LOOPBACK, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    answers["GET /auth/token"] = [(200, {"access_token": "t"})]
    try:
        yield airflow.Api(server.server_port), asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow, "PAUSE_SECONDS", 0.0)


def test_what_airflow_is_too_busy_for_is_asked_again() -> None:
    locked = (503, {"detail": "Database is locked."})
    with answering({"POST /backfills": [locked, locked, (200, {})]}) as (api, asked):
        api.backfill("lists", date(2017, 12, 4), date(2017, 12, 5))
    bodies = [body for call, body in asked if call == "POST /backfills"]
    assert len(bodies) == 3
    # Both days whole, so that a run at any hour of the last one is among them.
    assert bodies[0]["from_date"] == "2017-12-04T00:00:00+00:00"
    assert bodies[0]["to_date"] == "2017-12-05T23:59:59.999999+00:00"


def test_what_stays_busy_is_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow, "PATIENCE_SECONDS", 0.0)
    answers: dict[str, list[Answer]] = {"POST /backfills": [(503, {"detail": "locked"})]}
    with answering(answers) as (api, _), pytest.raises(Refused, match="locked"):
        api.backfill("lists", date(2017, 12, 4), date(2017, 12, 5))


def test_a_refusal_is_not_asked_again() -> None:
    answers: dict[str, list[Answer]] = {"POST /backfills": [(409, {"detail": "already"})]}
    with answering(answers) as (api, asked), pytest.raises(Refused, match="already"):
        api.backfill("lists", date(2017, 12, 4), date(2017, 12, 5))
    assert [call for call, _ in asked].count("POST /backfills") == 1


def test_only_a_paused_dag_is_set_going() -> None:
    told: dict[str, list[Answer]] = {
        "GET /dags/lists": [(200, {"is_paused": True}), (200, {"is_paused": False})],
        "PATCH /dags/lists": [(200, {})],
    }
    with answering(told) as (api, asked):
        assert api.resume("lists")
        assert not api.resume("lists")
    assert [body for call, body in asked if call.startswith("PATCH")] == [{"is_paused": False}]


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["lists", "5.12.2017", "2017-12-06"], BadConfig.exit_code, "both days as 2017-12-05"),
        (["lists", "2017-12-06", "2017-12-05"], BadConfig.exit_code, "the earlier day first"),
        (["lists", "2017-12-05"], 64, "usage"),
        ([], 64, "usage"),
        (["fly"], 64, "usage"),
    ],
)
def test_words_that_mean_nothing_are_told(
    words: list[str], status: int, told: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stack.main(words, tmp_path) == status
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cores", "threads", "slots"),
    [(2, 1, 2), (2, 2, 1), (8, 3, 2), (1, 4, 1), (4, 0, 4)],
)
def test_as_many_heavy_stages_at_once_as_have_cores_of_their_own_and_at_least_one(
    monkeypatch: pytest.MonkeyPatch, cores: int, threads: int, slots: int
) -> None:
    monkeypatch.setattr(airflow.os, "sched_getaffinity", lambda _: set(range(cores)))
    assert airflow.heavy_slots(threads) == slots

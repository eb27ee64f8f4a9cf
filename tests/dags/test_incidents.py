"""One message an incident, with the stage, the error, the log and the cure; none is lost when nobody listens."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.harness.errors import BadConfig, MissingResource
from pipelines.harness.state import State
from pipelines.monitoring import incidents
from pipelines.monitoring.incidents import Failure, report
from tests.dags.sink import Sink, listening
from tests.dags.snippets import run_snippet

FAILURE = Failure(
    "train", "manual 1", 0, "split", "bad data", "row 13: unlucky; choose another", "http://log/1"
)

DATABASE = {
    "conn_type": "postgresql",
    "host": "db.example",
    "login": "shop",
    "password": "p@ss",
    "port": 5432,
    "schema": "lists",
    "extra": {"driver": "postgresql+psycopg2"},
}
NOTIFY = """
import sys
from pathlib import Path
from types import SimpleNamespace as Thing
from dags.incidents import Incidents
from pipelines.services.airflow_connections import addresses
print(addresses({"VITRINE_LISTS_URL": "vitrine_lists", "OTHER": "vitrine_none"}))
run = Thing(dag_id="train", run_id="manual 1", clear_number=0)
for stage, error in (("toy", RuntimeError("toy: bad data")), ("after", RuntimeError("after: killed: 9"))):
    ti = Thing(task_id=stage, log_url=f"http://log/{stage}")
    Incidents(Path(sys.argv[1]))({"ti": ti, "dag_run": run, "task": Thing(stage=stage), "exception": error})
"""


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as found:
        yield found


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incidents, "PAUSE", 0.0)


def kept(root: Path) -> list[dict]:
    folder = incidents.incidents(State(root))
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def test_a_run_that_fails_twice_is_one_message_and_its_repeat_another(
    tmp_path: Path, sink: Sink
) -> None:
    state = State(tmp_path)
    assert report(state, FAILURE, sink.address)
    assert not report(state, replace(FAILURE, task="content"), sink.address)
    assert report(state, replace(FAILURE, attempt=1), sink.address)
    assert len(sink.bodies) == 2
    said = sink.bodies[0]
    assert said["task"] == "split" and said["log"] == "http://log/1" and said["cure"]
    for words in ("split failed in train", "row 13: unlucky", "What to do:", "http://log/1"):
        assert words in said["text"]
    assert sorted(len(note["failures"]) for note in kept(tmp_path)) == [1, 2]


def test_a_hook_that_stumbles_is_asked_again_with_the_token(tmp_path: Path, sink: Sink) -> None:
    sink.refuse = 2
    assert report(State(tmp_path), FAILURE, sink.address, "secret")
    assert sink.tokens == ["Bearer secret"]


def test_what_nobody_took_is_written_down_and_sent_with_the_next_failure(
    tmp_path: Path, sink: Sink
) -> None:
    state = State(tmp_path)
    sink.refuse = 3
    with pytest.raises(MissingResource, match="127.0.0.1"):
        report(state, FAILURE, sink.address)
    assert len(kept(tmp_path)[0]["failures"]) == 1
    assert report(state, replace(FAILURE, task="content"), sink.address)


def test_without_a_hook_it_is_written_down(tmp_path: Path) -> None:
    assert not report(State(tmp_path), FAILURE, None)
    assert kept(tmp_path)[0]["failures"][0]["kind"] == "bad data"


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="https://"):
        report(State(tmp_path), FAILURE, "file:///etc/passwd")


def test_airflows_notifier_and_tasks_go_by_connections(tmp_path: Path, sink: Sink) -> None:
    state = State(tmp_path)
    state.records.mkdir(parents=True)
    note = {"class": "bad data", "text": "toy.txt, row 13: unlucky", "exit_code": 65}
    (state.records / "toy.error.json").write_text(json.dumps(note))
    connection = {"conn_type": "http", "host": sink.address, "password": "/end"}
    said = run_snippet(
        NOTIFY,
        str(tmp_path),
        cwd=tmp_path,
        home=tmp_path / "airflow",
        AIRFLOW_CONN_VITRINE_INCIDENTS=json.dumps(connection),
        AIRFLOW_CONN_VITRINE_LISTS=json.dumps(DATABASE),
    )
    address = "postgresql+psycopg2://shop:p%40ss@db.example:5432/lists"
    assert str({"VITRINE_LISTS_URL": address}) in said
    assert [(body["task"], body["kind"]) for body in sink.bodies] == [("toy", "bad data")]
    assert "row 13: unlucky" in sink.bodies[0]["text"]
    told = kept(tmp_path)[0]["failures"]
    assert [one["kind"] for one in told] == ["bad data", "killed"]

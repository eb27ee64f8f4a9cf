"""One message an incident: the first failure of a run of a DAG opens one, further failures of that run join it.

Every incident is a file in `.vitrine/incidents/`, whether or not a web hook takes its message. The message has `text`
(what chat hooks as Slack's show) and the same facts one by one.
"""

import fcntl
import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipelines.harness.errors import BadConfig, BadData, Bug, MissingResource
from pipelines.harness.state import State

TRIES = 3
PAUSE = 1.0  # seconds before the second try, twice as long before the third
SECONDS = 10.0
LENGTH = 1500
CURES = {
    BadData.title: "Mend the data as the text says (quarantine: data/validate-*/quarantine.parquet), then clear the task.",
    BadConfig.title: "Mend params.yaml or dvc.yaml as the text says, then clear the task.",
    MissingResource.title: "Bring back what is away or full, then clear the task: what was done is not done again.",
    Bug.title: "Read the log's last lines; clear the task once, and file the text as a bug if it comes again.",
    "killed": "The process was ended from outside (memory, a stop, a restart): see the machine, then clear the task.",
    "too slow": "It took longer than its meta.timeout in dvc.yaml: see whether the machine is busy, or raise it.",
    "monitor": "Open the page of the monitor; what it asks for beyond this message was started by itself.",
}
UNKNOWN = "Read the log, then clear the task."


@dataclass(frozen=True)
class Failure:
    """What failed. dag, run: Airflow's names; attempt: how often the run was cleared; task: its id.

    kind: class of the failure, as in `CURES`. error: its text. log: address of the log; file: the stage's own log.
    """

    dag: str
    run: str
    attempt: int
    task: str
    kind: str
    error: str
    log: str
    file: str = ""

    @property
    def key(self) -> str:
        """What incident it belongs to: one a run and attempt."""
        return hashlib.sha256(f"{self.dag}\n{self.run}\n{self.attempt}".encode()).hexdigest()[:16]

    @property
    def cure(self) -> str:
        return CURES.get(self.kind, UNKNOWN)


def message(failure: Failure) -> dict[str, Any]:
    """The body that a web hook gets.

    >>> message(Failure("train", "r", 0, "split", "bug", "boom", "http://x"))["text"].splitlines()[0]
    'Vitrine: split failed in train (bug)'
    """
    text = failure.error.strip()
    shown = text if len(text) <= LENGTH else f"… {text[-LENGTH:]}"
    lines = [
        f"Vitrine: {failure.task} failed in {failure.dag} ({failure.kind})",
        shown,
        f"What to do: {failure.cure}",
        f"Log: {failure.log}",
        f"Run: {failure.run}",
    ]
    return {"text": "\n".join(lines), **asdict(failure), "cure": failure.cure}


def report(state: State, failure: Failure, address: str | None, token: str = "") -> bool:
    """Write a failure down and send its message where it is the first of its incident. True when it was sent.

    address: the web hook, or None for none. A message that could not be sent is tried again with the run's next
    failure. Raises `MissingResource` where nobody takes it, after it was written down.
    """
    with _incident(state, failure) as note:
        note["failures"].append(message(failure))
        first = not note["sent"]
        if address is None or not first:
            return False
        try:
            send(address, message(failure), token)
        except OSError as error:
            note["error"] = str(error)
            raise MissingResource(
                f"the web hook at {urlsplit(address).hostname} took no message: {error}"
            ) from error
        note["sent"] = time.time()
        return True


@contextmanager
def _incident(state: State, failure: Failure) -> Iterator[dict[str, Any]]:
    """The incident's file, held by nobody else; what is done to it is kept however the block ends."""
    folder = incidents(state)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{failure.key}.json"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        opened = {"opened": time.time(), "sent": 0.0, "failures": []}
        note = json.loads(path.read_text("utf-8")) if path.exists() else opened
        try:
            yield note
        finally:
            partial = path.with_name(f".{path.name}.partial")
            partial.write_text(json.dumps(note, ensure_ascii=False, indent=1), encoding="utf-8")
            partial.replace(path)


def incidents(state: State) -> Path:
    """The folder of incidents: one JSON file each (opened, sent, failures)."""
    return state.home / "incidents"


def send(address: str, body: dict[str, Any], token: str = "") -> None:
    """POST `body` as JSON; tried `TRIES` times. Raises `BadConfig` for an address that is none, else `OSError`."""
    if urlsplit(address).scheme not in ("http", "https"):
        raise BadConfig(f"a web hook's address begins with https:// (or http://), not {address!r}")
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = json.dumps(body, ensure_ascii=False).encode()
    request = urllib.request.Request(address, data=data, headers=headers, method="POST")
    for at in range(TRIES):
        try:
            with urllib.request.urlopen(request, timeout=SECONDS):
                return
        except urllib.error.HTTPError as error:
            if error.code < 500 or at == TRIES - 1:
                raise
        except OSError:
            if at == TRIES - 1:
                raise
        time.sleep(PAUSE * 2**at)


def stage_failure(state: State, stage: str) -> tuple[str, str] | None:
    """Class and text of a stage's last failure, as it wrote them down; None where it did not."""
    path = state.records / f"{stage}.error.json"
    if not path.exists():
        return None
    note = json.loads(path.read_text("utf-8"))
    return note["class"], note["text"]

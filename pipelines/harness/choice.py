"""One profile a run: what a run of the pipeline makes must not be mixed with what another profile made in between.

The stages of a run share the choice while they are under way (`pipelines.run.chosen`); between two of them another
command may change it. So each change is counted, and a run remembers the profile and the count that it began with.
"""

import contextlib
import fcntl
import json
from collections.abc import Iterator
from typing import Any

from pipelines.harness.errors import BadConfig
from pipelines.harness.state import State

KEPT = 50
"""Runs that are remembered, the newest."""


def begin(state: State, run: str | None, profile: str) -> None:
    """Note the profile in force, and that `run` (None: a stage by itself) works with it from here on."""
    with _notes(state) as notes:
        _count(notes, profile)
        if run is not None:
            notes["runs"].setdefault(run, [profile, notes["changes"]])
            for old in list(notes["runs"])[:-KEPT]:
                del notes["runs"][old]


def refuse_mixture(state: State, run: str, profile: str) -> None:
    """Raise `BadConfig` where `run` began with another profile than that in force, or one was in force in between."""
    with _notes(state) as notes:
        _count(notes, profile)
        began = notes["runs"].get(run)
        if began in (None, [profile, notes["changes"]]):
            return
    raise BadConfig(
        f"the run {run!r} began with the profile {began[0]}, and another command has changed the profile since (it is "
        f"{profile} now): what was made in between may be of another one. Start a new run; what is up to date is "
        "not done again"
    )


@contextlib.contextmanager
def _notes(state: State) -> Iterator[dict[str, Any]]:
    """The file of notes, held by nobody else: `profile`, `changes`, `runs` (run to its profile and count)."""
    state.locks.mkdir(parents=True, exist_ok=True)
    path = state.home / "choice.json"
    with (state.locks / "choice-notes.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        text = path.read_text("utf-8") if path.exists() else ""
        notes = json.loads(text) if text else {"profile": None, "changes": 0, "runs": {}}
        yield notes
        made = json.dumps(notes, ensure_ascii=False)
        if made != text:
            partial = path.with_name(f".{path.name}.partial")
            partial.write_text(made, encoding="utf-8")
            partial.replace(path)


def _count(notes: dict[str, Any], profile: str) -> None:
    if notes["profile"] != profile:
        notes.update(profile=profile, changes=notes["changes"] + 1)

"""The journal of promotions: one JSON line a decision, each with the hash of the line before; append only.

python -m pipelines.journal show [CAPABILITY]
python -m pipelines.journal verify
python -m pipelines.journal make    (the tables of a common one, once)
"""

import hashlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipelines.harness.errors import BadConfig, BadData, VitrineError
from pipelines.harness.state import State
from pipelines.promotion.journal_stores import Table, chosen

START = "0" * 64
PROMOTED, REFUSED, WAITS, FAILED = "promoted", "refused", "waits", "failed"
"""Outcomes of a run's decision."""
APPROVED, REJECTED, ROLLED_BACK = "approved", "rejected", "rolled back"
"""Outcomes of a person's decision."""
LATENCY = "latency"
"""The guard of which the finding is a time: no two runs find the same."""


@dataclass(frozen=True)
class Fault:
    """Where the chain breaks (line number from 1) and how."""

    line: int
    text: str


class Anchors(Protocol):
    """The registry: keeps the hash of a journal's newest line on each capability, and which common journal is its own.

    journal: the identity of one.
    """

    def anchor(self, capability: str, journal: str) -> str | None: ...

    def set_anchor(self, capability: str, journal: str, line: str) -> None: ...

    def owner(self) -> str | None: ...

    def set_owner(self, journal: str) -> None: ...


class Journal:
    """The lines in `.vitrine/journal.jsonl`, or in the database that machines share (`pipelines.promotion.journal_stores`).

    Each line holds `when` (UTC), what the caller gave, `before` (the hash of the line before, zeros at the start)
    and `hash` (over all the rest of the line, `before` included). A change of a line breaks its own hash; a removed
    or moved one breaks the chain. Lines that were cut off at the end break nothing within the chain: they are noticed
    because the registry holds the hash of each capability's newest line.
    """

    def __init__(self, state: State) -> None:
        self.store = chosen(state)

    def entries(self) -> list[dict[str, Any]]:
        """All finished lines, oldest first. Raises `BadData` naming a line that is no JSON."""
        return self._parsed(self.store.read()[0])

    def _parsed(self, lines: list[bytes]) -> list[dict[str, Any]]:
        found = []
        for at, line in enumerate(lines, start=1):
            try:
                found.append(json.loads(line))
            except ValueError as error:
                raise BadData(
                    f"{self.store.place}, line {at} is not JSON ({error}): put it back as it was"
                ) from None
        return found

    def last(self, capability: str) -> dict[str, Any] | None:
        """The newest line about `capability`, or None."""
        return _newest(self.entries(), capability)

    def append(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Add a line and return it as written.

        The line is kept when this returns. What a dead writer left after the last line end of a file is kept in this
        line under `torn`. A line that repeats the newest one about its capability (same `key` and `outcome`) is not
        added; the old one is returned.
        """
        line: dict[str, Any] = {}

        def made(lines: list[bytes], torn: bytes) -> bytes | None:
            nonlocal line
            entries = self._parsed(lines)
            if line and line in entries:
                return None  # it was written, though the database could not say so any more
            last = _newest(entries, entry["capability"])
            if last and all(last.get(name) == entry.get(name) for name in ("key", "outcome")):
                line = last
                return None
            line = {
                "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                **entry,
                **({"torn": torn.decode("utf-8", "replace")} if torn else {}),
                "before": entries[-1]["hash"] if entries else START,
            }
            line["hash"] = line_hash(line)
            return _dump(line)

        self.store.append(made)
        return line

    def record(self, entry: Mapping[str, Any], registry: Anchors) -> dict[str, Any]:
        """`append`, with the hash of the line kept in `registry`. Raises as `belong` does, before anything is written.

        Where the line that is kept there is gone from the journal, the new one says so under `lost`, for good.
        """
        self.belong(registry)
        kept = registry.anchor(entry["capability"], self.store.identity)
        lost = {"lost": kept} if kept and not self.holds(kept) else {}
        line = self.append({**entry, **lost})
        self.moor(line, registry)
        return line

    def belong(self, registry: Anchors) -> None:
        """See to it that decisions on the models of `registry` are told in this journal, if it is common, alone.

        Raises `BadConfig` where they are told in another one: two clusters on one registry would not know of each
        other's decisions.
        """
        owner = registry.owner()
        if owner is None and self.store.common:
            registry.set_owner(self.store.identity)
            owner = registry.owner()  # another may have been faster
        if owner not in (None, self.store.identity):
            raise BadConfig(
                f"the registry's decisions are told in the common journal {owner}, this is {self.store.identity} "
                f"({self.store.place}): set VITRINE_JOURNAL to that one, or MLFLOW_TRACKING_URI to a registry of your own"
            )

    def moor(self, line: Mapping[str, Any], registry: Anchors) -> None:
        """See to it that `registry` holds the hash of `line`, the newest of its capability."""
        if registry.anchor(line["capability"], self.store.identity) != line["hash"]:
            registry.set_anchor(line["capability"], self.store.identity, line["hash"])

    def holds(self, line: str) -> bool:
        """Whether a line with this hash is there."""
        return any(entry.get("hash") == line for entry in self.entries())

    def verify(self, anchors: Mapping[str, str] | None = None) -> list[Fault]:
        """Every place where the chain breaks; empty where it holds.

        anchors: capability to the hash of its newest line, as the registry has it.
        """
        faults = []
        seen = set()
        before = START
        lines, torn = self.store.read()
        for at, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line)
                told = entry["hash"]
            except (ValueError, KeyError, TypeError) as error:
                faults.append(Fault(at, f"not a line of this journal ({error!r})"))
                continue
            if told != line_hash(entry):
                faults.append(Fault(at, "was changed after it was written"))
            if entry.get("before") != before:
                faults.append(Fault(at, "does not follow the line before it"))
            if entry.get("lost"):
                text = f"was written when line {entry['lost'][:12]} before it had been cut off"
                faults.append(Fault(at, text))
            before = told
            seen.add(told)
        for capability, newest in sorted((anchors or {}).items()):
            if newest not in seen:
                text = f"is gone: the newest on {capability} in the registry is {newest[:12]}"
                faults.append(Fault(len(lines) + 1, text))
        if torn:
            faults.append(
                Fault(
                    len(lines) + 1, f"was not finished ({len(torn)} bytes); the next entry heals it"
                )
            )
        return faults


def _newest(entries: list[dict[str, Any]], capability: str) -> dict[str, Any] | None:
    about = [entry for entry in entries if entry.get("capability") == capability]
    return about[-1] if about else None


def line_hash(entry: Mapping[str, Any]) -> str:
    """SHA-256 over a line without its own `hash`."""
    rest = {name: value for name, value in entry.items() if name != "hash"}
    return hashlib.sha256(_dump(rest)).hexdigest()


def _dump(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False).encode()


def told(entry: Mapping[str, Any]) -> str:
    """One line of text for a person."""
    names = [str(entry.get(name) or "nothing")[:12] for name in ("from", "to")]
    return (
        f"{entry['when']}  {entry['capability']:<14} {entry['outcome']:<12} {names[0]} -> {names[1]}  "
        f"by {entry['who']}: {entry['reason']}"
    )


def _anchors(state: State, journal: Journal) -> dict[str, str]:
    """What the registry keeps of the journal; nothing where there is no registry yet. Raises as `belong` does."""
    database = state.tracking_uri.removeprefix("sqlite:///")
    if database != state.tracking_uri and not Path(database).exists():
        return {}
    from pipelines.promotion.registry import Registry

    registry = Registry(state)
    if registry.owner() is not None:
        journal.belong(registry)
    return registry.anchors(journal.store.identity)


def verify(state: State) -> int:
    """Print every place where the chain breaks; the status is 1 where there is any."""
    journal = Journal(state)
    faults = journal.verify(_anchors(state, journal))
    for fault in faults:
        print(f"{journal.store.place}, line {fault.line}: {fault.text}", file=sys.stderr)
    if not faults:
        print(f"{journal.store.place}: {len(journal.entries())} lines, the chain holds")
    return 1 if faults else 0


def show(state: State, capability: str | None) -> int:
    """Print the lines, or those on one capability."""
    for entry in Journal(state).entries():
        if capability in (None, entry["capability"]):
            print(told(entry))
    return 0


def make(state: State) -> int:
    """Make the tables of a common journal where they are missing; a file needs nothing."""
    store = chosen(state)
    identity = store.make() if isinstance(store, Table) else store.identity
    print(f"{store.place}: journal {identity}")
    return 0


def main(words: list[str], root: Path) -> int:
    """The command line; the exit status is that of the class of failure."""
    state = State(root)
    try:
        match words:
            case ["verify"]:
                return verify(state)
            case ["show", *capability] if len(capability) < 2:
                return show(state, capability[0] if capability else None)
            case ["make"]:
                return make(state)
    except VitrineError as error:
        print(f"journal: {error.title}: {error}", file=sys.stderr)
        return error.exit_code
    print("usage: python -m pipelines.journal verify | show [CAPABILITY] | make", file=sys.stderr)
    return 64


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))

"""The journal of promotions: one JSON line a decision, each with the hash of the line before; append only.

python -m pipelines.journal show [CAPABILITY]
python -m pipelines.journal verify
"""

import contextlib
import fcntl
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipelines.harness.errors import BadData, MissingResource
from pipelines.harness.state import State

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
    """Where the hash of the newest line of each capability is kept outside of the file: the registry."""

    def anchor(self, capability: str) -> str | None: ...

    def set_anchor(self, capability: str, line: str) -> None: ...


class Journal:
    """The file `.vitrine/journal.jsonl`.

    Each line holds `when` (UTC), what the caller gave, `before` (the hash of the line before, zeros at the start)
    and `hash` (over all the rest of the line, `before` included). A change of a line breaks its own hash; a removed
    or moved one breaks the chain. Lines that were cut off at the end break nothing within the file: they are noticed
    because the registry holds the hash of each capability's newest line.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.path: Path = state.journal

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        self._state.locks.mkdir(parents=True, exist_ok=True)
        with (self._state.locks / "journal.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _read(self) -> tuple[list[bytes], bytes]:
        """The finished lines, and what stands after the last line end (empty unless a writer died)."""
        if not self.path.exists():
            return [], b""
        *lines, rest = self.path.read_bytes().split(b"\n")
        return lines, rest

    def entries(self) -> list[dict[str, Any]]:
        """All finished lines, oldest first. Raises `BadData` naming a line that is no JSON."""
        found = []
        for at, line in enumerate(self._read()[0], start=1):
            try:
                found.append(json.loads(line))
            except ValueError as error:
                raise BadData(
                    f"{self.path}, line {at} is not JSON ({error}): put the file back as it was"
                ) from None
        return found

    def last(self, capability: str) -> dict[str, Any] | None:
        """The newest line about `capability`, or None."""
        about = [entry for entry in self.entries() if entry.get("capability") == capability]
        return about[-1] if about else None

    def append(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Add a line and return it as written.

        The line is on the disk when this returns. What a dead writer left after the last line end is taken out of
        the file and kept in this line under `torn`. A line that repeats the newest one about its capability (same
        `key` and `outcome`) is not added; the old one is returned.
        """
        with self._lock():
            self._state.home.mkdir(parents=True, exist_ok=True)
            last = self.last(entry["capability"])
            if last and all(last.get(name) == entry.get(name) for name in ("key", "outcome")):
                return last
            lines, torn = self._read()
            line = {
                "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                **entry,
                **({"torn": torn.decode("utf-8", "replace")} if torn else {}),
                "before": json.loads(lines[-1])["hash"] if lines else START,
            }
            line["hash"] = line_hash(line)
            self._write(_dump(line) + b"\n", len(torn))
            return line

    def record(self, entry: Mapping[str, Any], registry: Anchors) -> dict[str, Any]:
        """`append`, with the hash of the line kept in `registry`.

        Where the line that is kept there is gone from the file, the new one says so under `lost`, for good.
        """
        kept = registry.anchor(entry["capability"])
        lost = {"lost": kept} if kept and not self.holds(kept) else {}
        line = self.append({**entry, **lost})
        self.moor(line, registry)
        return line

    def moor(self, line: Mapping[str, Any], registry: Anchors) -> None:
        """See to it that `registry` holds the hash of `line`, the newest of its capability."""
        if registry.anchor(line["capability"]) != line["hash"]:
            registry.set_anchor(line["capability"], line["hash"])

    def holds(self, line: str) -> bool:
        """Whether a line with this hash is there."""
        return any(entry.get("hash") == line for entry in self.entries())

    def _write(self, data: bytes, torn: int) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            if torn:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size - torn)
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def verify(self, anchors: Mapping[str, str] | None = None) -> list[Fault]:
        """Every place where the chain breaks; empty where it holds.

        anchors: capability to the hash of its newest line, as the registry has it.
        """
        faults = []
        seen = set()
        before = START
        lines, torn = self._read()
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


def _anchors(state: State) -> dict[str, str]:
    """What the registry keeps of the journal; nothing where there is no registry yet."""
    database = state.tracking_uri.removeprefix("sqlite:///")
    if database != state.tracking_uri and not Path(database).exists():
        return {}
    from pipelines.registry import Registry

    return Registry(state).anchors()


def main(words: list[str], root: Path) -> int:
    """`show` prints the lines, `verify` the faults; the status is 1 where there are any."""
    journal = Journal(State(root))
    match words:
        case ["verify"]:
            try:
                faults = journal.verify(_anchors(State(root)))
            except MissingResource as error:
                print(f"journal: {error.title}: {error}", file=sys.stderr)
                return error.exit_code
            for fault in faults:
                print(f"{journal.path}, line {fault.line}: {fault.text}", file=sys.stderr)
            if not faults:
                print(f"{journal.path}: {len(journal.entries())} lines, the chain holds")
            return 1 if faults else 0
        case ["show"] | ["show", _]:
            for entry in journal.entries():
                if len(words) == 1 or entry["capability"] == words[1]:
                    print(told(entry))
            return 0
    print("usage: python -m pipelines.journal verify | show [CAPABILITY]", file=sys.stderr)
    return 64


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))

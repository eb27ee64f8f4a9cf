"""Run one stage by name, as Airflow's tasks do: `python -m pipelines.run STAGE`.

Several stages may be run so at once. The same stage twice: the second waits. The profile changes only while no stage
is under way, and a run of the pipeline goes on with the one that it began with, or not at all. Whatever ends this process ends the stage too, and the next try makes the same outputs.
"""

import argparse
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from pipelines.cache import check, store_folder
from pipelines.harness import BadConfig, MissingResource, VitrineError, connections, space
from pipelines.harness.absent import absence
from pipelines.harness.choice import begin, refuse_mixture
from pipelines.harness.graph import folder_of, read_graph
from pipelines.harness.interpreter import stage_path
from pipelines.harness.params import PROMOTIONS, read_params, set_choice
from pipelines.harness.stage import CALLER_VARIABLE, stage_lock, sweep, tell
from pipelines.harness.state import State, exchanged
from pipelines.harness.tracking import RUN_VARIABLE

BUSY = ("is busy, it is being blocked by", "Unable to acquire lock")
"""What DVC says where another process of it writes what this one reads; nothing was done then."""
BUSY_SECONDS = 1.0
KILLED = 128 + signal.SIGKILL
FAULTS = ("ERROR: ", "OSError: ")
"""Beginnings of the lines in which DVC and Python say what went wrong."""
SECRETS = ("AIRFLOW", "_AIRFLOW")
"""Beginnings of the names of variables that a stage has no business with."""


@dataclass(frozen=True)
class Outcome:
    """How a stage ended. code: 0, or the exit status of its class of failure, or 128 + signal.

    title, text: class and message of the failure, empty where it went well. log: what it printed.
    """

    code: int
    title: str
    text: str
    log: Path


@dataclass
class StageRun:
    """One execution of one stage under DVC.

    root: the project. name: as in `dvc.yaml`. choice: `profile` and `promotion` to set before, where given.
    force: run it though nothing changed. run: the run of the pipeline that it belongs to. quiet: its lines go to
    its log alone.
    """

    root: Path
    name: str
    choice: Mapping[str, str] = field(default_factory=dict)
    force: bool = False
    run: str | None = None
    quiet: bool = False
    _child: subprocess.Popen[str] | None = None

    @property
    def state(self) -> State:
        return State(self.root)

    def execute(self) -> Outcome:
        """Wait for the stage's turn, run it, and tell how it ended. Its lines go to stdout and to its log.

        Raises `BadConfig` for a stage or a choice that doesn't exist.
        """
        graph = read_graph(self.root)
        nodes = graph.nodes
        if self.name not in nodes:
            raise BadConfig(f"dvc.yaml has no stage {self.name!r}; it has: {', '.join(nodes)}")
        for stage in {name.partition("@")[0] for name in nodes if "@" in name}:
            # Here too, since DVC may take an instance from an earlier run instead of running it.
            sweep(self.root, graph, stage)
        try:
            outcome = self._execute(nodes[self.name].meta.get("timeout", 3600))
        except OSError as error:
            if space.full(error) is None:
                raise
            return self._full(str(error), self.state.home)
        if not outcome.code and nodes[self.name].meta.get("tells"):
            self._tell()
        return outcome

    def _execute(self, timeout: float) -> Outcome:
        until = time.monotonic() + timeout
        error = self.state.records / f"{self.name}.error.json"
        log = self.state.logs / f"{self.name}.log"
        with stage_lock(self.state, f"run-{self.name}"), chosen(self.root, self.choice, self.run):
            for damage in check(self.root, self.name):
                print(f"{self.name}: {damage}", flush=True)
            error.unlink(missing_ok=True)
            (self.state.records / f"{self.name}.progress.json").unlink(missing_ok=True)
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("w", encoding="utf-8") as lines:
                code = self._exchange("fetch", lines)
                if not code:
                    code, busy = self._dvc(lines)
                    while busy and time.monotonic() < until:
                        print(
                            f"{self.name}: waiting for a stage that writes its inputs", flush=True
                        )
                        time.sleep(BUSY_SECONDS)
                        code, busy = self._dvc(lines)
                if not code:
                    code = self._exchange("send", lines)
        why = absence(self.root / "data" / folder_of(self.name)) if not code else None
        if why:
            print(f"{self.name}: off: {why}", flush=True)
        return self._ended(code, error, log)

    def _ended(self, code: int, error: Path, log: Path) -> Outcome:
        """The outcome by the exit status, by what the stage wrote down of its failure, else by the log."""
        if code == 0:
            return Outcome(0, "", "", log)
        if error.exists():
            note = json.loads(error.read_text("utf-8"))
            return Outcome(note["exit_code"], note["class"], note["text"], log)
        lines = log.read_text("utf-8", "replace").splitlines()
        for line in lines:
            if line.startswith(FAULTS) and space.WORDS.search(line):
                return self._full(line, store_folder(self.root))
        killed = code > 128 or any("exited with -9" in line or "SIGKILL" in line for line in lines)
        title = "killed" if killed else "dvc"
        return Outcome(KILLED if killed else code, title, "\n".join(lines[-20:]), log)

    def _full(self, text: str, usual: Path) -> Outcome:
        """Tell of a disk that was full outside the stage: DVC's store, or where locks and logs lie.

        text: the error; usual: where it was where the text names no path.
        """
        store = store_folder(self.root).resolve()
        names = [Path(name) for name in space.PATH.findall(text)]
        made = space.size(self.root / "data" / folder_of(self.name))
        message = space.told(names[-1] if names else usual, made, made)
        for name in names:
            if name.suffix == ".tmp" and name.is_relative_to(store):
                name.unlink(missing_ok=True)  # DVC leaves what it could not finish
        code = tell(self.state, self.name, MissingResource, message)
        return Outcome(code, MissingResource.title, message, self.state.logs / f"{self.name}.log")

    def _exchange(self, verb: str, log: TextIO) -> int:
        """Fetch from or send to the store between workers, where there is one: the exit status."""
        if not exchanged():
            return 0
        return self._watched(log, "pipelines.exchange", verb, self.name)[0]

    def _dvc(self, log: TextIO) -> tuple[int, bool]:
        """One `dvc repro`: its exit status, and whether DVC found its files in use by another process."""
        words = ["--wait-for-lock", "repro", "-s", self.name, *(["-f"] if self.force else [])]
        return self._watched(log, "pipelines.guarded", *words)

    def _tell(self) -> None:
        """Write the page on the last run anew. It tells of what is done: where it fails, that is said, and no more."""
        done = subprocess.run(
            ["python", "-m", "pipelines.run_page"],
            cwd=self.root,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stderr if done.returncode else done.stdout
        print(f"{self.name}: {said.strip()[-2000:]}", flush=True)

    def _watched(self, log: TextIO, module: str, *words: str) -> tuple[int, bool]:
        """Run one of our modules that ends with its caller; its lines are shown and kept."""
        self._child = subprocess.Popen(
            ["python", "-m", module, *words],
            cwd=self.root,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        busy = False
        try:
            for line in self._child.stdout or ():
                if not self.quiet:
                    print(line, end="", flush=True)
                log.write(line)
                log.flush()
                busy = busy or any(word in line for word in BUSY)
            code = self._child.wait()
        finally:
            self.kill()
        return (128 - code if code < 0 else code), busy

    def kill(self) -> None:
        """End DVC and whatever of its processes is left."""
        child = self._child
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()

    def _environment(self) -> dict[str, str]:
        kept = {**without_secrets(), **connections.given(self.root, self.name)}
        own = {
            "PATH": stage_path(self.state),
            "PYTHONUNBUFFERED": "1",
            CALLER_VARIABLE: str(os.getpid()),
        }
        return {**kept, **own, **({RUN_VARIABLE: self.run} if self.run else {})}


def without_secrets() -> dict[str, str]:
    """This process's environment without what is Airflow's alone."""
    return {key: value for key, value in os.environ.items() if not key.startswith(SECRETS)}


@contextlib.contextmanager
def chosen(root: Path, choice: Mapping[str, str], run: str | None = None) -> Iterator[None]:
    """Set `choice` in `params.yaml` and see to it that it stays so: others may share it, nobody may change it.

    Raises `BadConfig` where `run` is under way, and its profile was another in between.
    """
    state = State(root)
    state.locks.mkdir(parents=True, exist_ok=True)
    with (state.locks / "choice.lock").open("w") as file:
        while True:
            fcntl.flock(file, fcntl.LOCK_SH)
            document = read_params(root)
            if run is not None:
                refuse_mixture(state, run, document["profile"])
            if all(document[key] == value for key, value in choice.items()):
                break
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("a stage of another profile is under way; waiting for it", flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            for key, value in choice.items():
                if set_choice(root, key, value):
                    print(f"params.yaml: {key} is {value} from here on", flush=True)
        begin(state, run, document["profile"])
        yield


def main(words: list[str], root: Path) -> int:
    """The command line; the exit status is that of the class of failure."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.run", description=__doc__)
    parser.add_argument("stage", help="as `dvc stage list` shows it")
    parser.add_argument("--force", action="store_true", help="run it though nothing changed")
    parser.add_argument("--profile", help="set the profile in params.yaml before")
    parser.add_argument(
        "--promotion", choices=PROMOTIONS, help="set promotion in params.yaml before"
    )
    asked = parser.parse_args(words)
    choice = {"profile": asked.profile, "promotion": asked.promotion}
    choice = {key: value for key, value in choice.items() if value}
    stage = StageRun(root, asked.stage, choice, asked.force, os.environ.get(RUN_VARIABLE))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        outcome = stage.execute()
    except VitrineError as error:
        print(f"{asked.stage}: {error.title}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{asked.stage}: stopped; nothing half-written was kept", file=sys.stderr)
        return 128 + signal.SIGINT
    if outcome.code:
        print(
            f"{asked.stage}: failed ({outcome.title}), status {outcome.code}; log: {outcome.log}",
            file=sys.stderr,
        )
    return outcome.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))

"""The whole pipeline once through Airflow, shown as it goes: `python -m pipelines.demo [--profile P]`.

Where nothing changed, only the stages that always run are run. Otherwise Airflow is started, the train DAG triggered
and followed, then the DAG that its assets start; what was started is stopped in any case.
"""

import argparse
import contextlib
import fcntl
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipelines import run_page
from pipelines.cache import check
from pipelines.harness.absent import OFF, absence
from pipelines.harness.errors import MissingResource, VitrineError
from pipelines.harness.graph import Graph, folder_of, read_graph
from pipelines.harness.params import read_params
from pipelines.harness.state import State
from pipelines.journal import Journal
from pipelines.run import StageRun, chosen
from pipelines.services import airflow, processes, warm
from pipelines.services.airflow import Api
from pipelines.services.stack import addresses, services_lock

OWNER = "demo"
FIRST = "train"
"""The DAG that a person starts; those of the other stages are started by its assets."""
POLL_SECONDS = 2.0
PARSE_SECONDS = 120.0
FOLLOW_SECONDS = 120.0
PLAIN_SECONDS = 15.0
PLAIN_WIDTH = 180
TAIL = 30
TRACEBACK = "Traceback (most recent call last)"
DONE = ("success", "failed", "upstream_failed", "skipped", "removed")
MARKS = {
    "success": "[green]done[/]",
    "failed": "[red]failed[/]",
    "upstream_failed": "[red]not run[/]",
    "running": "[cyan]runs[/]",
    "up_for_retry": "[yellow]again soon[/]",
    "queued": "next",
}
OFF_MARK = "[yellow]off[/]"


class Failed(Exception):
    """A run did not end well; the text says which stages and why."""


def main(words: list[str], root: Path) -> int:
    """The command line. The status is 0, that of the class of failure, or 1 for a failed stage."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.demo", description=__doc__)
    parser.add_argument("--profile", help="tiny, smoke, default or full; else that of params.yaml")
    asked = parser.parse_args(words)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    out = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)
    try:
        with _alone(State(root)):
            return demo(root, out, {"profile": asked.profile} if asked.profile else {})
    except Failed as error:
        out.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return 1
    except VitrineError as error:
        print(f"demo: {error.title}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("demo: stopped; what is done will not be done again", file=sys.stderr)
        return 128 + signal.SIGINT


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _alone(state: State) -> Iterator[None]:
    state.locks.mkdir(parents=True, exist_ok=True)
    with (state.locks / "demo.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MissingResource("another demo is under way here; wait for its end") from None
        yield


def demo(root: Path, out: Console, choice: Mapping[str, str]) -> int:
    """Bring everything up to date, then show what there is."""
    started = time.time()
    with chosen(root, choice):
        profile = read_params(root)["profile"]
    for damage in check(root):
        out.print(str(damage), markup=False, highlight=False)
    graph = read_graph(root)
    always = [name for name, node in graph.nodes.items() if node.always_changed]
    ran: set[str] = set()
    todo = changed(root)
    if not todo:
        ran = set(unsettled(root, graph, always))
        _refresh(root, out, sorted(ran))
        todo = changed(root) if ran else todo
    if todo:
        out.print(f"profile {profile}: starting Airflow ...")
        ran |= through_airflow(root, out, graph, {"profile": profile})
    if ran:
        run_page.write(root)
    out.print(closing(root, graph, ran))
    for line in off_lines(root, graph):
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    show_models(root, out)
    out.print(f"{time.time() - started:.0f} s in all. Where to look next:")
    out.print(
        "  make up                     Airflow, MLflow and the report as pages", highlight=False
    )
    pages = [run_page.page_path(State(root)), *sorted((root / "data").glob("report/*.html"))]
    for path in filter(Path.exists, pages):
        out.print(f"  {path}", highlight=False, soft_wrap=True)
    for title, address in addresses(State(root)).items():
        out.print(f"  {address:<27} {title}", highlight=False)
    return 0


def changed(root: Path) -> set[str]:
    """The stages that have something to do, by `dvc status`; those that merely always run are left out."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "--wait-for-lock", "status", "--json"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise MissingResource(f"`dvc status` fails: {done.stderr.strip()[-2000:]}")
    found = json.loads(done.stdout)
    return {stage for stage, why in found.items() if why != ["always changed"]}


def unsettled(root: Path, graph: Graph, stages: list[str]) -> list[str]:
    """Those stages that the registry gives something to do, of all that always run because they read it.

    One is settled where its receipt names the registry's champion and no challenger waits, and where it is off: it
    would write the same.
    """
    from pipelines.promotion.registry import CHALLENGER, CHAMPION, Registry

    aliases = {one.name: one.aliases for one in Registry(State(root)).champions()}
    found = []
    for stage in stages:
        receipts = [
            root / path for path in graph.nodes[stage].outs if path.endswith("receipt.json")
        ]
        notes = [read_json(path) for path in receipts]
        settled = [
            note
            for note in notes
            if note.get("status") == OFF
            or (
                (standing := aliases.get(note.get("name", "")))
                and CHALLENGER not in standing
                and CHAMPION in standing
                and standing[CHAMPION].manifest == note["champion"]
            )
        ]
        if not notes or len(settled) < len(notes):
            found.append(stage)
    return found


def _refresh(root: Path, out: Console, stages: list[str]) -> None:
    """Run these stages side by side; raises `Failed` where one failed."""
    if not stages:
        out.print("nothing changed since the last run, in the data and in the registry")
        return
    names = ", ".join(stages)
    out.print(f"nothing changed since the last run but the registry's state: {names}")
    run = f"demo {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}"
    jobs = [StageRun(root, name, run=run, quiet=True) for name in stages]
    try:
        with ThreadPoolExecutor(airflow.parallelism()) as pool:
            outcomes = list(pool.map(StageRun.execute, jobs))
    except BaseException:
        for job in jobs:
            job.kill()
        raise
    for job, outcome in zip(jobs, outcomes, strict=True):
        if outcome.code:
            raise Failed(_told(job.name, outcome.title, outcome.text, outcome.log))


def through_airflow(
    root: Path, out: Console, graph: Graph, conf: Mapping[str, Any], stop: bool = True
) -> set[str]:
    """Start Airflow where it is down, run the first DAG and those that follow. Names the stages that did work.

    Raises `Failed` with the last errors where a stage failed.
    """
    state = State(root)
    try:
        with services_lock(state):
            up = processes.running(state, airflow.NAMES[0])
            warm.start(state, OWNER)
            started = airflow.start(state, up.owner if up else OWNER)
        api = Api(next(one.port for one in started if one.port))
        out.print(f"Airflow: {api.address}")
        return _follow(root, out, graph, api, conf, close=up is None)
    finally:
        if stop:
            mine = [processes.running(state, name) for name in (warm.NAME, *airflow.NAMES)]
            processes.stop(state, [one.name for one in mine if one and one.owner == OWNER])


def _follow(
    root: Path, out: Console, graph: Graph, api: Api, conf: Mapping[str, Any], close: bool
) -> set[str]:
    dags = list(dict.fromkeys(node.meta["dag"] for node in graph.nodes.values()))
    later = [name for name in dags if name != FIRST]
    _wait_for_dags(api, set(dags))
    if close and api.close(dags):
        out.print("a run that was cut off is closed; what it had done is not done again")
    before = {name: {run["dag_run_id"] for run in api.runs(name)} for name in later}
    run = api.trigger(FIRST, dict(conf))
    watch = Watch(root, graph, api, out)
    watch.follow(FIRST, run)
    for name in later:
        watch.follow(name, _next_run(api, name, before[name]))
    return watch.ran


def _wait_for_dags(api: Api, wanted: set[str]) -> None:
    until = time.monotonic() + PARSE_SECONDS
    while not wanted <= api.dags():
        errors = api.import_errors()
        if errors:
            raise MissingResource("Airflow can't read the DAGs:\n" + "\n".join(errors))
        if time.monotonic() > until:
            raise MissingResource(f"Airflow did not find its DAGs within {PARSE_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def _next_run(api: Api, dag: str, before: set[str]) -> str:
    until = time.monotonic() + FOLLOW_SECONDS
    while time.monotonic() < until:
        new = [run["dag_run_id"] for run in api.runs(dag) if run["dag_run_id"] not in before]
        if new:
            return new[0]
        time.sleep(POLL_SECONDS)
    raise Failed(f"no run of {dag} followed within {FOLLOW_SECONDS:.0f} s of its assets' update")


@dataclass
class Watch:
    """Shows runs as they go: a table that renews itself in a terminal, lines elsewhere."""

    root: Path
    graph: Graph
    api: Api
    out: Console
    ran: set[str] = field(default_factory=set)
    _told: dict[str, str] = field(default_factory=dict)
    _last: float = 0.0

    def follow(self, dag: str, run: str) -> None:
        """Until the run ends. Raises `Failed` with every failed stage's error where it ended badly."""
        stages = [name for name, node in self.graph.nodes.items() if node.meta["dag"] == dag]
        instances = self.graph.tasks()
        live = Live(console=self.out, auto_refresh=False) if self.out.is_terminal else None
        with live or contextlib.nullcontext():
            while True:
                state = self.api.run(dag, run)["state"]
                tasks = self.api.tasks(dag, run)
                found = {name: tasks.get(instances[name], {}) for name in stages}
                if live:
                    live.update(self._table(dag, found), refresh=True)
                else:
                    self._lines(found)
                if state in ("success", "failed"):
                    break
                time.sleep(POLL_SECONDS)
        for name in stages:
            record = read_json(State(self.root).records / f"{name}.json")
            if record.get("run") == f"{dag} {run}":
                self.ran.add(name)
        if state == "failed":
            raise Failed(self._failures(found))

    def _progress(self, stage: str) -> tuple[float, str]:
        note = read_json(State(self.root).records / f"{stage}.progress.json")
        return note.get("done", 0.0), note.get("what", "")

    def _table(self, dag: str, tasks: Mapping[str, Mapping[str, Any]]) -> Table:
        table = Table(
            title=f"{dag}: {_count(tasks)}", box=None, title_justify="left", pad_edge=False
        )
        for column in ("stage", "state", "seconds", "progress"):
            table.add_column(column, justify="right" if column == "seconds" else "left")
        for stage, task in tasks.items():
            state = task.get("state") or ""
            bar = ""
            if state == "running":
                done, what = self._progress(stage)
                bar = (
                    "█" * int(done * 20) + "·" * (20 - int(done * 20)) + f" {done:4.0%} {what[:40]}"
                )
            seconds = task.get("duration")
            mark = (
                OFF_MARK
                if state == "success" and why_off(self.root, stage)
                else MARKS.get(state, "")
            )
            table.add_row(stage, mark, f"{seconds:.1f}" if seconds else "", f"[cyan]{bar}[/]")
        return table

    def _lines(self, tasks: Mapping[str, Mapping[str, Any]]) -> None:
        """A line where a stage starts or ends, and now and then what the running ones do."""
        news = False
        for stage, task in tasks.items():
            state = task.get("state") or ""
            if state in ("running", "up_for_retry", *DONE) and self._told.get(stage) != state:
                self._told[stage] = state
                news = True
                seconds = (
                    f"{task['duration']:8.1f} s" if task.get("duration") and state in DONE else ""
                )
                word = {
                    "success": "done",
                    "running": "started",
                    "up_for_retry": "failed, tries again",
                }
                why = why_off(self.root, stage) if state == "success" else None
                told = f"off: {why}" if why else f"{word.get(state, state)}{seconds}"
                self._say(f"{_count(tasks):>8}  {stage:<24} {told}")
        if news:
            self._last = time.monotonic()
        elif time.monotonic() - self._last > PLAIN_SECONDS:
            self._last = time.monotonic()
            for stage, task in tasks.items():
                if task.get("state") == "running":
                    done, what = self._progress(stage)
                    self._say(f"{'':>8}  {stage:<24} {done:4.0%} {what}")

    def _say(self, line: str) -> None:
        self.out.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)

    def _failures(self, tasks: Mapping[str, Mapping[str, Any]]) -> str:
        state = State(self.root)
        texts = []
        for stage, task in tasks.items():
            if task.get("state") == "failed":
                note = read_json(state.records / f"{stage}.error.json")
                log = state.logs / f"{stage}.log"
                texts.append(_told(stage, note.get("class", "failed"), note.get("text", ""), log))
        hidden = processes.log_file(state, airflow.NAMES[1])
        return "\n\n".join(texts) or f"the run failed before a stage did; log: {hidden}"


def _told(stage: str, title: str, text: str, log: Path) -> str:
    """A failed stage: its last error in full, the end of what it printed, and its log.

    A stage that could not write its error down printed it: the end begins no later than the last traceback.
    """
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    traces = [at for at, line in enumerate(lines) if line.startswith(TRACEBACK)]
    first = min(len(lines) - TAIL, *traces[-1:]) if traces else len(lines) - TAIL
    shown = [line for line in lines[max(first, 0) :] if line not in text.splitlines()]
    return "\n".join(
        [
            f"{stage} failed: {title}",
            text,
            "",
            "the end of its log:",
            *(f"  {line}" for line in shown),
            f"log: {log}",
        ]
    )


def _count(tasks: Mapping[str, Mapping[str, Any]]) -> str:
    return f"{sum(task.get('state') in DONE for task in tasks.values())}/{len(tasks)}"


def read_json(path: Path) -> dict[str, Any]:
    """A file that another process renews, or nothing where it is not there."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}


def closing(root: Path, graph: Graph, ran: set[str]) -> Table:
    """One line a stage from its last record; `ran` are those of this run, the others did not change."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (
        "stage",
        "rows in",
        "rows out",
        "seconds",
        "MB",
        "metric",
        "value",
        "95 %",
        "baseline",
        "its value",
        "gain, 95 %",
    ):
        text = column in ("stage", "metric", "baseline")
        table.add_column(column, justify="left" if text else "right", no_wrap=True)
    for name in graph.nodes:
        record = read_json(State(root).records / f"{name}.json")
        if not record:
            table.add_row(name, style="dim")
            continue
        head = record["headline"]
        judged = (
            [
                head["metric"],
                f"{head['value']:.4f}",
                f"{head['low']:.4f}–{head['high']:.4f}",
                head["baseline"],
                f"{head['baseline_value']:.4f}",
                f"{head['gain_low']:+.4f} {head['gain_high']:+.4f}",
            ]
            if head
            else [OFF] * bool(why_off(root, name))
        )
        seconds = f"{record['seconds']:.1f}" if name in ran else "unchanged"
        table.add_row(
            name,
            f"{record['rows_in']:,}",
            f"{record['rows_out']:,}",
            seconds,
            f"{record['peak_memory_mb']:.0f}",
            *judged,
            style=None if name in ran else "dim",
        )
    return table


def why_off(root: Path, stage: str) -> str | None:
    """Why a stage is off, by what it wrote; None where it is not."""
    return absence(root / "data" / folder_of(stage))


def off_lines(root: Path, graph: Graph) -> list[str]:
    """For each reason why stages are off, a line that names it and them."""
    stages: dict[str, list[str]] = {}
    for name in graph.nodes:
        why = why_off(root, name)
        if why:
            stages.setdefault(why, []).append(name)
    return [f"off: {why}: {', '.join(names)}" for why, names in stages.items()]


def show_models(root: Path, out: Console) -> None:
    """The registered models with their aliases, and what was decided last on each."""
    from pipelines.promotion.registry import PREFIX, Registry

    journal = Journal(State(root))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("registered model", "versions", "aliases", "last decision"):
        table.add_column(column)
    for standing in Registry(State(root)).champions():
        aliases = ", ".join(f"{alias}: {one.number}" for alias, one in standing.aliases.items())
        line = journal.last(standing.name.removeprefix(PREFIX))
        decision = Text(f"{line['outcome']}: {line['reason']}" if line else "none")
        table.add_row(standing.name, str(standing.versions), aliases, decision)
    out.print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))

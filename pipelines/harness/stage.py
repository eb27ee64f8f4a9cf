"""The harness: what no stage should write again.

A stage is a function of a `Run` and its typed parameters::

    class SplitParams(Params):
        valid_days: int

    @stage
    def split(run: Run, params: SplitParams) -> None:
        events = read(run.input("validate/interactions/table.parquet"))
        write(..., run.output("recommending/train.parquet"))

    if __name__ == "__main__":
        split.main()

It runs as `python -m pipelines.split [INSTANCE]`, from `dvc repro` or by hand. The harness gives it the merged
parameters, seeds and thread counts, a lock, an MLflow run, progress, and a folder to build in that takes its
final name only when all declared outputs are there. Failures end with an exit status for each class.

What a shop does not have switches off the stages that need it, and no other: see `pipelines.harness.absent`.
"""

import contextlib
import ctypes
import fcntl
import json
import math
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, TypeVar

from pipelines.harness import space
from pipelines.harness.absent import OFF, Absent, absence, write_placeholder
from pipelines.harness.choice import begin, refuse_mixture
from pipelines.harness.documents import parse
from pipelines.harness.errors import BadConfig, Bug, MissingResource, VitrineError
from pipelines.harness.graph import Graph, Node, folder_of, read_graph
from pipelines.harness.params import Params, Tables, flat, read_params, read_tables, section
from pipelines.harness.state import State
from pipelines.harness.tracking import Tracker

T = TypeVar("T")
METRICS = "metrics.json"
DIGITS = 6
PLAIN_LINE_SECONDS = 10.0
PR_SET_PDEATHSIG = 1
UNLOCKED = "unlocked"
"""In the place of a hash of inputs: `dvc.lock` does not know them."""
CALLER_VARIABLE = "VITRINE_CALLER"
"""Names the process that stands behind `dvc`, where one does: `pipelines.run`."""
SHARED_VARIABLE = "VITRINE_SHARED_KB"
"""Tells a process that a warm interpreter forked how many kilobytes it began with: see `pipelines.services.warm`."""


@dataclass(frozen=True)
class Headline:
    """The one figure that a stage is judged by, against its baseline on the same rows.

    value, low, high: the metric with its 95 % interval. baseline: name of the baseline, baseline_value its metric.
    gain_low, gain_high: 95 % interval of the paired difference (ours less the baseline's).
    """

    metric: str
    value: float
    low: float
    high: float
    baseline: str
    baseline_value: float
    gain_low: float
    gain_high: float


@dataclass
class Run:
    """One execution of one stage.

    name: as in `dvc.yaml`. instance: what the stage was called with, or None. root: the project's folder.
    seed, threads, tables (where they are worked on): from `params.yaml`. tracker: its MLflow run.
    """

    name: str
    instance: str | None
    root: Path
    node: Node
    graph: Graph
    seed: int
    threads: int
    promotion: str
    profile: str
    tracker: Tracker
    partial: Path
    rows_in: int = 0
    rows_out: int = 0
    headline: Headline | None = None
    measures: dict[str, float] = field(default_factory=dict)
    absences: dict[str, str] = field(default_factory=dict)
    """Own outs that are placeholders, with the reason."""
    without: dict[str, str] = field(default_factory=dict)
    """What the stage went on without, with the reason."""
    fitted: str | None = None
    """Hash of the rows that the model of this stage was fitted and chosen on."""
    tables: Tables = field(default_factory=Tables)
    _said: float = 0.0

    @property
    def state(self) -> State:
        return State(self.root)

    def input(self, path: str) -> Path:
        """A file or folder under `data/` that another stage made.

        Raises `Bug` where `dvc.yaml` does not name it in this stage's deps, `MissingResource` where nothing is there,
        `Absent` where the shop does not have it: not to be caught, the stage is off then.
        """
        relative = f"data/{path}"
        if not self.node.reads(relative):
            raise Bug(f"{self.name} reads {relative}, which its deps in dvc.yaml do not name")
        full = self.root / relative
        for place in (full, *full.parents):
            if place == self.root / "data":
                break
            why = absence(place)
            if why:
                raise Absent(why)
        if not full.exists():
            raise MissingResource(f"{full} is missing: run `dvc repro {self.name}`")
        return full

    def optional(self, path: str) -> Path | None:
        """`input(path)` of a stage that can do without: None, said and noted, where the shop does not have it."""
        try:
            return self.input(path)
        except Absent as reason:
            self.miss(path, str(reason))
            return None

    def miss(self, what: str, why: str) -> None:
        """Note, and say once, that the stage goes on without `what`: an optional input, or a column of one."""
        if what not in self.without:
            self.without[what] = why
            self.say(f"goes on without {what}: {why}")

    def source_file(self, path: str) -> Path:
        """A file of the repository (not made by a stage) that the deps in `dvc.yaml` name."""
        if not self.node.reads(path):
            raise Bug(f"{self.name} reads {path}, which its deps in dvc.yaml do not name")
        return self.root / path

    def former(self, path: str) -> Path:
        """Where the output `path` of an earlier run lies, if it is still there: DVC keeps those with `persist: true`.

        What a stage makes must not depend on it; it may only spare the work of making it again.
        """
        return self.root / self.place / path

    def output(self, path: str) -> Path:
        """Where to write an output; it appears as `data/<stage>/<path>` when the stage is done."""
        full = self.partial / path
        full.parent.mkdir(parents=True, exist_ok=True)
        return full

    def absent(self, path: str, why: str) -> None:
        """Declare that the out `path` (as in `output`) is nothing the shop has: a placeholder stands for it.

        Stages that read it are off; this one is too where it is so of all its outs. In a folder, each file that
        another stage's deps name has its placeholder too: DVC runs no stage of which a dep is missing.
        """
        write_placeholder(self.partial / path, why)
        self.absences[path] = why
        inside = f"{self.place}{path}/"
        for dep in sorted({dep for node in self.graph.nodes.values() for dep in node.deps}):
            if dep.startswith(inside):
                write_placeholder(self.partial / dep.removeprefix(self.place), why)

    @property
    def place(self) -> str:
        """Where the stage's outs lie, with a slash at its end."""
        return f"data/{self.name.replace('@', '/')}/"

    @property
    def declared(self) -> set[str]:
        """The outs that `dvc.yaml` names, as in `output`; the file of figures is the harness' own."""
        return {out.removeprefix(self.place) for out in self.node.outs} - {METRICS}

    @property
    def off(self) -> bool:
        """Whether nothing is left to do: all outs are absent."""
        return bool(self.absences) and self.declared <= set(self.absences)

    def say(self, text: str) -> None:
        """One line on the log."""
        print(f"{self.name}: {text}", flush=True)

    def measure(self, name: str, value: float) -> None:
        """Keep a figure for `metrics.json` and MLflow. Raises `Bug` for NaN and infinities."""
        if not math.isfinite(value):
            raise Bug(f"{self.name}: the figure {name} is {value}")
        self.measures[name] = round(float(value), DIGITS)

    def judge(self, headline: Headline) -> None:
        """Keep the figure that this stage is judged by."""
        for name in ("value", "low", "high", "baseline_value", "gain_low", "gain_high"):
            if not math.isfinite(getattr(headline, name)):
                raise Bug(f"{self.name}: {headline.metric}: {name} is not a number")
        self.headline = headline

    def advance(self, done: float, what: str = "") -> None:
        """Tell how far the stage is: `done` from 0 to 1, `what` it is doing."""
        note: dict[str, Any] = {
            "stage": self.name,
            "done": round(min(max(done, 0.0), 1.0), 4),
            "what": what,
        }
        path = self.state.records / f"{self.name}.progress.json"
        _write_json(path, note)
        now = time.monotonic()
        if sys.stderr.isatty():
            width = int(note["done"] * 30)
            bar = "█" * width + "·" * (30 - width)
            print(f"\r{self.name} {bar} {done:4.0%} {what:<40}", end="", file=sys.stderr)
        elif now - self._said >= PLAIN_LINE_SECONDS:
            self._said = now
            self.say(f"{done:.0%} {what}")

    def progress(
        self,
        items: Iterable[T],
        what: str,
        total: int | None = None,
        span: tuple[float, float] = (0.0, 1.0),
    ) -> Iterator[T]:
        """Yield `items` while telling how far the stage is, as a share `span` of the whole."""
        if total is None:
            total = len(items)  # type: ignore[arg-type]
        last = 0.0
        for at, item in enumerate(items):
            now = time.monotonic()
            if now - last >= 0.5:
                last = now
                share = at / max(total, 1)
                self.advance(span[0] + (span[1] - span[0]) * share, what)
            yield item
        self.advance(span[1], what)


@dataclass(frozen=True)
class Stage:
    """A stage's function with its parameter type; `main` is its command line."""

    function: Callable[[Run, Any], None]
    section_name: str
    kind: type[Params]

    def main(self) -> NoReturn:
        """Run by the command line's words: no word, or the instance after `@`."""
        words = sys.argv[1:]
        if words and words[0] in ("-h", "--help"):
            print((sys.modules[self.function.__module__].__doc__ or "").strip())
            print("\nParameters (params.yaml):")
            for name, info in self.kind.model_fields.items():
                print(f"  {self.section_name}.{name}: {info.annotation} {info.description or ''}")
            sys.exit(0)
        if len(words) > 1:
            sys.exit(f"usage: python -m {self.function.__module__} [INSTANCE]")
        sys.exit(self.run(words[0] if words else None, Path.cwd()))

    def run(self, instance: str | None, root: Path) -> int:
        """Execute under the harness and return the exit status.

        The stage of an instance is named `SECTION@INSTANCE` (from `foreach`) or `SECTION-INSTANCE`.
        """
        die_with_parent()
        state = State(root)
        name = self.section_name
        if instance:
            looped = f"{name}@{instance}"
            name = looped if looped in read_graph(root).nodes else f"{name}-{instance}"
        try:
            with stage_lock(state, name):
                self._run(name, instance, root, state)
            return 0
        except Exception as error:
            full = space.full(error)
            if full is not None:
                return tell(state, name, MissingResource, disk_full(root, name, full))
            if isinstance(error, VitrineError):
                return tell(state, name, type(error), str(error))
            if isinstance(error, ChildProcessError):
                return tell(state, name, MissingResource, str(error))
            return tell(state, name, Bug, traceback.format_exc())

    def _run(self, name: str, instance: str | None, root: Path, state: State) -> None:
        started = time.time()
        clock = time.perf_counter()
        graph = read_graph(root)
        if name not in graph.nodes:
            raise BadConfig(f"dvc.yaml has no stage {name!r}; it has: {', '.join(graph.nodes)}")
        node = graph.nodes[name]
        document = read_params(root)
        params = section(document, self.section_name, self.kind)
        seed, threads = document["seed"], document["threads"]
        tables = read_tables(document)
        settle(seed, threads)
        target = root / "data" / folder_of(name)
        partial = root / "data" / ".partial" / name
        sweep(root, graph, name.partition("@")[0])
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        tags = {"profile": document["profile"], "inputs": inputs_hash(root, node)}
        logged = {**flat(params.model_dump()), "seed": seed, "threads": threads}
        tracking = Tracker(root, state, name, logged, tags)
        refuse_mixture(state, tracking.pipeline_run, document["profile"])
        begin(state, tracking.pipeline_run, document["profile"])
        with tracking as tracker:
            run = Run(
                name=name,
                instance=instance,
                root=root,
                node=node,
                graph=graph,
                seed=seed,
                threads=threads,
                promotion=document["promotion"],
                profile=document["profile"],
                tracker=tracker,
                partial=partial,
                tables=tables,
            )
            run.advance(0.0, "started")
            try:
                self.function(run, params)
            except Absent as reason:
                switch_off(run, str(reason))
            if sys.stderr.isatty():
                print(file=sys.stderr)
            _write_json(partial / METRICS, figures(run))
            check_outputs(run)
            check_modules(run)
            swap(partial, target)
            seconds = time.perf_counter() - clock
            record = {
                **figures(run),
                "stage": name,
                "profile": run.profile,
                "started": started,
                "seconds": round(seconds, 3),
                "peak_memory_mb": round(peak_memory_mb(), 1),
                "run": tracker.pipeline_run,
            }
            tracker.finish(record)
        _write_json(state.records / f"{name}.json", record)
        (state.records / f"{name}.progress.json").unlink(missing_ok=True)
        (state.records / f"{name}.error.json").unlink(missing_ok=True)
        print(closing_table(record), flush=True)


def stage(function: Callable[[Run, Any], None]) -> Stage:
    """Make a stage of a function `(run, params)`; its section and name are the function's, `_` as `-`."""
    kind = typing.get_type_hints(function).get("params", Params)
    return Stage(function, function.__name__.replace("_", "-"), kind)


def die_with_parent() -> None:
    """Have Linux kill this process when its parent dies, so that a killed `dvc` leaves no writer behind.

    A parent that died while this process was still importing is known by the caller above it, which is gone too.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        caller = os.environ.get(CALLER_VARIABLE)
        if caller and not Path("/proc", caller).exists():
            sys.exit(f"the process {caller} that started this stage is gone")


@contextlib.contextmanager
def stage_lock(state: State, name: str) -> Iterator[None]:
    """Hold the one lock of a stage; the kernel lets go of it however the process ends."""
    state.locks.mkdir(parents=True, exist_ok=True)
    with (state.locks / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{name}: another run of this stage is under way; waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def settle(seed: int, threads: int) -> None:
    """Seed every generator in use and fix the number of threads, so that equal runs give equal bytes."""
    random.seed(seed)
    # For libraries that a stage imports later; those already here are told below.
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    if "numpy" in sys.modules:
        import numpy as np
        from threadpoolctl import threadpool_limits

        np.random.seed(seed)  # noqa: NPY002 libraries still draw from it
        threadpool_limits(threads)
    if "torch" in sys.modules:
        import torch

        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        # As `use_deterministic_algorithms`, which brings in the compiler besides: seconds of each stage.
        torch.set_deterministic_debug_mode("warn")
        # It would write NaN into all memory before it is used: that finds errors, changes no result, and takes time.
        # Types don't see a property of a module's class.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def inputs_hash(root: Path, node: Node) -> str:
    """One hash over what `dvc.lock` knows of this stage's data inputs; `unlocked` where one is not in it.

    The stages that made them ran before, so that their hashes stand there: no file is read again.
    """
    import hashlib

    lock = root / "dvc.lock"
    if not lock.exists():
        return UNLOCKED
    document = parse(lock.read_text(encoding="utf-8"))
    known = {
        out["path"]: out.get("md5", "")
        for entry in document.get("stages", {}).values()
        for out in entry.get("outs", [])
    }
    data = sorted(dep for dep in node.deps if dep.startswith("data/"))
    digest = hashlib.sha256()
    for dep in data:
        inside = [path for path in known if path == dep or path.startswith(f"{dep}/")]
        around = [path for path in known if dep.startswith(f"{path}/")]
        if not inside and not around:
            return UNLOCKED
        for path in sorted(inside + around):
            digest.update(f"{path} {known[path]}\n".encode())
    return digest.hexdigest()[:16]


def switch_off(run: Run, why: str) -> None:
    """Put a placeholder in the place of every out; nothing that was written before is kept."""
    shutil.rmtree(run.partial)
    run.partial.mkdir()
    run.rows_in = run.rows_out = 0
    run.headline = None
    run.measures.clear()
    for out in sorted(run.declared):
        run.absent(out, why)


def figures(run: Run) -> dict[str, Any]:
    """What `metrics.json` holds: figures of quality and rows, what was absent; no time and no memory."""
    headline = None
    if run.headline:
        headline = {
            key: round(value, DIGITS) if isinstance(value, float) else value
            for key, value in vars(run.headline).items()
        }
    return {
        "rows_in": run.rows_in,
        "rows_out": run.rows_out,
        "headline": headline,
        "fitted": run.fitted,
        "measures": run.measures,
        "status": OFF if run.off else "done",
        "why": "; ".join(dict.fromkeys(run.absences.values())) if run.off else None,
        "absent": {} if run.off else run.absences,
        "without": {} if run.off else run.without,
    }


def check_outputs(run: Run) -> None:
    """Raise `Bug` where the outputs written are not those that `dvc.yaml` declares."""
    declared = run.declared | {METRICS}
    strangers = [out for out in run.node.outs if not out.startswith(run.place)]
    if strangers:
        raise Bug(f"dvc.yaml: outs of {run.name} must lie in {run.place}: {', '.join(strangers)}")
    absent = sorted(out for out in declared if not (run.partial / out).exists())
    if absent:
        raise Bug(f"{run.name} did not write {', '.join(absent)}, which dvc.yaml declares")
    for path in sorted(run.partial.rglob("*")):
        name = path.relative_to(run.partial).as_posix()
        if path.is_file() and not any(
            name == out or name.startswith(f"{out}/") for out in declared
        ):
            raise Bug(f"{run.name} wrote {name}, which dvc.yaml does not declare")


def check_modules(run: Run) -> None:
    """Raise `Bug` where the process imported a module of ours that the stage's deps do not name."""
    home = f"{run.root}{os.sep}"
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not file or not file.startswith(home):
            continue
        relative = Path(file).relative_to(run.root).as_posix()
        ours = relative.startswith(("pipelines/", "models/"))
        if ours and not bare(module) and not run.node.reads(relative):
            raise Bug(f"{run.name} runs {relative}: name it in the stage's deps in dvc.yaml")


def bare(module: ModuleType) -> bool:
    """Whether a package holds nothing but its modules, so that nothing can come out otherwise by what it says itself."""
    held = [value for name, value in vars(module).items() if not name.startswith("__")]
    return hasattr(module, "__path__") and all(isinstance(value, ModuleType) for value in held)


def sweep(root: Path, graph: Graph, stage: str) -> None:
    """Remove what instances of a `foreach` stage left that `dvc.yaml` names no more: nobody takes it for a part of all."""
    folder, instances = root / "data" / stage, graph.instances(stage)
    if instances and folder.exists():
        named = {name.partition("@")[2] for name in instances}
        for path in folder.iterdir():
            if path.name in named:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def swap(partial: Path, target: Path) -> None:
    """Give the finished folder its final name; what had that name is removed after, never before."""
    target.parent.mkdir(parents=True, exist_ok=True)
    old = partial.with_name(f"{partial.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def peak_memory_mb() -> float:
    """Largest resident size of this process or a child of it, in megabytes; without what a warm interpreter shares."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Until it becomes another program, a child holds what its parent does: that which is shared, too.
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return (max(own, children) - int(os.environ.get(SHARED_VARIABLE, "0"))) / 1024


def disk_full(root: Path, name: str, error: BaseException) -> str:
    """What to tell about a full disk: where, what is free, what this stage had written and what it needs."""
    partial = root / "data" / ".partial" / name
    written = space.size(partial)
    before = space.size(root / "data" / folder_of(name))
    where = space.place(error, partial, State(root).mlflow / "mlflow.db")
    text = space.told(where, written, max(before, written) + written)
    shutil.rmtree(partial, ignore_errors=True)
    return text


def closing_table(record: dict[str, Any]) -> str:
    """The lines that a stage ends with."""
    if record["status"] == OFF:
        return f"{record['stage']}: off: {record['why']}"
    lines = [
        f"{record['stage']}: done",
        f"  rows in      {record['rows_in']:>12,}",
        f"  rows out     {record['rows_out']:>12,}",
        f"  seconds      {record['seconds']:>12,.1f}",
        f"  peak memory  {record['peak_memory_mb']:>12,.0f} MB",
    ]
    head = record["headline"]
    if head:
        lines.append(
            f"  {head['metric']:<12} {head['value']:>12.4f} [{head['low']:.4f}, {head['high']:.4f}]"
        )
        lines.append(
            f"  {head['baseline']:<12} {head['baseline_value']:>12.4f} "
            f"difference [{head['gain_low']:+.4f}, {head['gain_high']:+.4f}]"
        )
    lines += [f"  off          {out}: {why}" for out, why in sorted(record["absent"].items())]
    lines += [f"  without      {path}: {why}" for path, why in sorted(record["without"].items())]
    return "\n".join(lines)


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False)
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def tell(state: State, name: str, kind: type[VitrineError], text: str) -> int:
    """Print how a stage failed, keep it for whoever asks, and return the exit status of its class."""
    print(f"{name}: {kind.title}: {text}", file=sys.stderr, flush=True)
    note = {
        "stage": name,
        "class": kind.title,
        "text": text,
        "exit_code": kind.exit_code,
        "at": time.time(),
    }
    with contextlib.suppress(OSError):  # a full disk must not hide the message just printed
        _write_json(state.records / f"{name}.error.json", note)
    return kind.exit_code

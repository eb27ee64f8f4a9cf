"""What Airflow costs beyond the work: `python -m benchmarks.orchestration [--profile P]`.

In the same minutes, on the same machine: the stages of the train DAG one after another, each in a fresh process and
nothing around it; then the same stages, all forced, through Airflow and DVC as `make demo` runs them, forked from a
warm interpreter. The work alone is what the stages of the first run say of themselves: without the start of the
interpreter and its imports.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines.harness.graph import Graph, read_graph
from pipelines.harness.state import State
from pipelines.run import chosen
from pipelines.services import airflow, processes, warm
from pipelines.services.airflow import Api

DAG = "train"
OWNER = "benchmark"
POLL_SECONDS = 2.0
SLACK = 1.25
STAGE_SECONDS = 2.0


def stages_of(graph: Graph, dag: str) -> list[str]:
    """The stages of one DAG, each after those that it needs."""
    order: list[str] = []

    def visit(name: str) -> None:
        for source, target in graph.edges():
            if target == name and source not in order:
                visit(source)
        if name not in order:
            order.append(name)

    for name in graph.nodes:
        visit(name)
    return [name for name in order if graph.nodes[name].meta["dag"] == dag]


def longest_path(graph: Graph, seconds: Mapping[str, float]) -> tuple[float, list[str]]:
    """The chain of stages that takes longest, and how long."""
    edges = graph.edges()
    best: dict[str, tuple[float, list[str]]] = {}
    for name in (one for one in stages_of(graph, DAG) if one in seconds):
        before = [best[source] for source, target in edges if target == name and source in best]
        length, path = max(before, default=(0.0, []))
        best[name] = (length + seconds[name], [*path, name])
    return max(best.values())


def one_after_another(root: Path, graph: Graph, stages: list[str]) -> dict[str, float]:
    """Wall seconds of each stage in a fresh process."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "VITRINE_RUN": f"benchmark {time.time():.0f}"}
    found = {}
    for name in stages:
        started = time.perf_counter()
        subprocess.run(
            ["/bin/sh", "-c", graph.nodes[name].cmd],
            cwd=root,
            env=environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        found[name] = time.perf_counter() - started
    return found


def work(root: Path, stages: list[str]) -> dict[str, float]:
    """Seconds that each stage says that it worked."""
    records = State(root).records
    return {
        name: json.loads((records / f"{name}.json").read_text("utf-8"))["seconds"]
        for name in stages
    }


def through_airflow(root: Path, conf: Mapping[str, Any]) -> float:
    """Wall seconds of one forced run, from its start to its end as Airflow tells."""
    state = State(root)
    try:
        warm.start(state, OWNER)
        api = Api(airflow.start(state, OWNER)[0].port)
        while DAG not in api.dags():
            time.sleep(POLL_SECONDS)
        run = api.trigger(DAG, {**conf, "force": True})
        while (found := api.run(DAG, run))["state"] not in ("success", "failed"):
            time.sleep(POLL_SECONDS)
        if found["state"] == "failed":
            raise SystemExit(f"the run failed; logs: {state.logs}")
        times = [datetime.fromisoformat(found[key]) for key in ("start_date", "end_date")]
        return (times[1] - times[0]).total_seconds()
    finally:
        mine = [processes.running(state, name) for name in (warm.NAME, *airflow.NAMES)]
        processes.stop(state, [one.name for one in mine if one and one.owner == OWNER])


def main(words: list[str], root: Path) -> int:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orchestration", description=__doc__)
    parser.add_argument("--profile", default="smoke")
    asked = parser.parse_args(words)
    if processes.running(State(root), airflow.NAMES[0]):
        raise SystemExit("Airflow is up: stop it (make down), it would share the cores")
    with chosen(root, {"profile": asked.profile}):
        graph = read_graph(root)
        stages = stages_of(graph, DAG)
        serial = one_after_another(root, graph, stages)
        alone = work(root, stages)
    wall = through_airflow(root, {"profile": asked.profile})
    cores = len(os.sched_getaffinity(0))
    length, path = longest_path(graph, alone)
    target = SLACK * length + STAGE_SECONDS * len(stages)
    rows = {
        f"through Airflow and DVC, {airflow.parallelism()} at a time": wall,
        "one after another, a fresh process each": sum(serial.values()),
        "the longest path of those processes": longest_path(graph, serial)[0],
        "the work alone, summed": sum(alone.values()),
        f"the work alone, shared by {cores} cores without loss": sum(alone.values()) / cores,
        "the longest path of the work alone": length,
        f"target: {SLACK} x that + {STAGE_SECONDS:.0f} s x {len(stages)} stages": target,
    }
    table = Table(title=f"{len(stages)} stages, profile {asked.profile}, {cores} cores")
    table.add_column("what")
    table.add_column("seconds", justify="right")
    table.add_column("Airflow / this", justify="right")
    for what, seconds in rows.items():
        table.add_row(what, f"{seconds:.1f}", f"{wall / seconds:.2f}")
    out = Console(width=None if sys.stdout.isatty() else 110)
    out.print(table)
    out.print("the longest path:", " > ".join(path), highlight=False)
    return 0 if wall <= target else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))

"""What the DAGs share: a task that runs one stage, and the tasks and edges of several."""

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from dags.incidents import Incidents
from pipelines.harness.errors import BadConfig, BadData
from pipelines.harness.graph import Graph, Node
from pipelines.harness.params import read_params
from pipelines.services.airflow_connections import addresses

ROOT = Path(__file__).resolve().parent.parent
CHOSEN = ("profile", "promotion")
DEFAULTS = {
    "on_failure_callback": [Incidents(ROOT)],
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=5),
    "execution_timeout": timedelta(hours=1),
}
"""Of every task: who is told of a failure, how long it waits before it is tried again (twice as long each time), and how
long it may take where it doesn't say so itself."""


class Stage(BaseOperator):
    """Runs one stage of `dvc.yaml` as `python -m pipelines.run` does."""

    ui_color = "#e8f1fa"

    def __init__(
        self, *, stage: str, connections: dict[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(**more)
        self.stage = stage
        self.connections = connections or {}
        self._running: Any = None

    def execute(self, context: Context) -> None:
        """Run the stage with the choices of the run. Data and settings that are wrong are not tried again."""
        from pipelines.harness import connections
        from pipelines.run import StageRun

        wanted = connections.wanted(ROOT, self.stage)
        # "" for those that Airflow does not have: the stage, which may not ask, says so.
        handed = {**dict.fromkeys(wanted, ""), **addresses({**wanted, **self.connections})}
        os.environ.update(handed)
        run = context["dag_run"]
        asked = {**handed_on(context), **(run.conf or {})}
        self._running = StageRun(
            root=ROOT,
            name=self.stage,
            choice=choices(asked),
            force=bool(asked.get("force")),
            run=f"{run.dag_id} {run.run_id}",
        )
        outcome = self._running.execute()
        if not outcome.code:
            for outlet in self.outlets:
                context["outlet_events"][outlet].extra.update(choices(read_params(ROOT)))
            return
        text = f"{self.stage}: {outcome.title}: {outcome.text}\nlog: {outcome.log}"
        if outcome.code in (BadData.exit_code, BadConfig.exit_code):
            raise AirflowFailException(text)
        raise RuntimeError(text)

    def on_kill(self) -> None:
        """End the stage with its task."""
        if self._running:
            self._running.kill()


def choices(given: Mapping[str, Any]) -> dict[str, str]:
    """Of what a form or `params.yaml` says, what is chosen for a whole run."""
    return {key: given[key] for key in CHOSEN if given.get(key)}


def handed_on(context: Context) -> dict[str, str]:
    """The choices of the run that set this one going; empty where nobody did. Another worker may know no others."""
    for events in (context.get("triggering_asset_events") or {}).values():
        for event in events:
            return choices(event.extra)
    return {}


def placed(node: Node) -> dict[str, Any]:
    """How a stage's task runs, as its `meta` says: tries, seconds, and the pool that it takes a slot of."""
    return {
        "retries": node.meta["retries"],
        "execution_timeout": timedelta(seconds=node.meta["timeout"]),
        "pool": node.meta.get("pool", "default_pool"),
    }


def asset(node: Node) -> Asset:
    """What a stage with `meta.asset` says that it updated."""
    return Asset(f"{node.meta['asset']}-{node.task}")


def draw(
    graph: Graph, wanted: Mapping[str, Node], more: Callable[[list[Node]], dict[str, Any]]
) -> None:
    """Make the tasks of stages, and the edges between them, in the DAG that is being made.

    A stage is a task; the instances of one with `meta.mapped` are one mapped task, each shown by its name. more: what a
    task gets besides how it runs, by its stages.
    """
    stages: dict[str, list[Node]] = {}
    for node in wanted.values():
        stages.setdefault(node.task, []).append(node)
    tasks = {}
    for name, nodes in stages.items():
        first = nodes[0]
        about = {"task_id": name, **placed(first), **more(nodes)}
        if first.mapped:
            mapped = Stage.partial(map_index_template="{{ task.stage }}", **about)
            tasks[name] = mapped.expand(stage=[node.name for node in nodes])
        else:
            tasks[name] = Stage(stage=first.name, **about)
    edges = [
        (source, target) for source, target in graph.edges() if {source, target} <= wanted.keys()
    ]
    for source, target in dict.fromkeys((wanted[a].task, wanted[b].task) for a, b in edges):
        tasks[source] >> tasks[target]


def promotions(graph: Graph) -> dict[str, Node]:
    """Capability to the stage that decides on its champion: those with `meta.asset`."""
    return {
        node.name.partition("@")[2]: node for node in graph.nodes.values() if "asset" in node.meta
    }


def following(graph: Graph) -> list[str]:
    """The DAGs that wait for the promotions."""
    deciding = {node.name for node in promotions(graph).values()}
    own = {graph.nodes[name].meta["dag"] for name in deciding}
    below = (graph.nodes[target].meta["dag"] for name, target in graph.edges() if name in deciding)
    return sorted(set(below) - own)

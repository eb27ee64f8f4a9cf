"""What runs every day beside the pipeline: data taken anew and looked at, lists as of the day.

| DAG | when | what |
|---|---|---|
| monitor | 02:00 UTC | takes the data anew, looks at them and at what users did since, tells of alarms, starts training |
| lists | 04:00 UTC | everybody's list as of that day, with the champion, and the features of users and items; for past days by Airflow's own backfill |
| retention | Sundays, 05:00 UTC | removes what no rule keeps; the form's dry run only names it |

They are paused until `make daily` or a switch on Airflow's page sets them going. Nothing is done twice: stages whose inputs did not change end at once, lists that are there are not made again.
"""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import (
    DAG,
    BaseOperator,
    Context,
    CronTriggerTimetable,
    Param,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from dags.incidents import tell
from dags.stages import DEFAULTS, ROOT, draw, promotions
from pipelines.harness.errors import BadConfig, BadData
from pipelines.harness.graph import Graph, read_graph
from pipelines.harness.state import State
from pipelines.services.airflow import HEAVY
from pipelines.services.airflow_connections import addresses

START = datetime(2015, 1, 1, tzinfo=UTC)
"""No backfill goes further back than this."""


class Verb(BaseOperator):
    """Runs `python -m module words…` in the project's folder; words may hold Airflow's templates."""

    template_fields = ("words",)
    ui_color = "#eef6e8"

    def __init__(
        self,
        *,
        module: str,
        words: list[str] | None = None,
        connections: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.module = module
        self.words = words or []
        self.connections = connections or {}
        self._child: subprocess.Popen[str] | None = None

    def execute(self, context: Context) -> None:
        """What it prints is the task's log. Data and settings that are wrong are not tried again."""
        from pipelines.run import without_secrets

        words = [word for word in self.words if word]
        self._child = subprocess.Popen(
            [sys.executable, "-m", self.module, *words],
            cwd=ROOT,
            env={**without_secrets(), **addresses(self.connections)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        lines: list[str] = []
        try:
            for line in self._child.stdout or ():
                print(line, end="", flush=True)
                lines = [*lines[-19:], line]
            code = self._child.wait()
        finally:
            self.on_kill()
        if code in (BadData.exit_code, BadConfig.exit_code):
            raise AirflowFailException("".join(lines))
        if code:
            raise RuntimeError("".join(lines) or f"{self.module} ended with {code}")

    def on_kill(self) -> None:
        """End the process with its task."""
        if self._child:
            self._child.kill()
            self._child.wait()


@task
def alarm(report: str) -> None:
    """Tell of the newest look's alarms by the web hook; skipped where there is none that was not told of."""
    found = json.loads(Path(report).read_text("utf-8"))
    if not found["news"]:
        raise AirflowSkipException("no alarm that was not told of")
    context = get_current_context()
    lines = "\n".join(found["news"])
    tell(State(ROOT), context, context["ti"].task_id, "monitor", lines, report)


@task.short_circuit
def asked(report: str) -> bool:
    """Whether the newest look asks for training."""
    return bool(json.loads(Path(report).read_text("utf-8"))["train"])


def waiting(name: str, about: str, cron: str, **more: Any) -> DAG:
    """A DAG by the clock, in UTC as cron writes it, that is paused until somebody sets it going."""
    return DAG(
        dag_id=name,
        description=about,
        doc_md=__doc__,
        schedule=CronTriggerTimetable(cron, timezone="UTC"),
        catchup=False,
        max_active_runs=1,
        default_args=DEFAULTS,
        is_paused_upon_creation=True,
        tags=["vitrine"],
        **more,
    )


def make_monitor(graph: Graph) -> DAG:
    """Takes the data anew, looks, tells, and starts the DAG that decides on champions where it is asked for."""
    report = str(State(ROOT).home / "monitor" / "newest.json")
    nodes = {name: node for name, node in graph.nodes.items() if node.meta.get("daily")}
    training = next(iter(promotions(graph).values())).meta["dag"]
    with waiting("monitor", "take the data anew and look at them", "0 2 * * *") as dag:
        draw(graph, nodes, lambda _: {})
        taken = list(dag.tasks)
        look = Verb(
            task_id="look",
            module="pipelines.monitor",
            words=["--tell"],
            retries=1,
            execution_timeout=timedelta(minutes=30),
            pool=HEAVY,
        )
        [one for one in taken if not one.downstream_list] >> look
        look >> alarm(report)
        look >> asked(report) >> TriggerDagRunOperator(task_id="start", trigger_dag_id=training)
    return dag


def make_lists() -> DAG:
    """Everybody's list, and the features of users and items, as of the run's moment; the DAG to backfill."""
    about = "everybody's list, and users' and items' features, as of a day"
    moment = "{{ (dag_run.logical_date or dag_run.run_after).isoformat() }}"
    with waiting("lists", about, "0 4 * * *", start_date=START) as dag:
        made = Verb(
            task_id="make",
            module="pipelines.backfill",
            words=[moment],
            retries=1,
            execution_timeout=timedelta(hours=1),
            pool=HEAVY,
        )
        Verb(
            task_id="features",
            module="pipelines.past_features",
            words=[moment],
            retries=1,
            execution_timeout=timedelta(hours=1),
            pool=HEAVY,
        )
        made >> Verb(
            task_id="table",
            module="pipelines.lists_table",
            connections={"VITRINE_LISTS_URL": "vitrine_lists"},
            retries=2,
            execution_timeout=timedelta(hours=1),
        )
    return dag


def make_retention() -> DAG:
    """Removes what no rule keeps."""
    dry_run = Param(False, type="boolean", title="Dry run", description="Only name what would go.")
    about, params = "remove what no rule keeps", {"dry_run": dry_run}
    with waiting("retention", about, "0 5 * * 0", params=params) as dag:
        Verb(
            task_id="clean",
            module="pipelines.retention",
            words=["{{ '--dry-run' if params.dry_run else '' }}"],
            execution_timeout=timedelta(hours=1),
        )
    return dag


def make_dags() -> list[DAG]:
    """All three, those that need stages which decide on champions only where the graph has them."""
    graph = read_graph(ROOT)
    monitor = [make_monitor(graph)] if promotions(graph) else []
    return [*monitor, make_lists(), make_retention()]


globals().update({dag.dag_id: dag for dag in make_dags()})

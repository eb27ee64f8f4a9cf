"""A person decides: `promote` asks about every challenger that waits, `rollback` brings the champion before back.

With promotion set to `ask`, a run of the pipeline leaves a better model as challenger, and `promote` asks about it under
"Required Actions", with its figures against the champion's on the same test rows. The answer goes into the journal
with the name of who gave it; then lists and report are made with the new champion.

| field | what it does |
|---|---|
| capability | which model; `promote` takes all that wait, or one, even if a run refused its challenger |
| because | the reason, as the journal keeps it |
"""

import subprocess
import sys
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param, TriggerRule, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from dags.stages import DEFAULTS, ROOT, asset, following, promotions
from pipelines.harness.graph import Graph, read_graph
from pipelines.harness.state import State
from pipelines.journal import Journal
from pipelines.services.airflow import HEAVY

ALL = "all that wait"
APPROVE, REJECT = "Approve", "Reject"
SECONDS = 300


@task
def waiting(capabilities: list[str]) -> list[dict[str, str]]:
    """What a person is asked in this run; skipped where nothing waits."""
    from pipelines.verdict import requests

    chosen = get_current_context()["params"]["capability"]
    names = capabilities if chosen == ALL else [chosen]
    found = requests(Journal(State(ROOT)), names, refused=chosen != ALL)
    if not found:
        raise AirflowSkipException("no challenger waits for a person")
    return found


@task
def settle(asked: tuple[dict[str, str], dict[str, Any]]) -> str:
    """Write the answer down and move the aliases at once; returns whose."""
    request, answer = asked
    name = request["capability"]
    action = "approve" if APPROVE in answer["chosen_options"] else "reject"
    why = answer["params_input"].get("because") or "decided in Airflow"
    who = (answer.get("responded_by_user") or {}).get("name") or "a person in Airflow"
    return decide(action, name, who, why, "--bundle", request["bundle"])


@task
def roll_back() -> str:
    """Take the champion back at once; returns whose."""
    params = get_current_context()["params"]
    who = get_current_context()["dag_run"].triggering_user_name or "a person in Airflow"
    return decide("rollback", params["capability"], who, params["because"])


def decide(action: str, name: str, who: str, why: str, *more: str) -> str:
    """One person's word on a capability by the command line's code; returns the capability."""
    words = ["-m", "pipelines.verdict", action, name, "--who", who, "--because", why, *more]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        raise AirflowFailException(done.stderr or done.stdout)
    print(done.stdout)
    return name


@task(pool=HEAVY)
def see(capability: str, stages: dict[str, str]) -> None:
    """Let the capability's stage see what stands now, and write the receipt. It loads models: it waits for a slot."""
    from pipelines.run import StageRun

    run, stage = get_current_context()["dag_run"], stages[capability]
    outcome = StageRun(root=ROOT, name=stage, run=f"{run.dag_id} {run.run_id}").execute()
    if outcome.code:
        raise RuntimeError(f"{stage}: {outcome.title}: {outcome.text}\nlog: {outcome.log}")


@task_group
def decided(asked: tuple[dict[str, str], dict[str, Any]], stages: dict[str, str]) -> None:
    """One answer: a decision waits for no slot, what follows from it does."""
    see(settle(asked), stages)


def because() -> Param:
    """The reason that a person gives."""
    return Param("decided by a person", type="string", title="Because", minLength=1)


def choice(names: list[str], first: str) -> Param:
    """The capability that is decided on."""
    return Param(
        first,
        type="string",
        enum=names,
        title="Capability",
        description="Whose model is decided on.",
    )


def make_promote(graph: Graph) -> DAG:
    """Asks a person about challengers; started by every run of the pipeline, or by hand."""
    nodes = promotions(graph)
    with DAG(
        dag_id="promote",
        description="ask a person about challengers",
        doc_md=__doc__,
        schedule=[asset(node) for node in nodes.values()],
        catchup=False,
        max_active_runs=1,
        default_args=DEFAULTS,
        is_paused_upon_creation=False,
        params={"capability": choice([ALL, *nodes], ALL)},
        tags=["vitrine"],
    ) as dag:
        found = waiting(list(nodes))
        answers = HITLOperator.partial(
            task_id="ask",
            execution_timeout=None,  # a person takes as long as a person takes
            options=[APPROVE, REJECT],
            params={"because": because()},
        ).expand_kwargs(found.map(_question))
        told = decided.partial(stages=_stages(graph)).expand(asked=found.zip(answers.output))
        told >> _lists(graph)
    return dag


def make_rollback(graph: Graph) -> DAG:
    """Brings a champion back; by hand alone."""
    nodes = promotions(graph)
    with DAG(
        dag_id="rollback",
        description="bring the champion before this one back",
        doc_md=__doc__,
        schedule=None,
        max_active_runs=1,
        default_args=DEFAULTS,
        is_paused_upon_creation=False,
        params={"capability": choice(list(nodes), next(iter(nodes))), "because": because()},
        tags=["vitrine"],
    ) as dag:
        see(roll_back(), _stages(graph)) >> _lists(graph)
    return dag


def _question(request: dict[str, str]) -> dict[str, str]:
    return {"subject": request["subject"], "body": request["body"]}


def _stages(graph: Graph) -> dict[str, str]:
    return {name: node.name for name, node in promotions(graph).items()}


def _lists(graph: Graph) -> list[TriggerDagRunOperator]:
    """Start the DAGs that work with the champions."""
    return [
        TriggerDagRunOperator(
            task_id=f"start-{name}",
            trigger_dag_id=name,
            trigger_rule=TriggerRule.ONE_SUCCESS,
        )
        for name in following(graph)
    ]


def make_dags() -> list[DAG]:
    """Both, made from the stages that decide on champions."""
    graph = read_graph(ROOT)
    return [make_promote(graph), make_rollback(graph)]


globals().update({dag.dag_id: dag for dag in make_dags()})

"""The shop's pipeline: data in, validated, models trained, judged, promoted; lists and the report out.

Each task instance is one stage of `dvc.yaml`, run by DVC: what did not change is not done again, so that a run may be started
at any time. The form's choices are written to `params.yaml` before the first stage; a run that another one started
takes those of that run over.

| field | what it does |
|---|---|
| profile | how much data and how many epochs |
| promotion | a better model becomes champion by itself, after a person approved it, or not at all |
| force | run every stage though nothing changed |

A failed task says what, where and how to mend it at the end of its log. Clear it, and the run goes on from there.
"""

from typing import Any

from airflow.sdk import DAG, Param, TaskGroup

from dags.stages import DEFAULTS, ROOT, asset, draw
from pipelines.harness.graph import Graph, Node, read_graph
from pipelines.harness.params import PROMOTIONS, read_params


def documentation(nodes: list[Node]) -> str:
    """A task's page: what it does, its command, what it reads and writes; of a mapped one, those of all instances."""
    reads = dict.fromkeys(path for node in nodes for path in node.deps)
    return "\n\n".join(
        [
            *dict.fromkeys(node.desc for node in nodes),
            *(f"`{node.cmd}`" for node in nodes),
            "**reads**\n" + "\n".join(f"- `{path}`" for path in reads),
            "**writes**\n" + "\n".join(f"- `{path}`" for node in nodes for path in node.outs),
        ]
    )


def form(params: dict[str, Any]) -> dict[str, Param]:
    """The fields that are asked when a run is started by hand."""
    return {
        "profile": Param(
            params["profile"],
            type="string",
            enum=list(params["profiles"]),
            title="Profile",
            description="How much data and how many epochs.",
        ),
        "promotion": Param(
            params["promotion"],
            type="string",
            enum=list(PROMOTIONS),
            title="Promotion",
            description="Whether a better model becomes champion by itself.",
        ),
        "force": Param(
            False,
            type="boolean",
            title="Force",
            description="Run every stage though nothing changed.",
        ),
    }


def make_dag(name: str, graph: Graph, params: dict[str, Any]) -> DAG:
    """The DAG of all stages whose `meta.dag` is `name`.

    It is started by the assets of the stages of other DAGs that it reads from, once all of them were updated.
    """
    own = {stage: node for stage, node in graph.nodes.items() if node.meta["dag"] == name}
    above = {source for source, target in graph.edges() if target in own and source not in own}
    awaited = [
        asset(node)
        for stage, node in graph.nodes.items()
        if stage in above and "asset" in node.meta
    ]
    with DAG(
        dag_id=name,
        description=f"{len(own)} stages of dvc.yaml",
        doc_md=__doc__,
        schedule=awaited or None,
        catchup=False,
        max_active_runs=1,
        default_args=DEFAULTS,
        is_paused_upon_creation=False,
        params=form(params),
        tags=["vitrine"],
    ) as dag:
        groups = {node.meta["group"]: None for node in own.values()}
        groups = {group: TaskGroup(group, prefix_group_id=False) for group in groups}
        draw(
            graph,
            own,
            lambda nodes: {
                "task_group": groups[nodes[0].meta["group"]],
                "connections": nodes[0].meta.get("connections"),
                "doc_md": documentation(nodes),
                "outlets": [asset(nodes[0])] if "asset" in nodes[0].meta else [],
            },
        )
    return dag


def make_dags() -> dict[str, DAG]:
    """One DAG for each value of `meta.dag`."""
    graph, params = read_graph(ROOT), read_params(ROOT)
    names = dict.fromkeys(node.meta["dag"] for node in graph.nodes.values())
    return {name: make_dag(name, graph, params) for name in names}


globals().update(make_dags())

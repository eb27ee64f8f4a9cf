"""The DAGs are the graph of `dvc.yaml`, no more and no less."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.harness.graph import Graph, read_graph
from pipelines.services import airflow, stack
from tests.conftest import REPOSITORY
from tests.dags.snippets import run_snippet

DUMP = """
import json, pathlib, runpy, sys
from airflow.sdk import DAG
import dags.stages
dags.stages.ROOT = pathlib.Path(sys.argv[3])
space = runpy.run_path(sys.argv[2])
heavy = [name for name in ("torch", "mlflow", "dvc", "pandas", "great_expectations") if name in sys.modules]
def stages(task):
    if task.is_mapped:
        return task.expand_input.value.get("stage", []) if task.task_type == "Stage" else []
    return [task.stage] if hasattr(task, "stage") else []

found = {}
for dag in {id(value): value for value in space.values() if isinstance(value, DAG)}.values():
    condition = getattr(dag.timetable, "asset_condition", None)
    found[dag.dag_id] = {
        "tasks": {
            task.task_id: {
                "stages": stages(task),
                "label": getattr(task, "map_index_template", None),
                "below": sorted(task.downstream_task_ids),
                "retries": task.retries,
                "pool": task.pool,
                "slots": task.pool_slots,
                "kind": task.task_type,
                "waits": bool(getattr(task, "wait_for_completion", False)),
                "longer": float(task.retry_exponential_backoff),
                "told": [type(one).__name__ for one in task.on_failure_callback],
                "timeout": task.execution_timeout.total_seconds() if task.execution_timeout else None,
                "doc": task.doc_md,
                "outlets": [asset.name for asset in task.outlets],
                "group": task.task_group.group_id,
            }
            for task in dag.tasks
        },
        "awaits": sorted(asset.name for asset in condition.objects) if condition else [],
        "schedule": type(dag.timetable).__name__,
        "schemas": {name: vars(dag.params.get_param(name))["schema"] for name in dag.params},
        "doc": dag.doc_md,
        "paused": dag.is_paused_upon_creation,
        "runs": dag.max_active_runs,
    }
json.dump({"dags": found, "heavy": heavy}, open(sys.argv[1], "w"))
"""


@pytest.fixture(scope="module")
def graph() -> Graph:
    return read_graph(REPOSITORY)


def read(file: str, home: Path, root: Path = REPOSITORY) -> dict[str, Any]:
    """The DAGs of a file as a process of their own reads them, without Airflow's database. root: of the project."""
    run_snippet(DUMP, str(home / "dags.json"), file, str(root), cwd=REPOSITORY, home=home)
    return json.loads((home / "dags.json").read_text())


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return read("dags/vitrine.py", tmp_path_factory.mktemp("airflow"))


@pytest.fixture(scope="module")
def decisions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return read("dags/decisions.py", tmp_path_factory.mktemp("airflow"))


@pytest.fixture(scope="module")
def tasks(parsed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every stage's task, in whatever DAG; the instances of a mapped one have the same."""
    return {
        stage: {**task, "dag": name}
        for name, dag in parsed["dags"].items()
        for task in dag["tasks"].values()
        for stage in task["stages"]
    }


@pytest.fixture(scope="module")
def operation(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return read("dags/operation.py", tmp_path_factory.mktemp("airflow"))


def dvc(*words: str, cwd: Path = REPOSITORY) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def instances(parsed: dict[str, Any]) -> list[str]:
    """The stages that the task instances of all DAGs run."""
    dags = parsed["dags"].values()
    return [stage for dag in dags for task in dag["tasks"].values() for stage in task["stages"]]


def edges(parsed: dict[str, Any]) -> set[tuple[str, str]]:
    """Pairs of stages between whose tasks Airflow draws an edge."""
    return {
        (above, below)
        for dag in parsed["dags"].values()
        for task in dag["tasks"].values()
        for name in task["below"]
        for above in task["stages"]
        for below in dag["tasks"][name]["stages"]
    }


def test_task_instances_are_the_stages_that_dvc_lists(parsed: dict) -> None:
    assert sorted(instances(parsed)) == sorted(dvc("stage", "list", "--name-only").split())
    assert all(task["stages"] for dag in parsed["dags"].values() for task in dag["tasks"].values())


def test_edges_are_those_of_dvc(tasks: dict, parsed: dict, graph: Graph) -> None:
    told = {tuple(edge) for edge in re.findall(r'"([^"]+)" -> "([^"]+)";', dvc("dag", "--dot"))}
    assert set(graph.edges()) == told
    within = {edge for edge in told if tasks[edge[0]]["dag"] == tasks[edge[1]]["dag"]}
    assert edges(parsed) == within


def test_instances_that_are_mapped_are_one_task_however_many(tmp_path: Path) -> None:
    """The project with three partitions: the tasks and edges are those that DVC draws then."""
    (tmp_path / "dvc.yaml").write_text((REPOSITORY / "dvc.yaml").read_text())
    params = (REPOSITORY / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(
        re.sub(r"(?m)^partitions: .*$", "partitions: [1, 2, 3]", params)
    )
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    graph, parsed = read_graph(tmp_path), read("dags/vitrine.py", tmp_path, tmp_path)
    mapped = [name for name, node in graph.nodes.items() if node.mapped]
    (name,) = {graph.nodes[stage].task for stage in mapped}
    (task,) = (dag["tasks"][name] for dag in parsed["dags"].values() if name in dag["tasks"])
    assert len(mapped) == 3 and task["stages"] == mapped
    assert task["label"] == "{{ task.stage }}"
    assert [graph.tasks()[stage] for stage in mapped] == [f"{name}[{at}]" for at in range(3)]
    assert sorted(instances(parsed)) == sorted(graph.nodes)
    told = set(re.findall(r'"([^"]+)" -> "([^"]+)";', dvc("dag", "--dot", cwd=tmp_path)))
    assert set(graph.edges()) == told
    of = {stage: node.meta["dag"] for stage, node in graph.nodes.items()}
    assert edges(parsed) == {edge for edge in told if of[edge[0]] == of[edge[1]]}


def test_meta_says_dag_group_retries_and_timeout(tasks: dict, graph: Graph) -> None:
    for stage, node in graph.nodes.items():
        task = tasks[stage]
        found = {key: task[key] for key in ("dag", "group", "retries", "timeout")}
        assert found == {key: node.meta[key] for key in found}
        assert task["pool"] == node.meta.get("pool", "default_pool")
        assert node.desc in task["doc"] and node.cmd in task["doc"]


def test_a_failure_of_any_task_is_told_and_tried_again_ever_later(
    parsed: dict, decisions: dict
) -> None:
    for dag in (*parsed["dags"].values(), *decisions["dags"].values()):
        for task in dag["tasks"].values():
            assert task["told"] == ["Incidents"] and task["longer"] > 1


def test_every_task_has_a_timeout_but_the_one_that_asks_a_person(
    parsed: dict, decisions: dict, operation: dict
) -> None:
    endless = {
        name
        for dags in (parsed, decisions, operation)
        for dag in dags["dags"].values()
        for name, task in dag["tasks"].items()
        if task["timeout"] is None
    }
    assert endless == {"ask"}


LIGHT = {
    **dict.fromkeys(
        (*("ingest-encoders", "ingest-shop", "ingest-pictures", "ingest-reviews"),)
        + (*("ingest-reviews-zh", "validate-products", "validate-users", "validate-interactions"),)
        + (*("validate-images", "validate-reviews", "validate-questions", "split", "behaviour"),),
        "rows stream through as fast as disks and networks are; the day's data wait for no training",
    ),
    **dict.fromkeys(("deliver", "table"), "waits for a database to take lists that are there"),
    "report": "draws figures that other stages made, and loads no model",
    **dict.fromkeys(
        ("waiting", "ask", "decided.settle", "roll_back"),
        "a person's word moves an alias at once: it waits for no training",
    ),
    **dict.fromkeys(("alarm", "asked"), "reads one look"),
    **dict.fromkeys(
        ("start", "start-recommend"), "asks Airflow for a run, and does not wait for it"
    ),
    "clean": "removes files",
}
"""Tasks outside the pool, and why: all others load or make models or tables."""


def test_what_loads_or_makes_models_or_tables_shares_the_pool(
    parsed: dict, decisions: dict, operation: dict
) -> None:
    pools = {
        name: task["pool"]
        for dags in (parsed, decisions, operation)
        for dag in dags["dags"].values()
        for name, task in dag["tasks"].items()
    }
    assert set(LIGHT) < set(pools)
    assert {name for name, pool in pools.items() if pool == "default_pool"} == set(LIGHT)
    assert {pool for name, pool in pools.items() if name not in LIGHT} == {airflow.HEAVY}


def test_no_task_waits_for_a_slot_while_it_holds_one(
    parsed: dict, decisions: dict, operation: dict
) -> None:
    """Each takes one slot, so that the smallest pool has room for it, and none waits for another DAG's run."""
    for dags in (parsed, decisions, operation):
        for dag in dags["dags"].values():
            for task in dag["tasks"].values():
                assert task["slots"] == 1 and not task["waits"]
                if task["pool"] == airflow.HEAVY:
                    assert task["kind"] in ("Stage", "Verb", "_PythonDecoratedOperator")


def test_stages_of_hours_share_the_pool(graph: Graph) -> None:
    pools = {name: node.meta.get("pool") for name, node in graph.nodes.items()}
    long = {name for name, node in graph.nodes.items() if node.meta["timeout"] > 600}
    assert long - {"deliver"} and {pools[name] for name in long - {"deliver"}} == {airflow.HEAVY}


def test_few_groups_and_fields_each_described(parsed: dict) -> None:
    for dag in parsed["dags"].values():
        assert len({task["group"] for task in dag["tasks"].values()}) <= 6
        assert 1 <= len(dag["schemas"]) <= 4
        assert all({"title", "type"} <= set(one) for one in dag["schemas"].values())
        assert dag["doc"]
        assert dag["runs"] == 1
        assert dag["paused"] is False


def test_what_promotion_updates_starts_what_follows(
    parsed: dict, tasks: dict, graph: Graph
) -> None:
    """The second DAG awaits every asset of the stages that it reads from; the first has no schedule."""
    with_asset = [stage for stage, node in graph.nodes.items() if "asset" in node.meta]
    assert with_asset
    outlets = {stage: tasks[stage]["outlets"] for stage in tasks}
    assert all(len(outlets[stage]) == 1 for stage in with_asset)
    assert not any(outlets[stage] for stage in set(tasks) - set(with_asset))
    for name, dag in parsed["dags"].items():
        crossing = {
            source
            for source, target in graph.edges()
            if tasks[target]["dag"] == name
            and tasks[source]["dag"] != name
            and source in with_asset
        }
        assert dag["awaits"] == sorted(outlets[stage][0] for stage in crossing)
        assert (dag["schedule"] == "NullTimetable") == (not crossing)
    assert sum(bool(dag["awaits"]) for dag in parsed["dags"].values()) == 1


def test_reading_the_dags_loads_nothing_heavy(parsed: dict) -> None:
    assert parsed["heavy"] == []


@pytest.mark.parametrize("path", sorted((REPOSITORY / "dags").glob("*.py")), ids=str)
def test_no_stage_is_named_in_dags(path: Path, graph: Graph) -> None:
    strings = re.findall(r"""["']([^"'\n]+)["']""", path.read_text())
    assert not set(strings) & (set(graph.nodes) | {name.replace("@", "-") for name in graph.nodes})


def test_a_person_decides_on_every_capability(decisions: dict, parsed: dict) -> None:
    dags = decisions["dags"]
    assert sorted(dags) == ["promote", "rollback"] and decisions["heavy"] == []
    outlets = {
        name
        for dag in parsed["dags"].values()
        for task in dag["tasks"].values()
        for name in task["outlets"]
    }
    assert set(dags["promote"]["awaits"]) == outlets and not dags["rollback"]["awaits"]
    names = dags["rollback"]["schemas"]["capability"]["enum"]
    assert len(names) == len(outlets)
    assert set(names) < set(dags["promote"]["schemas"]["capability"]["enum"])
    for dag in dags.values():
        assert all({"title", "type"} <= set(one) for one in dag["schemas"].values()) and dag["doc"]
        assert {"start-recommend"} < set(dag["tasks"])


def test_daily_dags_wait_until_they_are_set_going(graph: Graph, operation: dict) -> None:
    dags = operation["dags"]
    assert sorted(dags) == sorted(stack.DAILY) and operation["heavy"] == []
    for dag in dags.values():
        assert dag["paused"] and dag["runs"] == 1 and dag["schedule"] == "CronTriggerTimetable"
        for task in dag["tasks"].values():
            assert task["told"] == ["Incidents"] and task["longer"] > 1
    stages = {stage for task in dags["monitor"]["tasks"].values() for stage in task["stages"]}
    assert stages == {name for name, node in graph.nodes.items() if node.meta.get("daily")}
    tasks = dags["monitor"]["tasks"]
    before = {name for name, task in tasks.items() if "look" in task["below"]}
    assert before and all(tasks[name]["stages"] for name in before)
    assert tasks["look"]["below"] == ["alarm", "asked"] and tasks["asked"]["below"] == ["start"]

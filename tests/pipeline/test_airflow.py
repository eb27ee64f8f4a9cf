"""The real Airflow: the train DAG triggered by REST as its pages do it, followed to its end, and all it left.

`VITRINE_TEST_PROFILE` names the profile (tiny where it is not set). With `VITRINE_TEST_COMPARE=1`, and always with
tiny, the outputs are held against those of `dvc repro` in another folder.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import pytest

from pipelines import monitor, past_features
from pipelines.harness.graph import Graph, read_graph
from pipelines.lists.archive import kept
from pipelines.services import airflow, processes, stack
from pipelines.services.airflow import Api
from tests.pipeline.shop import Shop, differing, make_shop
from tests.waiting import poll

# In one worker, so that the run is made once.
pytestmark = pytest.mark.xdist_group("airflow")

PROFILE = os.environ.get("VITRINE_TEST_PROFILE", "tiny")
RUN_SECONDS = 2400.0
FOLLOW_SECONDS = 180.0
POLL_SECONDS = 2.0
ENDS = ("success", "failed")
CAPABILITIES = (
    *("collaborative", "content", "hybrid", "recommender"),
    *("recognition", "attributes", "sentiment", "answers"),
)


@dataclass
class Finished:
    """What two runs left. runs: DAG to run; tasks: DAG to task instances by id; drawn: DAG to Airflow's own graph."""

    shop: Shop
    graph: Graph
    api: Api
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    drawn: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def follow(self, dag: str, run: str) -> None:
        """Wait for a run's end and keep what Airflow tells about it."""
        poll(
            lambda: self.api.run(dag, run)["state"] in ENDS,
            lambda: f"the end of {dag}: {self.api.tasks(dag, run)}",
            RUN_SECONDS,
            POLL_SECONDS,
        )
        self.runs[dag] = self.api.run(dag, run)
        self.tasks[dag] = self.api.tasks(dag, run)
        listed = self.api.request("GET", f"/dags/{dag}/tasks")["tasks"]
        self.drawn[dag] = {task["task_id"]: task["downstream_task_ids"] for task in listed}

    def failures(self) -> str:
        logs = self.shop.state.logs
        stages = {task: stage for stage, task in self.graph.tasks().items()}
        return "\n".join(
            f"{task}: {one['state']}\n{(logs / f'{stages[task]}.log').read_text()[-3000:]}"
            for tasks in self.tasks.values()
            for task, one in tasks.items()
            if one["state"] == "failed" and (logs / f"{stages[task]}.log").exists()
        )

    def airflow_logs(self, dag: str) -> str:
        """The ends of what Airflow itself kept of a DAG's tasks."""
        found = sorted((self.shop.state.home / "airflow" / "logs" / f"dag_id={dag}").rglob("*.log"))
        return "".join(f"\n{path.parent.name}\n{path.read_text()[-3000:]}" for path in found)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, warm_python: Path) -> Iterator[Finished]:
    """Both DAGs after one trigger of the first, lists made in two partitions. Everything that was started is stopped."""
    shop = make_shop(tmp_path_factory.mktemp("airflow") / "shop", PROFILE, warm_python)
    settings = shop.root / "params.yaml"
    text = settings.read_text("utf-8")
    settings.write_text(re.sub(r"(?m)^partitions: \[1\]", "partitions: [1, 2]", text), "utf-8")
    graph = read_graph(shop.root)
    first, *later = dict.fromkeys(node.meta["dag"] for node in graph.nodes.values())
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", shop.environment()["PATH"])
            started = airflow.start(shop.state, "test")
        api = Api(started[0].port)
        poll(
            lambda: {first, *later} <= api.dags(),
            lambda: f"the DAGs: {api.import_errors()}",
            FOLLOW_SECONDS,
            POLL_SECONDS,
        )
        found = Finished(shop, graph, api)
        conf = {"profile": PROFILE, "promotion": "automatic", "force": False}
        found.follow(first, api.trigger(first, conf))
        assert found.runs[first]["state"] == "success", found.failures()
        for dag in later:
            runs = poll(
                lambda dag=dag: api.runs(dag), f"a run of {dag}", FOLLOW_SECONDS, POLL_SECONDS
            )
            found.follow(dag, runs[0]["dag_run_id"])
        yield found
    finally:
        processes.stop(shop.state, stack.NAMES)


def test_task_instances_are_the_stages_and_all_are_green(finished: Finished) -> None:
    states = {
        task: one["state"] for tasks in finished.tasks.values() for task, one in tasks.items()
    }
    assert states == dict.fromkeys(finished.graph.tasks().values(), "success")
    assert all(run["state"] == "success" for run in finished.runs.values()), finished.failures()


def test_instances_of_one_mapped_task_are_shown_by_their_stages(finished: Finished) -> None:
    seen = {task: one for tasks in finished.tasks.values() for task, one in tasks.items()}
    ids = finished.graph.tasks()
    mapped = [name for name, node in finished.graph.nodes.items() if node.mapped]
    assert len(mapped) == 2 and [seen[ids[name]]["rendered_map_index"] for name in mapped] == mapped


def test_edges_are_those_of_dvc(finished: Finished) -> None:
    told = finished.shop.run("dvc", "dag", "--dot").stdout
    edges = set(re.findall(r'"([^"]+)" -> "([^"]+)";', told))
    nodes = finished.graph.nodes
    expected = {
        (nodes[above].task, nodes[below].task)
        for above, below in edges
        if nodes[above].meta["dag"] == nodes[below].meta["dag"]
    }
    drawn = {
        (task, below)
        for tasks in finished.drawn.values()
        for task, belows in tasks.items()
        for below in belows
    }
    assert drawn == expected


def test_stages_that_do_not_depend_on_each_other_ran_side_by_side(finished: Finished) -> None:
    spans = sorted(
        (one["start_date"], one["end_date"])
        for tasks in finished.tasks.values()
        for one in tasks.values()
    )
    assert any(later[0] < earlier[1] for earlier, later in zip(spans, spans[1:], strict=False))


def test_the_registry_has_a_champion_for_each_capability(finished: Finished) -> None:
    from pipelines.promotion.registry import Registry

    standings = {one.name: one for one in Registry(finished.shop.state).champions()}
    assert set(standings) == {f"vitrine.{name}" for name in CAPABILITIES}
    promoted = {name for name, one in standings.items() if "champion" in one.aliases}
    if PROFILE == "tiny":
        # A few dozen made rows: a model that does not beat its baseline there is rightly not promoted.
        assert {"vitrine.recommender", "vitrine.collaborative"} <= promoted
        assert all("challenger" in standings[name].aliases for name in set(standings) - promoted)
    else:
        assert promoted == set(standings)


def test_mlflow_shows_one_parent_a_run_and_a_child_a_stage(finished: Finished) -> None:
    from pipelines.harness.tracking import EXPERIMENT, client

    api = client(finished.shop.state)
    experiment = api.get_experiment_by_name(EXPERIMENT).experiment_id
    runs = api.search_runs([experiment], max_results=1000)
    parents = {run.info.run_id: run for run in runs if "mlflow.parentRunId" not in run.data.tags}
    named = {run.data.tags["vitrine.run"]: key for key, run in parents.items()}
    assert set(named) == {f"{dag} {run['dag_run_id']}" for dag, run in finished.runs.items()}
    for dag, run in finished.runs.items():
        parent = named[f"{dag} {run['dag_run_id']}"]
        children = {
            one.data.tags["stage"]
            for one in runs
            if one.data.tags.get("mlflow.parentRunId") == parent
        }
        nodes = finished.graph.nodes.values()
        assert children == {node.name for node in nodes if node.meta["dag"] == dag}
    assert all(run.info.status == "FINISHED" for run in runs)
    assert all(run.data.tags["profile"] == PROFILE for run in runs)


def test_the_report_opens_without_an_error(finished: Finished) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("chromium is not here: apt install chromium")
    from playwright.sync_api import sync_playwright

    page_file = finished.shop.root / "data" / "report" / "report.html"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browser, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = chromium.new_page()
        faults: list[str] = []
        asked: list[str] = []
        page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        assert page.title()
        chromium.close()
    assert faults == []
    assert [url for url in asked if url.startswith("http")] == []


def test_lists_and_features_of_past_days_are_made_by_airflows_own_backfill(
    finished: Finished,
) -> None:
    api, shop = finished.api, finished.shop
    cut = json.loads((shop.root / "data/split/recommending/cut.json").read_text("utf-8"))
    days = pd.date_range(end=pd.Timestamp(cut["test_from"]), periods=2) + pd.Timedelta(hours=4)
    first, last = (str(day.date()) for day in days)
    asked = shop.run("pipelines.services.stack", "lists", first, last)
    assert asked.returncode == 0, asked.stdout

    def runs() -> list[dict[str, Any]]:
        return [run for run in api.runs("lists") if run["run_type"] == "backfill"]

    def ended() -> bool:
        return [run["state"] in ENDS for run in runs()] == [True] * len(days)

    def told() -> str:
        return f"two days of lists: {[(run['dag_run_id'], run['state']) for run in runs()]}"

    poll(ended, told, RUN_SECONDS, POLL_SECONDS)
    assert {run["state"] for run in runs()} == {"success"}, told() + finished.airflow_logs("lists")
    made = {pd.Timestamp(one.facts.before): one for one in kept(shop.state)}
    for day in days:
        assert made[day].facts.moment < day, "the lists know what came later"
        assert len(pd.read_parquet(made[day].lists)) == made[day].facts.rows > 0
        features = pd.read_parquet(
            past_features.archive(shop.state) / f"{day:%Y%m%dT%H%M%S}" / "users.parquet"
        )
        assert features["events"].min() > 0


def test_an_alarm_of_the_monitor_starts_training(finished: Finished) -> None:
    """The run of training is asked for and taken back: that it would run was seen above."""
    api, shop = finished.api, finished.shop
    settings = shop.root / "params.yaml"
    before = settings.read_text("utf-8")
    training = next(iter(finished.runs))
    known = {run["dag_run_id"] for run in api.runs(training)}
    line = re.compile(r"retrain_days: [\d.]+")
    settings.write_text(line.sub("retrain_days: 0.0", before), "utf-8")
    api.request("PATCH", f"/dags/{training}", {"is_paused": True})
    try:
        api.resume("monitor")
        run = api.trigger("monitor", {})
        ended = poll(
            lambda: (found := api.run("monitor", run))["state"] in ENDS and found,
            lambda: f"the end of the monitor: {api.tasks('monitor', run)}",
            RUN_SECONDS,
            POLL_SECONDS,
        )
        assert ended["state"] == "success", finished.airflow_logs("monitor")
        asked = [one for one in api.runs(training) if one["dag_run_id"] not in known]
        assert [one["triggered_by"] for one in asked] == ["operator"]
        # Set going, the DAG may have looked by its clock before: one of the two looks told, and asked.
        assert [one["train"] for one in monitor.looks(shop.state)].count(True) == 1
    finally:
        settings.write_text(before, "utf-8")
        for one in api.runs(training):
            if one["dag_run_id"] not in known:
                api.request(
                    "DELETE", f"/dags/{training}/dagRuns/{quote(one['dag_run_id'], safe='')}"
                )
        api.request("PATCH", f"/dags/{training}", {"is_paused": False})
        api.request("PATCH", "/dags/monitor", {"is_paused": True})


@pytest.mark.skipif(
    PROFILE != "tiny" and os.environ.get("VITRINE_TEST_COMPARE") != "1",
    reason="a second whole run; VITRINE_TEST_COMPARE=1 does it",
)
def test_outputs_are_those_of_dvc_repro_in_another_folder(
    finished: Finished, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    if PROFILE == "tiny":
        expected = request.getfixturevalue("tiny_outputs")
    else:
        other = make_shop(tmp_path_factory.mktemp("repro") / "shop", PROFILE)
        other.repro()
        expected = other.outputs()
    # One partition there and two here: all that is made of them is the same.
    files = ("lists.parquet", "metrics.json")
    own = {f"recommend/{at}/{name}" for at in (1, 2) for name in files}
    assert set(differing(finished.shop.outputs(), expected)) <= own

"""The whole pipeline on two workers that share no folder makes what `dvc repro` makes in one, to the byte."""

from pathlib import Path

import pytest

from pipelines.harness.graph import read_graph
from tests.cluster.stack import WORKERS, Cluster, own_files
from tests.pipeline.shop import differing

RUN_SECONDS = 1800.0


@pytest.fixture(scope="module")
def ran(cluster: Cluster) -> dict[str, str]:
    """Task to the worker that ran it."""
    tasks = cluster.done(cluster.train(), RUN_SECONDS)
    assert all(one["state"] == "success" for one in tasks.values())
    return {name: one["hostname"] for name, one in tasks.items()}


def test_every_stage_ran_on_one_of_two_workers(cluster: Cluster, ran: dict[str, str]) -> None:
    graph = read_graph(cluster.shop.root)
    assert set(ran) == {name.replace("@", "-") for name in graph.nodes}
    done = {
        worker: {
            path.stem
            for path in (cluster.folder(worker) / ".vitrine" / "records").glob("*.json")
            if "." not in path.stem
        }
        for worker in WORKERS
    }
    assert all(len(stages) > 3 for stages in done.values()), done
    assert set.union(*done.values()) >= set(graph.nodes)


def test_they_share_no_file(cluster: Cluster, ran: dict[str, str]) -> None:
    one, two = (own_files(cluster.folder(worker)) for worker in WORKERS)
    assert one and two and not one & two


def test_the_outputs_are_those_of_one_machine(
    cluster: Cluster, ran: dict[str, str], tiny_outputs: dict[str, str], tmp_path: Path
) -> None:
    assert differing(cluster.collected(tmp_path / "collected"), tiny_outputs) == []


def test_all_promotions_are_told_in_one_chain(cluster: Cluster, ran: dict[str, str]) -> None:
    graph = read_graph(cluster.shop.root)
    said = {worker: cluster.on(worker, "pipelines.journal", "verify") for worker in WORKERS}
    assert all(one.returncode == 0 for one in said.values()), said
    assert len({one.stdout for one in said.values()}) == 1
    deciding = [name for name, node in graph.nodes.items() if "asset" in node.meta]
    assert f"{len(deciding)} lines, the chain holds" in said[WORKERS[0]].stdout
    assert not list(cluster.shop.root.rglob("journal.jsonl"))

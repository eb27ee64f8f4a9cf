"""The whole pipeline on two workers that share no folder makes what `dvc repro` makes in one, to the byte."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.harness.graph import read_graph
from pipelines.promotion.journal_stores import VARIABLE
from tests.cluster.stack import WORKERS, Cluster, open_folder, own_files, started
from tests.pipeline.shop import differing, make_shop

RUN_SECONDS = 1800.0


@pytest.fixture(scope="module")
def cluster(warm_python: Path) -> Iterator[Cluster]:
    """The whole pipeline. The stages' packages are loaded before: they would take more time than all the work."""
    with (
        open_folder() as home,
        started(make_shop(home / "shop", "tiny", warm_python)) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def ran(cluster: Cluster) -> dict[str, str]:
    """Task to the worker that ran it."""
    tasks = cluster.done(cluster.train(), RUN_SECONDS)
    assert all(one["state"] == "success" for one in tasks.values())
    return {name: one["hostname"] for name, one in tasks.items()}


def test_every_stage_ran_on_one_of_two_workers(cluster: Cluster, ran: dict[str, str]) -> None:
    graph = read_graph(cluster.shop.root)
    assert set(ran) == set(graph.tasks().values())
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


def test_a_second_cluster_on_the_registry_is_refused(cluster: Cluster, ran: dict[str, str]) -> None:
    import psycopg2

    address = cluster.address("postgres")
    host, _, port = address.partition(":")
    secret = cluster.secret("postgres").read_text("utf-8")
    connection = psycopg2.connect(
        host=host,
        port=port,
        user="vitrine",
        password=secret,
        dbname="postgres",
        sslmode="verify-full",
        sslrootcert=str(cluster.secret("ca")),
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS second")
        cursor.execute("CREATE DATABASE second")
    connection.close()
    other: dict[str, Any] = {VARIABLE: f"postgresql+psycopg2://vitrine@{address}/second"}
    assert cluster.on(WORKERS[0], "pipelines.journal", "verify", **other).returncode == 69
    assert cluster.on(WORKERS[0], "pipelines.journal", "make", **other).returncode == 0
    done = cluster.on(WORKERS[0], "pipelines.run", "promote@sentiment", **other)
    assert done.returncode == 78 and "told in the common journal" in done.stdout, done.stdout


def test_no_secret_is_written_down(cluster: Cluster, ran: dict[str, str]) -> None:
    home = cluster.shop.state.home / "cluster"
    name_of_key = re.findall(
        r"access_key_id = (\w+)", (home / "secrets" / "s3").read_text("utf-8")
    )[0]
    secrets = {
        word.encode()
        for path in (home / "secrets").iterdir()
        if path.name != "ca"  # which anybody may see
        for line in path.read_text("utf-8").splitlines()
        for word in line.replace('"', " ").split()
        # A key of S3 has a name, which stands in addresses that it signed.
        if len(word) >= 20 and not word.startswith("aws_") and word != name_of_key
    }
    assert len(secrets) >= 7
    for folder in (
        cluster.shop.state.logs,
        home / "task-logs",
        home / "postgres" / "state",
        *(cluster.folder(worker) / ".vitrine" for worker in WORKERS),
    ):
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                assert not [secret for secret in secrets if secret in content], path

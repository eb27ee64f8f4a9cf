"""What happens to a cluster in the middle of a run, and what it is told that is wrong."""

import threading
from pathlib import Path
from typing import Any

import pytest

from pipelines.journal_stores import PASSWORD, VARIABLE
from tests.cluster.stack import WORKERS, Cluster
from tests.pipeline.shop import differing
from tests.waiting import poll

RUN_SECONDS = 2400.0
STORE_AWAY_SECONDS = 60.0


def at_work(cluster: Cluster) -> str | None:
    """A worker with a stage in the middle of its work: what it has made stands beside its place."""
    for worker in WORKERS:
        if any((cluster.folder(worker) / "data" / ".partial").glob("*")):
            return worker
    return None


def goes_on(cluster: Cluster, run: str, more: int = 2) -> None:
    """Wait until some more stages are done."""
    before = cluster.finished(run)
    poll(
        lambda: cluster.finished(run) >= before + more or cluster.over(run),
        lambda: f"{more} more stages: {cluster.logs()}",
        400.0,
        2.0,
    )


def test_a_run_outlives_its_worker_its_queue_its_database_and_its_store(
    cluster: Cluster, tiny_outputs: dict[str, str], tmp_path: Path
) -> None:
    run = cluster.train(force=True)
    goes_on(cluster, run, 1)

    victim = poll(lambda: at_work(cluster), "a stage at work", pause=0.1)
    cluster.kill(victim)
    poll(lambda: cluster.tried_again(run), lambda: f"a second try: {cluster.logs()}", 300.0, 2.0)
    goes_on(cluster, run)
    cluster.up()

    cluster.restart("redis")
    goes_on(cluster, run)

    cluster.restart("postgres")
    goes_on(cluster, run)

    cluster.mode.write_text("503")
    threading.Event().wait(STORE_AWAY_SECONDS)
    cluster.mode.unlink()

    tasks = cluster.done(run, RUN_SECONDS)
    assert {one["state"] for one in tasks.values()} == {"success"}
    assert differing(cluster.collected(tmp_path / "collected"), tiny_outputs) == []
    said = cluster.on(WORKERS[0], "pipelines.journal", "verify")
    assert said.returncode == 0 and "the chain holds" in said.stdout, said.stdout


@pytest.mark.parametrize(("status", "told"), [("403", "does not let us write")])
def test_a_store_that_refuses_stops_a_stage_before_it_works(
    cluster: Cluster, status: str, told: str
) -> None:
    cluster.mode.write_text(status)
    try:
        done = cluster.on(WORKERS[0], "pipelines.run", "ingest-shop", "--force")
    finally:
        cluster.mode.unlink()
    assert done.returncode == 69, done.stdout
    assert told in done.stdout and "Running stage" not in done.stdout


def test_a_wrong_password_of_the_journal_is_named_and_not_shown(
    cluster: Cluster, tmp_path: Path
) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("not-the-word")
    done = cluster.on(WORKERS[0], "pipelines.journal", "verify", **{PASSWORD: str(wrong)})
    assert done.returncode == 69, done.stdout
    assert "authentication failed" in done.stdout and "not-the-word" not in done.stdout


def test_a_second_cluster_on_the_registry_is_refused(cluster: Cluster) -> None:
    import psycopg2

    address = cluster.address("postgres")
    host, _, port = address.partition(":")
    secret = (cluster.shop.state.home / "cluster" / "secrets" / "postgres").read_text("utf-8")
    connection = psycopg2.connect(
        host=host, port=port, user="vitrine", password=secret, dbname="postgres"
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


def test_no_secret_is_written_down(cluster: Cluster) -> None:
    home = cluster.shop.state.home / "cluster"
    secrets = {
        word.encode()
        for path in (home / "secrets").iterdir()
        for word in path.read_text("utf-8").replace('"', " ").split()
        if len(word) >= 20 and not word.startswith("aws_")
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

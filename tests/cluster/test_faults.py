"""What happens to a cluster in the middle of a run, and what it is told that is wrong."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipelines.harness.graph import read_graph
from pipelines.harness.state import State
from pipelines.journal import Journal
from pipelines.promotion import journal_stores
from pipelines.promotion.journal_stores import Table
from tests.cluster.stack import WORKERS, Cluster, open_folder, started
from tests.pipeline.shop import Shop, differing, make_shop
from tests.unit.test_journal_stores import LINES, write_at_once
from tests.waiting import poll

RUN_SECONDS = 1200.0
STORE_AWAY_SECONDS = 60.0
ENDS = ("behaviour", "image-features", "review-features")
"""The stages up to these are run: the tables and what is told of them, seventeen, without what learns from them.

So many, for each fault must find the run at work, and some end while one is brought about.
"""


def make_tables_shop(root: Path, warm: Path | None = None) -> Shop:
    """A copy of the project whose graph ends before anything is learned."""
    shop = make_shop(root, "tiny", warm)
    graph = read_graph(root)
    kept = {*ENDS, *(name for end in ENDS for name in graph.upstream(end))}
    path = root / "dvc.yaml"
    document = yaml.safe_load(path.read_text("utf-8"))
    document["stages"] = {name: one for name, one in document["stages"].items() if name in kept}
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return shop


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """With the real interpreter for its stages: they are to be killed."""
    with open_folder() as home, started(make_tables_shop(home / "shop"), ("train",)) as found:
        yield found


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, warm_python: Path) -> dict[str, str]:
    """Path to SHA-256 of what `dvc repro` makes in one folder."""
    shop = make_tables_shop(tmp_path_factory.mktemp("tables") / "shop", warm_python)
    shop.repro()
    return shop.outputs()


def at_work(cluster: Cluster) -> str | None:
    """A worker with a stage in the middle of its work: what it has made stands beside its place."""
    for worker in WORKERS:
        if any((cluster.folder(worker) / "data" / ".partial").glob("*")):
            return worker
    return None


def goes_on(cluster: Cluster, run: str, more: int = 1) -> None:
    """Wait until some more stages are done."""
    before = cluster.finished(run)
    poll(
        lambda: cluster.finished(run) >= before + more or cluster.over(run),
        lambda: f"{more} more stages: {cluster.logs()}",
        300.0,
        2.0,
    )


def test_a_run_outlives_its_worker_its_queue_its_database_and_its_store(
    cluster: Cluster, expected: dict[str, str], tmp_path: Path
) -> None:
    run = cluster.train()

    victim = poll(lambda: at_work(cluster), "a stage at work", pause=0.1)
    cluster.kill(victim)
    poll(lambda: cluster.tried_again(run), lambda: f"a second try: {cluster.logs()}", 300.0, 2.0)
    goes_on(cluster, run)
    cluster.up()

    cluster.mode.write_text("503")
    threading.Event().wait(STORE_AWAY_SECONDS)
    cluster.mode.unlink()
    goes_on(cluster, run)

    cluster.restart("redis", signal.SIGTERM)
    goes_on(cluster, run)

    assert not cluster.over(run), f"{cluster.states(cluster.dags[0], run)}\n{cluster.logs()}"
    cluster.restart("postgres", signal.SIGINT)

    tasks = cluster.done(run, RUN_SECONDS)
    assert {one["state"] for one in tasks.values()} == {"success"}
    assert differing(cluster.collected(tmp_path / "collected"), expected) == []


def test_a_store_that_refuses_stops_a_stage_before_it_works(cluster: Cluster) -> None:
    cluster.mode.write_text("403")
    try:
        done = cluster.on(WORKERS[0], "pipelines.run", "ingest-shop", "--force")
    finally:
        cluster.mode.unlink()
    assert done.returncode == 69, done.stdout
    assert "does not let us write" in done.stdout and "Running stage" not in done.stdout


def test_a_wrong_password_of_the_journal_is_named_and_not_shown(
    cluster: Cluster, tmp_path: Path
) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("not-the-word")
    done = cluster.on(
        WORKERS[0], "pipelines.journal", "verify", **{journal_stores.PASSWORD_FILE: str(wrong)}
    )
    assert done.returncode == 69, done.stdout
    assert "authentication failed" in done.stdout and "not-the-word" not in done.stdout


def test_two_writers_of_the_journal_at_once_make_one_chain(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = cluster.secret("postgres")
    address = f"postgresql+psycopg2://vitrine@{cluster.address('postgres')}/vitrine"
    monkeypatch.setenv(journal_stores.VARIABLE, address)
    monkeypatch.setenv(journal_stores.PASSWORD_FILE, str(secret))
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", str(cluster.secret("ca")))
    assert secret.read_text("utf-8") not in Table(address, str(secret)).place
    write_at_once(tmp_path, os.environ)
    journal = Journal(State(tmp_path))
    assert journal.verify() == [] and len(journal.entries()) == 2 * LINES

"""Postgres, Redis and the store as `make cluster` starts them: right clients are served, plain and mistaken ones are not."""

import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.harness.errors import MissingResource
from pipelines.harness.state import State
from pipelines.promotion.journal_stores import Table
from pipelines.services import cluster_trust, processes
from pipelines.services.cluster_run import environment, members, note_of, start
from pipelines.services.cluster_secrets import make_secrets
from pipelines.services.cluster_setup import make_buckets, make_databases
from pipelines.services.cluster_workplace import BUCKET, make_workplace
from tests.cluster.stack import open_folder
from tests.conftest import REPOSITORY

STORES = ("postgres", "redis", "s3")


@dataclass
class Stores:
    """Where the three are, the folder of their secrets, and the file of a CA that signed nothing there."""

    root: Path
    at: dict[str, str]
    secrets: Path
    stranger: Path

    @property
    def ca(self) -> Path:
        return self.secrets / "ca"

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text("utf-8")


@pytest.fixture(scope="module")
def stores() -> Iterator[Stores]:
    with open_folder() as home:
        root = home / "project"
        for name in ("docker", "dags", "models"):
            (root / name).mkdir(parents=True)
        (root / "pipelines").symlink_to(REPOSITORY / "pipelines")
        description = Path("docker") / "services.yaml"
        (root / description).write_bytes((REPOSITORY / description).read_bytes())
        make_secrets(home / "other")
        try:
            start(root, report=False, only=STORES)
            _, place, ports = members(root)
            at = {name: f"127.0.0.1:{ports[name]}" for name in STORES}
            yield Stores(root, at, place.home / "secrets", home / "other" / "ca")
        finally:
            processes.stop(State(root), [note_of(name) for name in reversed(STORES)])


@pytest.fixture
def trusting(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets whom libpq and boto3 trust, by the variables that the description sets."""

    def trust(ca: Path) -> None:
        monkeypatch.setenv("PGSSLMODE", "verify-full")
        monkeypatch.setenv("PGSSLROOTCERT", str(ca))
        monkeypatch.setenv("AWS_CA_BUNDLE", str(ca))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(stores.secrets / "s3"))
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    trust(stores.ca)
    return trust


def broker(stores: Stores, ca: Path) -> str:
    """The address of the queue, as the description has Airflow's configuration make it."""
    found, place, _ = members(stores.root)
    variables = environment(found["setup"], place)
    command = shlex.split(variables["AIRFLOW__CELERY__BROKER_URL_CMD"])
    told = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    return told.stdout.replace(str(stores.ca), str(ca))


def test_each_proves_who_it_is_to_whoever_knows_the_ca_and_to_nobody_else(stores: Stores) -> None:
    for kind in STORES:
        assert 364 < cluster_trust.check(kind, stores.at[kind], stores.ca) < 366
        with pytest.raises(MissingResource, match="by another CA"):
            cluster_trust.check(kind, stores.at[kind], stores.stranger)


def test_postgres_is_reached_by_tls_alone(stores: Stores, trusting: Any) -> None:
    import psycopg2

    make_databases(stores.at["postgres"], stores.secret("postgres"))
    journal = f"postgresql+psycopg2://vitrine@{stores.at['postgres']}/vitrine"
    password = str(stores.secrets / "postgres")
    Table(journal, password).make()
    with pytest.raises(MissingResource, match="not reached by TLS.*no encryption"):
        Table(f"{journal}?sslmode=disable", password).read()
    trusting(stores.stranger)
    with pytest.raises(MissingResource, match="certificate verify failed.*PGSSLROOTCERT"):
        Table(journal, password).read()
    with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
        psycopg2.connect(f"{journal.replace('+psycopg2', '')}")


def test_redis_is_reached_by_tls_alone(stores: Stores) -> None:
    from kombu import Connection
    from redis import ConnectionError, Redis

    with Connection(broker(stores, stores.ca)) as connection:
        assert connection.default_channel.client.ping()
    with (
        Redis.from_url(broker(stores, stores.stranger), retry=None) as client,
        pytest.raises(ConnectionError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.ping()
    plain = broker(stores, stores.ca).replace("rediss:", "redis:").partition("?")[0]
    with Redis.from_url(plain, retry=None) as client, pytest.raises(ConnectionError):
        client.ping()


def test_the_store_is_reached_by_tls_alone(
    stores: Stores, trusting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By boto3, by which MLflow talks to it, and by DVC, which goes through aiobotocore."""
    from dvc.repo import Repo

    from pipelines import exchange

    monkeypatch.setattr(exchange, "PATIENCE_SECONDS", 0.0)
    make_buckets(f"https://{stores.at['s3']}")
    for ca, scheme, told in (
        (stores.ca, "https", ""),
        (stores.stranger, "https", "is not trusted.*CERTIFICATE_VERIFY_FAILED"),
        (stores.ca, "http", "begin as it talks, with https or with http"),
    ):
        trusting(ca)
        url = f"{scheme}://{stores.at['s3']}"
        folder = tmp_path / f"{ca.parent.name}-{scheme}"
        make_workplace(stores.root, folder, url)
        with Repo(str(folder)) as repo:
            store = exchange._Store(repo)
            if not told:
                store.wait()
                assert store._fs.exists(f"{BUCKET}/{exchange.FOLDER}/{exchange.PROBE}")
                continue
            with pytest.raises(MissingResource, match="can't be used"):
                make_buckets(url)
            with pytest.raises(MissingResource, match=told):
                store.wait()


def test_no_key_stands_on_a_command_line_or_is_read_by_others(stores: Stores) -> None:
    for name in STORES:
        found = processes.running(State(stores.root), note_of(name))
        assert found is not None
        told = "\n".join(" ".join(one.cmdline()) for one in found.family())
        assert stores.secret("postgres") not in told and stores.secret("redis") not in told
        assert "PRIVATE KEY" not in told
    copy = stores.secrets.parent / "postgres" / "scratch" / "tls-postgres"
    assert copy.stat().st_mode & 0o077 == 0

"""Databases, the journal's tables, buckets and pools:

    python -m pipelines.services.cluster_setup POSTGRES SECRET_FILE REDIS S3_URL CA_FILE

POSTGRES, REDIS: host:port. First it makes sure that these three prove by TLS who they are. Runs before Airflow and MLflow
start; what is there stays, so that it may run again at any time.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipelines.harness.errors import BadConfig, MissingResource, VitrineError
from pipelines.harness.params import read_params
from pipelines.promotion.journal_stores import Table
from pipelines.services import cluster_trust
from pipelines.services.airflow import HEAVY, heavy_slots
from pipelines.services.cluster_workplace import BUCKET

DATABASES = ("airflow", "mlflow", "vitrine")
BUCKETS = (BUCKET, "mlflow")
USER = "vitrine"


def trust(postgres: str, redis: str, store: str, ca: Path) -> list[str]:
    """Lines about certificates that end soon. Raises `MissingResource` or `BadConfig` for what is not to be trusted."""
    url = urlsplit(store)
    if url.scheme != "https":
        raise BadConfig(
            f"the store's address {store} is none of https: passwords and data would be read by others"
        )
    at = {"postgres": postgres, "redis": redis, "s3": f"{url.hostname}:{url.port or 443}"}
    return [
        line for kind, address in at.items() for line in cluster_trust.warnings(kind, address, ca)
    ]


def make_databases(address: str, password: str) -> None:
    """Make the databases that are missing. Raises `MissingResource` where Postgres does not let us in."""
    import psycopg2

    host, _, port = address.partition(":")
    try:
        connection = psycopg2.connect(
            host=host, port=port, user=USER, password=password, dbname="postgres"
        )
    except psycopg2.OperationalError as error:
        raise MissingResource(
            f"Postgres at {address} does not let {USER} in ({str(error).strip()}): is it up, and is its "
            "folder as old as the secret `postgres`? A new secret is no password of an old database"
        ) from None
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database")
        there = {name for (name,) in cursor.fetchall()}
        for name in DATABASES:
            if name not in there:
                cursor.execute(f'CREATE DATABASE "{name}"')
    connection.close()


def make_buckets(store: str) -> None:
    """Make the buckets that are missing. Raises `MissingResource` where the store can't be used."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client = boto3.client("s3", endpoint_url=store)
        there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for name in BUCKETS:
            if name not in there:
                client.create_bucket(Bucket=name)
    except (BotoCoreError, ClientError) as error:
        raise MissingResource(
            f"the store at {store} can't be used ({error}): is it up, and does it know the key in the secret `s3`?"
        ) from None


def _told(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise MissingResource(f"{' '.join(words[:3])}:\n{(done.stdout + done.stderr)[-3000:]}")


def main(words: list[str]) -> int:
    """The command line; the exit status is that of the class of failure."""
    if len(words) != 5:
        print(__doc__, file=sys.stderr)
        return 64
    address, secret, redis, store, ca = words
    password = Path(secret).read_text("utf-8")
    try:
        for line in trust(address, redis, store, Path(ca)):
            print(line)
        make_databases(address, password)
        Table(f"postgresql+psycopg2://{USER}@{address}/vitrine", secret).make()
        make_buckets(store)
        _told("airflow", "db", "migrate")
        slots = heavy_slots(read_params(Path(__file__).parents[2])["threads"])
        _told("airflow", "pools", "set", HEAVY, str(slots), "stages that keep a core busy")
        _migrate_mlflow(f"postgresql+psycopg2://{USER}:{password}@{address}/mlflow")
    except VitrineError as error:
        print(f"setup: {error}", file=sys.stderr)
        return error.exit_code
    print("databases, buckets and pools are there")
    return 0


def _migrate_mlflow(uri: str) -> None:
    """Within this process: on a command line the address would show the password."""
    import mlflow.store.db.utils
    from sqlalchemy import create_engine, inspect

    tables: Any = mlflow.store.db.utils

    engine = create_engine(uri)
    if inspect(engine).has_table("alembic_version"):
        tables._upgrade_db(engine)
    else:
        tables._initialize_tables(engine)
    engine.dispose()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

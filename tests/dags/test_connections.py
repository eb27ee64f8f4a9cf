"""Databases named by a connection of Airflow: a stage gets the address from its task or from Airflow's library, and tells nobody."""

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.harness import BadConfig, MissingResource, connections
from pipelines.harness.state import State
from pipelines.services import airflow
from tests.conftest import REPOSITORY, Project
from tests.dags.snippets import run_snippet

SECRET = "quiet-otter/5f3a9c"
NAMED = "airflow://shop_db"
GRAPH = {
    "stages": {
        "ingest-shop": {
            "cmd": "exec python -m pipelines.ingest_shop",
            "deps": ["corrections.csv"],
            "params": ["seed", "threads", "shop", "ingest-shop"],
            "outs": [f"data/ingest-shop/{name}.parquet" for name in ("interactions", "products", "users")],
            "metrics": ["data/ingest-shop/metrics.json"],
            "meta": {"dag": "train", "group": "data", "retries": 1, "timeout": 600},
        }
    }
}  # fmt: skip
TASK = """
import sys
from pathlib import Path
from types import SimpleNamespace as Thing
import dags.stages as stages

stages.ROOT = Path(sys.argv[1])
task = stages.Stage(task_id="ingest-shop", stage="ingest-shop")
try:
    task.execute({"dag_run": Thing(conf={}, dag_id="train", run_id="by hand")})
except Exception as error:
    print("FAILED", error)
"""
ADD = """
from airflow.models import Connection
from airflow.utils.session import create_session

with create_session() as session:
    session.add(Connection(conn_id="shop_db", conn_type="postgres", host="db", login="me", password="p@ss", schema="shop"))
"""


@pytest.fixture
def shop(toy_project: Project) -> Project:
    """A project of one stage that reads products by a query over the connection `shop_db`."""
    root = toy_project.root
    (root / "corrections.csv").write_bytes((REPOSITORY / "corrections.csv").read_bytes())
    (root / "dvc.yaml").write_text(yaml.safe_dump(GRAPH))
    document = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    columns = {"item_id": "sku", "title": "name"}
    part = {"format": "sql", "url": NAMED, "query": "select * from p", "columns": columns}
    params = {
        "profile": "tiny",
        "promotion": "never",
        "seed": 7,
        "threads": 1,
        "shop": {"products": [part]},
        "ingest-shop": {**document["ingest-shop"], **document["profiles"]["tiny"]["ingest-shop"]},
        "profiles": {"tiny": {}},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    return toy_project


@pytest.fixture
def silent(tmp_path: Path) -> Callable[[str], None]:
    """Fails where the secret stands in what was said, or in anything that was left behind."""

    def check(said: str) -> None:
        left = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
        assert any(path.name == "mlflow.db" for path in left)
        assert any(path.name == "ingest-shop.log" for path in left)
        for form in (SECRET, SECRET.replace("/", "%2F")):
            assert form not in said
            for path in left:  # logs, records, MLflow's database, outputs, DVC's own files
                assert form.encode() not in path.read_bytes(), path

    return check


def test_a_url_names_a_connection_and_nothing_else() -> None:
    assert connections.named(NAMED) == "shop_db"
    assert connections.named("postgresql://reader@db/shop") is None
    with pytest.raises(BadConfig, match="nothing else") as caught:
        connections.named(f"airflow://reader:{SECRET}@db/shop")
    assert SECRET not in str(caught.value)


def test_a_stage_is_given_the_connections_of_its_parameters_alone(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", "sqlite:////a")
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", "sqlite:////b")
    assert connections.given(shop.root, "ingest-shop") == {"AIRFLOW_CONN_SHOP_DB": "sqlite:////a"}
    shop.set("url: airflow://shop_db", "url: sqlite:////a")
    assert connections.given(shop.root, "ingest-shop") == {}


def test_a_task_hands_the_address_to_its_stage(
    shop: Project, tmp_path: Path, silent: Callable[[str], None]
) -> None:
    place = tmp_path / SECRET / "shop.db"
    place.parent.mkdir(parents=True)
    with closing(sqlite3.connect(place)) as base, base:
        base.execute("create table p (sku text, name text)")
        base.execute("insert into p values ('007', 'Tee'), ('008', 'Hat')")
    given = json.dumps({"conn_type": "sqlite", "schema": str(place)})
    words = {"cwd": shop.root, "home": tmp_path / "airflow"}
    path = os.pathsep.join([str(shop.warm), os.environ["PATH"]])
    said = run_snippet(TASK, str(shop.root), **words, PATH=path, AIRFLOW_CONN_SHOP_DB=given)
    assert "FAILED" not in said
    table = pq.read_table(shop.root / "data" / "ingest-shop" / "products.parquet")
    assert table.select(["item_id", "title"]).to_pylist() == [
        {"item_id": "007", "title": "Tee"},
        {"item_id": "008", "title": "Hat"},
    ]
    silent(said)
    place.unlink()
    shop.set("select * from p", "select sku, name from p")
    said = run_snippet(TASK, str(shop.root), **words, PATH=path)
    assert "FAILED ingest-shop: missing resource: Airflow has no connection shop_db" in said
    assert "set AIRFLOW_CONN_SHOP_DB" in said


def test_without_a_task_airflows_library_is_asked_and_an_error_holds_no_password(
    shop: Project, silent: Callable[[str], None]
) -> None:
    """SQLite takes no password, so that its address is refused with the address in the words."""
    given = json.dumps({"conn_type": "sqlite", "login": "reader", "password": SECRET, "host": "db"})
    words = ("env", f"AIRFLOW_CONN_SHOP_DB={given}", "python", "-m", "pipelines.run", "ingest-shop")
    done = shop.run(*words, timeout=600)
    assert done.returncode == MissingResource.exit_code, done.stdout + done.stderr
    assert f"missing resource: {NAMED}: the query fails: Invalid SQLite URL" in done.stdout
    silent(done.stdout + done.stderr)


def test_a_connection_of_the_projects_own_airflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    state = State(tmp_path)
    settings = airflow.settings(state, airflow.PORT)
    airflow._migrate(state, settings)
    own = {key: value for key, value in settings.items() if key.startswith("AIRFLOW__")}
    run_snippet(ADD, cwd=tmp_path, home=state.airflow, **own)
    assert connections.address("shop_db", tmp_path) == "postgresql://me:p%40ss@db/shop"
    with pytest.raises(MissingResource, match="no connection other_db"):
        connections.address("other_db", tmp_path)

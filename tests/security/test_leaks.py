"""Secrets stay where they are, and nothing listens beyond loopback."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipelines.harness.state import State
from pipelines.services import airflow
from tests.conftest import REPOSITORY, Project

SECRET = "quiet-otter-5f3a9c"
GIVEN = {
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql://shop:{SECRET}@127.0.0.1/airflow",
    "AIRFLOW_CONN_VITRINE_ALERTS": f"http://:{SECRET}@127.0.0.1:9",
    "_AIRFLOW_WWW_USER_PASSWORD": SECRET,
    "AWS_SECRET_ACCESS_KEY": SECRET,
}
EVERYWHERE = re.compile(r"0\.0\.0\.0|[\"']::[\"']|[\"']\[::\]|host=[\"']\*?[\"']")


def files(folder: Path) -> Iterator[Path]:
    yield from (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def test_a_run_that_crashes_writes_no_secret_of_its_environment(toy_project: Project) -> None:
    toy_project.set("toy: {rows: 5}", "toy: {rows: 14}")
    given = [f"{key}={value}" for key, value in GIVEN.items()]
    done = toy_project.run("env", *given, "python", "-m", "pipelines.run", "toy")
    assert done.returncode != 0 and "boom" in done.stdout, done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    left = list(files(toy_project.root))
    assert any(path.name == "mlflow.db" for path in left)
    assert any(path.suffix == ".log" for path in left)
    for path in left:  # logs, records, MLflow's database, outputs, DVC's own files
        assert SECRET.encode() not in path.read_bytes(), path


def test_keys_of_airflow_are_for_the_owner_and_on_no_command_line(tmp_path: Path) -> None:
    state = State(tmp_path)
    (tmp_path / "params.yaml").write_bytes((REPOSITORY / "params.yaml").read_bytes())
    told = airflow.settings(state, 8080)
    path = state.airflow / "keys.json"
    assert path.stat().st_mode & 0o077 == 0 and path.parent.stat().st_mode & 0o077 == 0
    keys = yaml.safe_load(path.read_text())
    assert {keys["jwt"], keys["api"], keys["fernet"]} <= set(told.values())
    for module in (REPOSITORY / "pipelines" / "services").glob("*.py"):
        for call in ast.walk(ast.parse(module.read_text())):
            if isinstance(call, ast.Tuple | ast.List):
                words = ast.unparse(call)
                assert not ("airflow" in words and re.search(r"jwt|fernet", words)), module


def test_the_services_bind_to_loopback() -> None:
    for module in (REPOSITORY / "pipelines" / "services").glob("*.py"):
        if module.name != "cluster_compose.py":  # in a container the outer port is what counts
            assert not EVERYWHERE.search(module.read_text()), module
    assert airflow.LOOPBACK == "127.0.0.1"


@pytest.mark.parametrize("folder", ["dags", "models", "pipelines", "docker"])
def test_no_key_or_password_is_written_in_the_product(folder: str) -> None:
    told = re.compile(
        r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|gh[pousr]_[A-Za-z0-9]{36}"
        r"|\b(?:password|passwd|secret|token)\s*[:=]\s*[\"'][A-Za-z0-9+/_-]{12,}[\"']",
        re.IGNORECASE,
    )
    for path in files(REPOSITORY / folder):
        if path.suffix not in (".pyc", ".lock") and "secrets" not in path.parts:
            found = told.search(path.read_text("utf-8", "replace"))
            assert found is None, f"{path}: {found and found.group()[:40]}"

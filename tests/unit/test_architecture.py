"""The rules that keep nouns, verbs and schedules apart."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


def modules(folder: str) -> Iterator[Path]:
    yield from sorted((REPOSITORY / folder).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def names(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", modules("models"), ids=str)
def test_models_know_no_pipeline_no_mlflow_no_dvc(path: Path) -> None:
    assert not names(path) & {"pipelines", "dags", "mlflow", "dvc", "airflow"}


@pytest.mark.parametrize("path", modules("pipelines"), ids=str)
def test_pipelines_define_no_network(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ClassDef):
            bases = {ast.unparse(base) for base in node.bases}
            assert not bases & {"nn.Module", "torch.nn.Module", "pl.LightningModule"}
    assert "airflow" not in names(path) or "services" in path.parts


def test_each_module_of_pipelines_is_a_command_and_what_they_share_lies_in_folders() -> None:
    shared = {"__init__.py", "tables.py"}
    for path in (REPOSITORY / "pipelines").glob("*.py"):
        runs = any(
            isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
            for node in tree(path).body
        )
        assert runs or path.name in shared, path


@pytest.mark.parametrize("path", [*modules("models"), *modules("pipelines")], ids=str)
def test_no_pickle_is_loaded_and_nothing_runs_at_import(path: Path) -> None:
    text = path.read_text()
    assert not names(path) & {"pickle", "joblib", "dill", "cloudpickle"}
    for call in re.findall(r"torch\.load\([^)]*\)", text):
        assert "weights_only=True" in call
    allowed = (
        ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
    )
    for node in tree(path).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        tests = ("__name__ == '__main__'", "TYPE_CHECKING")
        condition = isinstance(node, ast.If) and ast.unparse(node.test) in tests
        assert docstring or condition or isinstance(node, allowed), f"{path}:{node.lineno}"

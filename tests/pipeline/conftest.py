"""The whole pipeline, run once by `dvc repro` for all tests that look at it, and a stand-in of it."""

import json
import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from pipelines.harness.state import State
from tests.pipeline.shop import Shop, make_shop
from tests.pipeline.standin.project import Project

NOTE = "outputs.json"


@pytest.fixture(scope="session")
def tiny_shop(tmp_path_factory: pytest.TempPathFactory, warm_python: Path) -> Shop:
    """A copy of the project after its first `dvc repro` with the profile `tiny`; one for all workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "repro"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        if (folder / NOTE).exists():
            return Shop(folder / "shop", warm_python)
        shop = make_shop(folder / "shop", "tiny", warm_python)
        shop.repro(guarded=True)
        (folder / NOTE).write_text(json.dumps(shop.outputs()))
    return shop


@pytest.fixture(scope="session")
def tiny_outputs(tiny_shop: Shop) -> dict[str, str]:
    """Path to SHA-256 of what that first run left."""
    return json.loads((Path(tiny_shop.root).parent / NOTE).read_text())


@pytest.fixture
def project(tmp_path: Path, migrated_database: Path, warm_python: Path) -> Project:
    """The stand-in of the whole project, with a database of its own."""
    made = Project(tmp_path / "shop", warm_python)
    database = State(made.root).mlflow / "mlflow.db"
    database.parent.mkdir(parents=True)
    shutil.copy(migrated_database, database)
    return made

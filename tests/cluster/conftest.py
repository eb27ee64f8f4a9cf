"""One cluster for all tests that look at it, and the same pipeline by `dvc repro` in one folder to hold it against."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.stack import Cluster, absent, describe, open_to_postgres
from tests.pipeline.conftest import tiny_outputs, tiny_shop
from tests.pipeline.shop import make_shop

__all__ = ["cluster", "tiny_outputs", "tiny_shop"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a cluster where none can be had, with the cure."""
    why = absent()
    for item in items:
        if why and item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def cluster(warm_python: Path) -> Iterator[Cluster]:
    """All services, healthy, over a copy of the project with the profile `tiny`; stopped at the end.

    The stages' packages are loaded before: they would take more time than all the work.
    """
    home = Path(tempfile.mkdtemp(prefix="vitrine-cluster-"))
    open_to_postgres(home)
    shop = make_shop(home / "shop", "tiny", warm_python)
    describe(shop, home / "store-answers")
    found = Cluster(shop, home / "store-answers")
    try:
        found.up()
        yield found
    finally:
        found.down()
    shutil.rmtree(home)

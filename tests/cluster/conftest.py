"""A cluster for each module of tests, and the same stages by `dvc repro` in one folder to hold it against."""

from pathlib import Path

import pytest

from tests.cluster.stack import absent
from tests.pipeline.conftest import tiny_outputs, tiny_shop

__all__ = ["tiny_outputs", "tiny_shop"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a cluster where none can be had, with the cure."""
    why = absent()
    for item in items:
        if why and item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.skip(reason=why))

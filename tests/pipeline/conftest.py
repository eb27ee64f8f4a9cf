"""The whole pipeline, run once by `dvc repro` for all tests that look at it."""

import pytest

from tests.pipeline.shop import Shop, make_shop


@pytest.fixture(scope="session")
def tiny_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A copy of the project after its first `dvc repro` with the profile `tiny`."""
    shop = make_shop(tmp_path_factory.mktemp("repro") / "shop", "tiny")
    shop.repro()
    return shop

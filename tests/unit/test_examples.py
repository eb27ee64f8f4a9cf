"""The examples in docstrings print what they say."""

import doctest
import importlib

import pytest

from tests.conftest import REPOSITORY

MODULES = sorted(
    path.relative_to(REPOSITORY).as_posix().removesuffix(".py").replace("/", ".")
    for folder in ("models", "pipelines")
    for path in (REPOSITORY / folder).rglob("*.py")
    if ">>> " in path.read_text("utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0

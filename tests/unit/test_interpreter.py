"""Which `python` the commands of `dvc.yaml` find."""

import os
import sys
from pathlib import Path

import pytest

from pipelines.harness.interpreter import INSTALLED, search_path, stage_path, warm_folder
from pipelines.harness.state import State


@pytest.mark.parametrize("others", [["/usr/bin"], ["/chosen", "OWN", "/usr/bin"]])
def test_the_environments_python_is_found_and_a_chosen_order_kept(
    monkeypatch: pytest.MonkeyPatch, others: list[str]
) -> None:
    own = str(Path(sys.executable).parent)
    asked = [own if one == "OWN" else one for one in others]
    monkeypatch.setenv("PATH", os.pathsep.join(asked))
    expected = asked if own in asked else [own, *asked]
    assert search_path().split(os.pathsep) == expected


def test_a_warm_interpreter_comes_first_unless_packages_are_newer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    state, prefix = State(tmp_path / "shop"), tmp_path / "environment"
    monkeypatch.setattr(sys, "prefix", str(prefix))
    script, installed = warm_folder(state) / "python", prefix / INSTALLED
    assert stage_path(state) == search_path()
    for file in (script, installed):
        file.parent.mkdir(parents=True)
        file.touch()
    for at, expected in ((1, f"{script.parent}{os.pathsep}{search_path()}"), (3, search_path())):
        os.utime(script, (2, 2))
        os.utime(installed, (at, at))
        assert stage_path(state) == expected

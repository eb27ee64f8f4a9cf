"""Which `python` the commands of `dvc.yaml` find."""

import os
import sys
from pathlib import Path

import pytest

from pipelines.harness.interpreter import search_path


@pytest.mark.parametrize("others", [["/usr/bin"], ["/chosen", "OWN", "/usr/bin"]])
def test_the_environments_python_is_found_and_a_chosen_order_kept(
    monkeypatch: pytest.MonkeyPatch, others: list[str]
) -> None:
    own = str(Path(sys.executable).parent)
    asked = [own if one == "OWN" else one for one in others]
    monkeypatch.setenv("PATH", os.pathsep.join(asked))
    expected = asked if own in asked else [own, *asked]
    assert search_path().split(os.pathsep) == expected

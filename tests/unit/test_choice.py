"""A run goes on with the profile that it began with, or not at all."""

from pathlib import Path

import pytest

from pipelines.harness import BadConfig
from pipelines.harness.params import read_params
from pipelines.run import chosen

PARAMS = "profile: tiny\npromotion: never\nprofiles: {tiny: {}, smoke: {}}\n"
SMOKE = {"profile": "smoke"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path


def stage_of(root: Path, run: str | None, **choice: str) -> str:
    """What a stage of `run` finds: the profile."""
    with chosen(root, choice, run):
        return read_params(root)["profile"]


def test_stages_of_one_run_share_its_profile(root: Path) -> None:
    assert stage_of(root, "one", **SMOKE) == "smoke"
    assert stage_of(root, "one", **SMOKE) == "smoke"
    assert stage_of(root, "one", promotion="ask", **SMOKE) == "smoke"
    assert stage_of(root, "another") == "smoke"


@pytest.mark.parametrize("run", [None, "another"])
def test_a_profile_that_was_changed_in_between_is_refused(root: Path, run: str | None) -> None:
    stage_of(root, "one", **SMOKE)
    stage_of(root, run, profile="tiny")
    with pytest.raises(BadConfig, match=r"'one' began with the profile smoke.*tiny now"):
        stage_of(root, "one", **SMOKE)
    assert read_params(root)["profile"] == "tiny"
    assert stage_of(root, "a new one", **SMOKE) == "smoke"


def test_one_that_was_changed_and_changed_back_is_refused_too(root: Path) -> None:
    stage_of(root, "one")
    stage_of(root, None, **SMOKE)
    stage_of(root, None, profile="tiny")
    with pytest.raises(BadConfig, match="in between"):
        stage_of(root, "one")


def test_a_profile_that_was_changed_by_hand_is_refused_too(root: Path) -> None:
    stage_of(root, "one")
    (root / "params.yaml").write_text(PARAMS.replace("tiny\n", "smoke\n", 1))
    with pytest.raises(BadConfig, match="began with the profile tiny"):
        stage_of(root, "one")

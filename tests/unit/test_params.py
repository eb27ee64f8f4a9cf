"""Parameters: typed, frozen, unknown keys named, a choice written with comments kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from models.training.settings import ONE, Devices
from pipelines.harness.errors import BadConfig, MissingResource
from pipelines.harness.params import Params, read_params, section, set_choice
from pipelines.training.trained import TrainedParams

TEXT = """\
# a comment
profile: small  # which size
promotion: ask
seed: 1
threads: 1
fit: {rate: 0.1}
profiles:
  small: {fit: {epochs: 1}}
  large: {fit: {epochs: 9, rate: 0.5}}
"""


@dataclass(frozen=True)
class Sizes:
    width: int
    shares: Sequence[float]


class NestedParams(Params):
    sizes: Sizes
    worth: dict[str, float]


class FitParams(Params):
    rate: float
    epochs: int


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(TEXT)
    return tmp_path


def test_the_profile_is_laid_over_the_section(root: Path) -> None:
    assert section(read_params(root), "fit", FitParams) == FitParams(rate=0.1, epochs=1)
    set_choice(root, "profile", "large")
    assert section(read_params(root), "fit", FitParams) == FitParams(rate=0.5, epochs=9)


def test_unknown_and_wrong_keys_are_named(root: Path) -> None:
    document = read_params(root)
    document["fit"] = {"rate": "quick", "ratio": 2}
    with pytest.raises(BadConfig) as caught:
        section(document, "fit", FitParams)
    for word in ("fit.ratio", "fit.rate", "profile small", "epochs"):
        assert word in str(caught.value)


def test_settings_of_a_model_are_merged_and_held_as_strictly(root: Path) -> None:
    document = read_params(root)
    document["fit"] = {"sizes": {"width": 2, "shares": [0.5]}, "worth": {"a": 1.0, "b": 2.0}}
    document["profiles"]["small"]["fit"] = {"sizes": {"width": 3}, "worth": {"b": 3.0}}
    found = section(document, "fit", NestedParams)
    assert found == NestedParams(sizes=Sizes(3, [0.5]), worth={"a": 1.0, "b": 3.0})
    document["fit"]["sizes"] |= {"height": 1, "shares": ["half"]}
    with pytest.raises(BadConfig) as caught:
        section(document, "fit", NestedParams)
    for word in ("fit.sizes.height", "fit.sizes.shares.0"):
        assert word in str(caught.value)


class NetParams(TrainedParams):
    epochs: int


def test_what_is_trained_on_is_of_the_top_level_unless_the_section_says_otherwise(
    root: Path,
) -> None:
    document = read_params(root)
    del document["fit"]
    assert section(document, "fit", NetParams).devices == ONE
    document["devices"] = {"count": 2, "precision": "bf16-mixed"}
    assert section(document, "fit", NetParams).devices == Devices(count=2, precision="bf16-mixed")
    document["fit"] = {"devices": {"count": 1}}
    assert section(document, "fit", NetParams).devices == Devices(precision="bf16-mixed")
    # A stage that trains nothing does not read it.
    document["devices"] = {"cuont": 2}
    document["fit"] = {"rate": 0.1}
    section(document, "fit", FitParams)


@pytest.mark.parametrize(
    ("devices", "word"),
    [
        ({"cuont": 2}, "fit.devices.cuont"),
        ({"count": "two"}, "fit.devices.count"),
        ({"count": 0}, "trains nothing"),
        ({"accelerator": "tpu"}, "'cpu', 'gpu' or 'auto'"),
        ({"precision": "16"}, "fit.devices.precision"),
        ({"strategy": "zero"}, "fit.devices.strategy"),
    ],
)
def test_what_can_not_be_trained_on_is_refused(
    root: Path, devices: dict[str, object], word: str
) -> None:
    document = read_params(root) | {"fit": {}, "devices": devices}
    with pytest.raises(BadConfig, match=word):
        section(document, "fit", NetParams)


def test_graphics_cards_that_are_not_there_are_missed_before_work(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.training.settings.cards", lambda: 1)
    document = read_params(root) | {"fit": {}, "devices": {"accelerator": "gpu", "count": 2}}
    with pytest.raises(MissingResource, match="2 graphics card.*has 1"):
        section(document, "fit", NetParams)
    document["devices"]["count"] = 1
    assert section(document, "fit", NetParams).devices.graphics
    assert Devices(accelerator="auto").graphics and not ONE.graphics


def test_a_key_that_is_no_text_is_refused(root: Path) -> None:
    document = read_params(root)
    document["fit"] = {"sizes": {"width": 2, "shares": []}, "worth": yaml.safe_load("{no: 1.0}")}
    with pytest.raises(BadConfig, match=r"fit\.worth: the key False is no text"):
        section(document, "fit", NestedParams)


def test_parameters_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        FitParams(rate=0.1, epochs=1).rate = 0.2  # type: ignore[misc]


def test_a_choice_keeps_every_other_byte(root: Path) -> None:
    assert set_choice(root, "profile", "large")
    assert (root / "params.yaml").read_text() == TEXT.replace("profile: small", "profile: large")
    assert not set_choice(root, "profile", "large")


@pytest.mark.parametrize(("key", "value"), [("profile", "huge"), ("promotion", "yes")])
def test_a_choice_that_is_none_is_refused(root: Path, key: str, value: str) -> None:
    with pytest.raises(BadConfig, match=value):
        set_choice(root, key, value)
    assert (root / "params.yaml").read_text() == TEXT


def test_a_profile_that_is_not_there_is_refused(root: Path) -> None:
    (root / "params.yaml").write_text(TEXT.replace("profile: small", "profile: giant"))
    with pytest.raises(BadConfig, match="giant"):
        read_params(root)

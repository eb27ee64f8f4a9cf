"""A bundle comes back as it was saved, equal bundles give equal bytes, and no change of a file goes unseen."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from models.bundle import Bundle, DamagedBundle, load, manifest_hash, save, verify
from models.kinds import KINDS, load_model, model_class


def a_bundle() -> Bundle:
    inner = Bundle("text", {"width": 2}, {"weights": np.ones((2, 2), np.float16)}, {})
    tensors = {"b": np.arange(3), "a": np.eye(2, dtype=np.float32)}
    return Bundle(
        "sentiment", {"x": 1.5, "names": ["é", "好"]}, tensors, {"w": ["a"]}, {"enc": inner}
    )


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    told = save(a_bundle(), tmp_path / "one")
    found = load(tmp_path / "one")
    assert told == manifest_hash(tmp_path / "one")
    assert (found.kind, found.config["names"], found.vocabulary) == (
        "sentiment",
        ["é", "好"],
        {"w": ["a"]},
    )
    assert np.array_equal(found.tensors["a"], np.eye(2)) and found.tensors["b"].dtype == np.int64
    assert found.members["enc"].tensors["weights"].dtype == np.float16


def test_equal_bundles_give_equal_bytes(tmp_path: Path) -> None:
    one = a_bundle()
    turned = Bundle(
        one.kind,
        dict(reversed(one.config.items())),
        dict(reversed(one.tensors.items())),
        one.vocabulary,
        one.members,
    )
    assert save(one, tmp_path / "one") == save(turned, tmp_path / "two")


def test_tensors_are_those_of_the_format_and_writing_to_them_changes_no_file(
    tmp_path: Path,
) -> None:
    kinds = ["?", "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
    tensors = {kind: (np.arange(6).reshape(2, 3) % 2).astype(kind) for kind in kinds}
    tensors |= {"none": np.zeros((0, 4), np.float32), "one": np.full((1, 1, 1), 2.5)}
    save(Bundle("text", {}, tensors), tmp_path / "one")
    before = (tmp_path / "one/tensors.safetensors").read_bytes()
    found, wanted = load(tmp_path / "one").tensors, load_file(tmp_path / "one/tensors.safetensors")
    assert set(found) == set(wanted) == set(tensors)
    for name, values in found.items():
        assert (values.dtype, values.shape) == (wanted[name].dtype, wanted[name].shape)
        np.testing.assert_array_equal(values, wanted[name])
        values += values
    np.testing.assert_array_equal(found["f8"], 2 * tensors["f8"])
    assert (tmp_path / "one/tensors.safetensors").read_bytes() == before


def test_nothing_is_written_over(tmp_path: Path) -> None:
    save(a_bundle(), tmp_path / "one")
    with pytest.raises(FileExistsError):
        save(a_bundle(), tmp_path / "one")


FILES = ["config.json", "tensors.safetensors", "vocabulary.json", "enc/tensors.safetensors"]


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(FILES), place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_one_flipped_bit_is_found(tmp_path_factory, name: str, place: int, bit: int) -> None:
    folder = tmp_path_factory.mktemp("bundle") / "one"
    save(a_bundle(), folder)
    data = bytearray((folder / name).read_bytes())
    data[place % len(data)] ^= 1 << bit
    (folder / name).write_bytes(data)
    with pytest.raises(DamagedBundle, match=name):
        load(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    save(a_bundle(), tmp_path / "one")
    (tmp_path / "one" / name).unlink()
    with pytest.raises(DamagedBundle, match=name):
        verify(tmp_path / "one")


@pytest.mark.parametrize("name", ["extra.bin", "enc/more.json"])
def test_an_added_file_is_named(tmp_path: Path, name: str) -> None:
    save(a_bundle(), tmp_path / "one")
    (tmp_path / "one" / name).write_text("x")
    with pytest.raises(DamagedBundle, match=name):
        verify(tmp_path / "one")


def test_without_a_manifest_it_was_never_finished(tmp_path: Path) -> None:
    save(a_bundle(), tmp_path / "one")
    (tmp_path / "one" / "manifest.json").unlink()
    with pytest.raises(DamagedBundle, match="never finished"):
        load(tmp_path / "one")


def test_an_unknown_kind_names_the_known(tmp_path: Path) -> None:
    save(Bundle("oracle"), tmp_path / "one")
    with pytest.raises(KeyError, match="sentiment"):
        load_model(tmp_path / "one")
    with pytest.raises(KeyError, match="oracle"):
        model_class("oracle")
    assert len(KINDS) == 9

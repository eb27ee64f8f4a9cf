"""Vectors in a mapped file are those of the table."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.artefacts import vectors


@pytest.mark.parametrize("count", [0, 1, 50])
def test_mapped_vectors_are_those_that_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    rng = np.random.default_rng(count)
    names = [f"商品 {at}" for at in rng.permutation(count)]
    path = tmp_path / "vectors.parquet"
    vectors.write_vectors(path, "item_id", names, rng.normal(size=(count, 6)), "model")
    keys, wanted, _ = vectors.read_vectors(path, "item_id")
    monkeypatch.setattr(vectors, "BATCH_ROWS", 7)
    found, mapped = vectors.map_vectors(path, "item_id", tmp_path / "spill")
    assert found.to_pylist() == keys and mapped.dtype == wanted.dtype
    np.testing.assert_array_equal(mapped, wanted)
    assert list((tmp_path / "spill").iterdir()) == []

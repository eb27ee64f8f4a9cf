"""Features of texts: only new and changed ones are encoded, and the tables are the same as from nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.encoders.text import TextEncoder
from pipelines.text_features import text_features
from tests.data.shops import Shop, changed, make_shop, tables

OUT = "text-features"


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the encoder reads."""
    found: list[str] = []
    encode = TextEncoder.encode

    def noted(self: TextEncoder, texts: Sequence[str], *settings: Any) -> np.ndarray:
        found.extend(texts)
        return encode(self, texts, *settings)

    monkeypatch.setattr(TextEncoder, "encode", noted)
    return found


def shop_of(folder: Path, database: Path, reviews: pa.Table) -> Shop:
    shop = make_shop(folder, database)
    shop.validated("products", tables()["products"])
    shop.validated("reviews", reviews)
    return shop


def test_only_new_and_changed_texts_are_encoded(
    tmp_path: Path, migrated_database: Path, encoded: list[str]
) -> None:
    """The first of each four reviews is the mean of the others, and never encoded itself."""
    reviews = tables()["reviews"]
    shop = shop_of(tmp_path / "shop", migrated_database, reviews)
    assert shop.run(text_features) == 0
    assert len(encoded) == 60 + 90
    encoded.clear()
    assert shop.run(text_features) == 0
    assert encoded == []
    new = changed(reviews, "text", {5: "Another sentence.", 8: "Another whole review."})
    new = new.take(list(range(119, -1, -1)))
    shop.validated("reviews", new)
    assert shop.run(text_features) == 0
    assert encoded == ["Another sentence."]
    fresh = shop_of(tmp_path / "fresh", migrated_database, new)
    assert fresh.run(text_features) == 0
    assert shop.bytes_of(OUT) == fresh.bytes_of(OUT)


def test_another_encoder_takes_over_nothing(
    tmp_path: Path, migrated_database: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = shop_of(tmp_path / "shop", migrated_database, tables()["reviews"])
    assert shop.run(text_features) == 0
    encoded.clear()
    monkeypatch.setattr("pipelines.packaged.encoders.HASHING_WIDTH", 128)
    assert shop.run(text_features) == 0
    assert len(encoded) == 60 + 90

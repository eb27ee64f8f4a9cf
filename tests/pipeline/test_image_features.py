"""Features of pictures: only new and changed ones are looked at, and the tables are the same as from nothing."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from models.encoders.image import ImageEncoder
from models.vision.dominant import Palettes, dominant
from pipelines import image_features as module
from pipelines.harness import BadData
from pipelines.image_features import image_features, palettes
from tests.data.shops import Shop, make_shop, picture, tables

OUT, COLOURS = "image-features/images.parquet", "image-features/colours.parquet"


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The pictures that the encoder decodes."""
    found: list[bytes] = []
    decode = ImageEncoder.decode

    def noted(self: ImageEncoder, pictures: list[bytes], first: int = 0) -> object:
        found.extend(pictures)
        return decode(self, pictures, first)

    monkeypatch.setattr(ImageEncoder, "decode", noted)
    return found


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures are measured at a time."""
    found: list[int] = []

    def noted(pictures: np.ndarray, opaque: np.ndarray) -> Palettes:
        found.append(len(pictures))
        return dominant(pictures, opaque)

    monkeypatch.setattr(module, "dominant", noted)
    return found


def shop_of(folder: Path, database: Path, pictures: dict[str, bytes]) -> Shop:
    shop = make_shop(folder, database)
    give(shop, pictures)
    (shop.root / "data/ingest-encoders/image").mkdir(parents=True)
    return shop


def give(shop: Shop, pictures: dict[str, bytes]) -> None:
    table = {"image_key": list(pictures), "bytes": pa.array(list(pictures.values()), pa.binary())}
    shop.validated("images", pa.table(table))


def test_only_new_and_changed_pictures_are_looked_at(
    tmp_path: Path, migrated_database: Path, looked_at: list[bytes]
) -> None:
    old = dict(zip("abcd", tables()["images"]["bytes"].to_pylist(), strict=False))
    shop = shop_of(tmp_path / "shop", migrated_database, old)
    assert shop.run(image_features) == 0
    assert looked_at == list(old.values())
    looked_at.clear()
    assert shop.run(image_features) == 0
    assert looked_at == []
    new = {"z": old["a"], "b": picture(901), "c": old["c"], "e": picture(902)}
    give(shop, new)
    assert shop.run(image_features) == 0
    assert looked_at == [new["b"], new["e"]]
    fresh = shop_of(tmp_path / "fresh", migrated_database, new)
    assert fresh.run(image_features) == 0
    assert shop.bytes_of("image-features") == fresh.bytes_of("image-features")


def test_a_damaged_table_is_made_anew(
    tmp_path: Path, migrated_database: Path, looked_at: list[bytes]
) -> None:
    pictures = dict(zip("abcd", tables()["images"]["bytes"].to_pylist(), strict=False))
    shop = shop_of(tmp_path / "shop", migrated_database, pictures)
    assert shop.run(image_features) == 0
    whole = shop.bytes_of("image-features")
    path = shop.root / "data" / OUT
    spoilt = bytearray(path.read_bytes())
    spoilt[len(spoilt) // 4] ^= 0xFF
    path.write_bytes(spoilt)
    looked_at.clear()
    assert shop.run(image_features) == 0
    assert looked_at == list(pictures.values())
    assert shop.bytes_of("image-features") == whole


def test_colours_of_new_and_changed_pictures_alone_are_measured(
    tmp_path: Path, migrated_database: Path, looked_at: list[bytes], measured: list[int]
) -> None:
    old = {"a": picture(10), "b": picture(240), "c": picture(10)}
    shop = shop_of(tmp_path / "shop", migrated_database, old)
    assert shop.run(image_features) == 0
    rows = shop.read(COLOURS).to_pydict()
    assert rows["image_key"] == ["a", "b", "c"] and rows["rank"] == [1, 1, 1]
    assert rows["hex"] == ["#0a0a0a", "#f0f0f0", "#0a0a0a"]
    assert rows["name"] == ["black", "white", "black"] and rows["share"] == [1.0] * 3
    assert sum(measured) == 2
    whole = shop.bytes_of("image-features")
    measured.clear()
    assert shop.run(image_features) == 0
    assert sum(measured) == 0 and shop.bytes_of("image-features") == whole
    new = {"b": old["a"], "d": picture(120)}
    give(shop, new)
    assert shop.run(image_features) == 0
    assert sum(measured) == 1
    fresh = shop_of(tmp_path / "fresh", migrated_database, new)
    assert fresh.run(image_features) == 0
    assert shop.bytes_of("image-features") == fresh.bytes_of("image-features")
    measured.clear()
    looked_at.clear()
    shop.set("image-features", colours=24)
    assert shop.run(image_features) == 0
    assert sum(measured) == 2 and looked_at == []


def test_each_colour_of_a_picture_is_a_row(tmp_path: Path, migrated_database: Path) -> None:
    pixels = np.full((24, 24, 3), 255, np.uint8)
    pixels[4:20, 4:12], pixels[4:20, 12:20] = (200, 30, 40), (40, 140, 60)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png")
    shop = shop_of(tmp_path / "shop", migrated_database, {"a": out.getvalue()})
    assert shop.run(image_features) == 0
    found = shop.read(COLOURS).drop_columns("content").to_pylist()
    line = {"image_key": "a", "share": 0.5}
    assert found == [
        {**line, "rank": 1, "hex": "#288c3c", "name": "green"},
        {**line, "rank": 2, "hex": "#c81e28", "name": "red"},
    ]


def test_damaged_colours_are_measured_anew(
    tmp_path: Path, migrated_database: Path, looked_at: list[bytes]
) -> None:
    shop = shop_of(tmp_path / "shop", migrated_database, {"a": picture(10), "b": picture(240)})
    assert shop.run(image_features) == 0
    whole = shop.bytes_of("image-features")
    path = shop.root / "data" / COLOURS
    spoilt = bytearray(path.read_bytes())
    spoilt[len(spoilt) // 4] ^= 0xFF
    path.write_bytes(spoilt)
    looked_at.clear()
    assert shop.run(image_features) == 0
    assert looked_at == [] and shop.bytes_of("image-features") == whole


def test_without_a_picture_the_tables_are_empty(tmp_path: Path, migrated_database: Path) -> None:
    shop = shop_of(tmp_path / "shop", migrated_database, {})
    assert shop.run(image_features) == 0
    assert shop.read(COLOURS).num_rows == shop.read(OUT).num_rows == 0


def test_a_picture_whose_colours_cannot_be_measured_is_named() -> None:
    with pytest.raises(BadData, match="image_key b, column bytes: no JPEG.*Take the picture out"):
        palettes(8, [picture(10), b"no picture"], ["a", "b"], np.array([0, 1]))

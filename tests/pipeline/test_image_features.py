"""Features of pictures: only new and changed ones are looked at, and the table is the same as from nothing."""

from pathlib import Path

import pyarrow as pa
import pytest

from models.encoders.image import ImageEncoder
from pipelines.image_features import image_features
from tests.data.shops import Shop, make_shop, picture, tables

OUT = "image-features/images.parquet"


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

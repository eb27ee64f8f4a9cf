"""Text on product pictures: only new ones are read, as many as the profile says, and a cut-off run goes on."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw, ImageFont

from models.vision.packs import Line, Reader
from pipelines.artefacts.packs import kept_line
from pipelines.artefacts.vectors import content_hash
from pipelines.harness import BadData
from pipelines.pack_texts import pack_texts
from tests.data.shops import Shop, make_shop

OUT = "pack-texts/texts.parquet"


def pack(text: str, side: int = 160) -> bytes:
    """A picture of a pack that says `text`."""
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((10, 10, side - 10, side - 10), fill=(30, 60, 140))
    draw.text((20, side // 3), text, fill="white", font=ImageFont.load_default(18))
    out = io.BytesIO()
    image.save(out, "png")
    return out.getvalue()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The pictures that are read, by a reader that tells how long their files are."""
    found: list[bytes] = []

    def lines(self: Reader, data: bytes) -> list[Line]:
        found.append(data)
        return [Line(f"{len(data)} bytes", 0, 0, 9, 0.75)]

    monkeypatch.setattr(Reader, "__init__", lambda self, threads, side: None)
    monkeypatch.setattr(Reader, "lines", lines)
    return found


def shop_of(folder: Path, database: Path, pictures: dict[str, bytes | None]) -> Shop:
    shop = make_shop(folder, database)
    shop.set("pack-texts", pictures="all")
    give(shop, pictures)
    return shop


def give(shop: Shop, pictures: dict[str, bytes | None]) -> None:
    """Products with these pictures, the first two of them in train and one in valid."""
    rows = list(pictures.items())
    for part, chosen in (("train", rows[:2]), ("valid", rows[2:3]), ("test", rows[3:])):
        table = {
            "item_id": pa.array([item for item, _ in chosen], pa.string()),
            "title": pa.array([""] * len(chosen), pa.string()),
            "image_key": pa.array([f"of {item}" for item, _ in chosen], pa.string()),
            "bytes": pa.array([data for _, data in chosen], pa.binary()),
        }
        shop.put("", pa.table(table), "split/attributes", f"{part}.parquet")


def test_only_new_pictures_are_read_and_each_once(
    tmp_path: Path, migrated_database: Path, read: list[bytes]
) -> None:
    old = {"a": pack("one"), "b": None, "c": pack("three"), "d": pack("one")}
    shop = shop_of(tmp_path / "shop", migrated_database, old)
    assert shop.run(pack_texts) == 0
    assert read == [old["a"], old["c"]]
    rows = shop.read(OUT).to_pydict()
    assert rows["item_id"] == ["a", "c", "d"] and rows["image_key"] == ["of a", "of c", "of d"]
    assert rows["text"] == [f"{len(old[one])} bytes" for one in "acd"]
    assert rows["confidence"] == [0.75] * 3
    read.clear()
    whole = shop.bytes_of("pack-texts")
    assert shop.run(pack_texts) == 0
    assert read == [] and shop.bytes_of("pack-texts") == whole
    new = {"z": old["c"], "b": pack("new"), "e": pack("tiny", 40)}
    give(shop, new)
    assert shop.run(pack_texts) == 0
    assert read == [new["b"]] and shop.read(OUT)["item_id"].to_pylist() == ["b", "z"]
    fresh = shop_of(tmp_path / "fresh", migrated_database, new)
    assert fresh.run(pack_texts) == 0
    assert shop.bytes_of("pack-texts") == fresh.bytes_of("pack-texts")


def test_as_many_are_read_as_the_profile_says(
    tmp_path: Path, migrated_database: Path, read: list[bytes]
) -> None:
    pictures = {name: pack(name) for name in "abcdef"}  # three of them in test
    shop = shop_of(tmp_path / "shop", migrated_database, pictures)
    shop.set("pack-texts", pictures=0)
    assert shop.run(pack_texts) == 0
    assert read == [] and shop.read(OUT).num_rows == 0
    shop.set("pack-texts", pictures=1)
    assert shop.run(pack_texts) == 0
    of_parts = [[pictures[name] for name in names] for names in ("ab", "c", "def")]
    some = [min(part, key=content_hash) for part in of_parts]
    assert read == some
    read.clear()
    shop.set("pack-texts", pictures="all")
    assert shop.run(pack_texts) == 0
    assert len(read) == 3 and not set(read) & set(some) and shop.read(OUT).num_rows == 6


def test_a_run_that_was_cut_off_goes_on(
    tmp_path: Path, migrated_database: Path, read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = {name: pack(name) for name in "abc"}
    shop = shop_of(tmp_path / "shop", migrated_database, pictures)
    kept = shop.root / "kept"
    monkeypatch.setattr("pipelines.pack_texts.unfinished", lambda run, params: kept)
    kept.write_text(kept_line(content_hash(pictures["a"]), ("read before", 0.5)) + '["cut')
    assert shop.run(pack_texts) == 0
    assert read == [pictures["b"], pictures["c"]] and not kept.exists()
    assert shop.read(OUT)["text"].to_pylist()[0] == "read before"


def test_a_picture_that_cannot_be_opened_is_named(
    tmp_path: Path, migrated_database: Path, read: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    shop = shop_of(tmp_path / "shop", migrated_database, {"a": b"no picture"})
    assert shop.run(pack_texts) == BadData.exit_code
    told = capsys.readouterr()
    assert "item_id a, image_key of a, column bytes" in told.out + told.err


def test_words_on_a_pack_are_read(tmp_path: Path, migrated_database: Path) -> None:
    blank = io.BytesIO()
    Image.new("RGB", (96, 96), (200, 180, 40)).save(blank, "png")
    shop = shop_of(
        tmp_path / "shop", migrated_database, {"a": pack("Valio 500 ml"), "b": blank.getvalue()}
    )
    assert shop.run(pack_texts) == 0
    rows = shop.read(OUT).to_pydict()
    assert rows["text"][0].lower().replace(" ", "") == "valio500ml" and rows["confidence"][0] > 0.7
    assert rows["text"][1] == "" and rows["confidence"][1] == 0.0
    assert pq.read_schema(shop.root / "data" / OUT).metadata[b"vitrine.model"]

"""Text on packs as a source of attributes: what is learned from it, when it is silent, how it is frozen."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.bundle import load, save
from models.encoders.text import TextEncoder
from models.vision.attributes import Attributes, View
from models.vision.attributes_training import Made, Rows, fit, weigh
from models.vision.settings import AttributesSettings, HeadSettings, TuningSettings
from pipelines.artefacts.packs import Shown, read_kept, read_known, texts_of, write_texts
from pipelines.capabilities import attributes as judge

SETTINGS = AttributesSettings(
    [],
    0.99,
    256,
    0,
    HeadSettings(16, 6, 16, 0.03, 0.0, 0.0, 0.0),
    TuningSettings(0.0, 0, 0.6, 0.9, 8, 0.001, 0.9, 0.0, 0.0, 0.0, 1, 0.5, 0.0, 0.1),
)
BRANDS = ["Arla", "Oatly", "Valio"]


def learned(count: int, packs: list[str]) -> Attributes:
    """From products whose titles tell the kind, and nothing of the brand."""
    kinds = np.array(["milk", "juice"])[np.random.default_rng(0).integers(0, 2, count)]
    titles = [f"{kind} {chr(97 + at % 26)}{chr(97 + at // 26)}" for at, kind in enumerate(kinds)]
    values = {"kind": kinds.tolist(), "brand": [BRANDS[at % 3] for at in range(count)]}
    blank = np.zeros((0, 8, 8, 3), np.uint8)
    rows = Rows(titles, blank, np.zeros(0, np.int64), values, packs=packs)
    return fit(rows, None, TextEncoder.hashing(16), SETTINGS, 0)


def files(model: Attributes, folder: Path) -> dict[str, bytes]:
    save(model.to_bundle(), folder)
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_stands_on_packs_alone_is_learned_from_them(tmp_path: Path) -> None:
    # Of every fourth product the pack was not read.
    packs = [f"{BRANDS[at % 3].upper()} 500 ml" if at % 4 else "" for at in range(160)]
    model = learned(160, packs)
    told = [f"{brand} 500 ml" for brand in BRANDS]
    asked = pd.DataFrame({"title": ["milk zz"] * 3, "pack_text": told})
    found = model.predict(asked)
    assert found["brand"].tolist() == BRANDS and found["kind"].tolist() == ["milk"] * 3
    assert model.predict(asked[["pack_text"]])["brand"].tolist() == BRANDS
    untold = model.predict(asked[["title"]])
    assert (untold["brand_confidence"] < found["brand_confidence"] - 0.2).all()
    assert model.predict(pd.DataFrame({"pack_text": ["", None]}))["brand"].isna().all()
    weights = model.weights["kind"]
    assert weights["title+pack"][1] <= 0.3 < 0.7 <= weights["title+pack"][0]
    assert weights["title"] == [1.0, 0.0] and weights["pack"] == [0.0, 1.0]
    save(model.to_bundle(), tmp_path / "bundle")
    again = Attributes.from_bundle(load(tmp_path / "bundle"))
    pd.testing.assert_frame_equal(found, again.predict(asked))


def test_packs_are_silent_where_no_held_out_row_has_one() -> None:
    draw = np.random.default_rng(1)
    heads = {"kind": draw.normal(size=(30, 2)), "brand": draw.normal(size=(30, 3))}
    made = [
        Made(
            View((source,), dict.fromkeys(heads)),
            rows,
            {name: one[rows] for name, one in heads.items()},
        )
        for source, rows in (("title", np.arange(30)), ("pack", np.zeros(0, np.int64)))
    ]
    truth, out = draw.integers(0, 2, 30), np.ones(30, bool)
    for sources in (("title",), ("title", "pack")):
        assert weigh(made, "kind", truth, sources, out)[1] == 0.0
    assert weigh(made, "kind", truth, ("pack",), out) == [0.0, 1.0]


def test_without_text_the_model_is_byte_for_byte_what_it_was(tmp_path: Path) -> None:
    none, empty = learned(24, []), learned(24, ["", " "] * 12)
    assert files(none, tmp_path / "none") == files(empty, tmp_path / "empty")
    asked = pd.DataFrame({"title": ["milk a", "juice b"], "pack_text": ["Arla", "Oatly"]})
    pd.testing.assert_frame_equal(none.predict(asked), none.predict(asked[["title"]]))


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    shown = [Shown("b", "k1", "h1"), Shown("a", "k1", "h1"), Shown("c", "k2", "h2")]
    write_texts(tmp_path / "texts.parquet", shown, {"h1": ("Arla", 0.9), "h2": ("", 0.0)}, "me")
    return tmp_path / "texts.parquet"


def test_the_table_tells_by_product_and_knows_by_content(texts: Path) -> None:
    assert texts_of(texts, pd.Series(["c", "b", "x", "a"])).tolist() == ["", "Arla", "", "Arla"]
    assert read_known(texts, "me") == {"h1": ("Arla", 0.9), "h2": ("", 0.0)}
    assert read_known(texts, "another") == read_known(texts.with_name("none"), "me") == {}
    texts.write_bytes(texts.read_bytes()[:-9])
    assert read_known(texts, "me") == {}


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    assert read_kept(None) == read_kept(path) == {}
    path.write_text('["h1", "Arla", 0.9]\n["h2", "Oat')
    assert read_kept(path) == {"h1": ("Arla", 0.9)}


def test_texts_are_frozen_with_the_rows_that_have_them(tmp_path: Path, texts: Path) -> None:
    for part, items in (("valid", ["a", "c", "d"]), ("test", ["c", "d"])):
        kind, pictures = ["milk"] * len(items), pa.array([b"p"] * len(items), pa.binary())
        columns = {"item_id": items, "title": [""] * len(items), "bytes": pictures, "kind": kind}
        pq.write_table(pa.table(columns), tmp_path / f"{part}.parquet")
    judge.freeze(tmp_path, "valid", tmp_path / "rows", texts)
    table = judge.frozen(tmp_path / "rows")
    assert table["pack_text"].fillna("").tolist() == ["Arla", "", ""]
    assert judge.fields_of(table) == ["kind"]
    assert judge.example(tmp_path / "rows", 2)["pack_text"].fillna("").tolist() == ["", "Arla"]
    judge.freeze(tmp_path, "test", tmp_path / "other", texts)
    plain = (tmp_path / "test.parquet").read_bytes()
    assert (tmp_path / "other" / judge.ROWS).read_bytes() == plain

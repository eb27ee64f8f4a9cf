"""How recognition and attributes are judged: the right rows, the right baselines, missing labels."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.capabilities import attributes, recognition

SHADES = {"dark": 30, "bright": 220}


def picture(label: str, seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(-20, 20, (16, 16, 3))
    out = io.BytesIO()
    Image.fromarray((SHADES[label] + noise).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def pictures(tmp_path):
    """30 pictures, two thirds dark, and 9 to judge on."""
    for part, count in (("train", 30), ("valid", 9)):
        labels = ["bright" if at % 3 == 0 else "dark" for at in range(count)]
        table = pa.table(
            {
                "image_key": [f"{part}{at}" for at in range(count)],
                "label": labels,
                "bytes": [picture(label, at) for at, label in enumerate(labels)],
            }
        )
        pq.write_table(table, tmp_path / f"{part}.parquet")
    return tmp_path


@pytest.fixture
def products(tmp_path):
    """Products by title (one field), pictures (the other) and one with both; some cells empty."""
    titles = [("red cap", "hat"), ("blue cap", "hat"), ("leather boot", "shoe"), ("!!", "shoe")]
    for part, times in (("train", 6), ("valid", 2)):
        rows = [(title, None, kind, None) for title, kind in titles * times]
        rows += [("", picture(shade, at), None, shade) for at in range(times) for shade in SHADES]
        rows += [
            ("blue cap", picture("dark", 99), "hat", "dark"),
            ("nothing known", None, None, None),
        ]
        frame = pd.DataFrame(rows, columns=["title", "bytes", "kind", "shade"], dtype=object)
        frame.insert(0, "item_id", [f"{part}{at}" for at in range(len(frame))])
        frame["image_key"] = frame["item_id"].where(frame["bytes"].notna())
        pq.write_table(pa.Table.from_pandas(frame), tmp_path / f"{part}.parquet")
    return tmp_path


class Always:
    """A model with one answer."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        columns = {name: [value] * len(frame) for name, value in self.answers.items()}
        sure = {f"{name}_confidence": [0.5] * len(frame) for name in self.answers}
        return pd.DataFrame(columns | sure | {"confidence": [0.5] * len(frame)})


def test_recognition_is_scored_on_the_frozen_rows_alone(pictures, tmp_path):
    rows = tmp_path / "rows"
    recognition.freeze(pictures, "valid", rows)
    found = recognition.baselines(pictures, rows, 1)
    (pictures / "valid.parquet").unlink()
    table = recognition.score(Always(label="dark"), rows)
    assert set(table) >= {f"side_{name}" for name in recognition.SIDES}
    assert table["row_id"].tolist() == [f"valid{at}" for at in range(9)]
    assert table["score"].tolist() == [0, 1, 1] * 3
    assert found["majority"].tolist() == [0, 1, 1] * 3
    assert found["nearest pixels"].tolist() == [1] * 9
    assert recognition.example(rows, 2).columns.tolist() == ["bytes"]


def test_attributes_are_scored_on_their_known_fields(products, tmp_path):
    rows = tmp_path / "rows"
    attributes.freeze(products, "valid", rows)
    table = attributes.score(Always(kind="hat"), rows)
    assert set(table) >= {f"side_{name}" for name in attributes.SIDES}
    assert len(table) == 13
    assert table["score"].tolist() == [1, 1, 0, 0] * 2 + [0] * 4 + [0.5]
    assert table["slice_source"].tolist() == ["title"] * 8 + ["picture"] * 5
    assert table["right_shade"].isna().sum() == 8
    assert table["truth"].iloc[-1] == "kind: hat; shade: dark"


def test_baselines_of_attributes_use_each_source(products, tmp_path):
    rows = tmp_path / "rows"
    attributes.freeze(products, "valid", rows)
    found = attributes.baselines(products, rows, 1)
    table = attributes.score(Always(kind="hat", shade="dark"), rows)
    np.testing.assert_array_equal(found["majority"], table["score"])
    # All but the title without a word, which gets the most frequent kind.
    assert found["word counts, nearest pixels"].tolist() == [1, 1, 1, 0] * 2 + [1] * 5


def test_a_field_without_one_value_in_train_counts_as_wrong(products, tmp_path):
    train = pq.read_table(products / "train.parquet").to_pandas()
    train["shade"] = None
    pq.write_table(pa.Table.from_pandas(train), products / "train.parquet")
    rows = tmp_path / "rows"
    attributes.freeze(products, "valid", rows)
    found = attributes.baselines(products, rows, 1)
    assert found["majority"][8:12].tolist() == [0] * 4


def test_the_example_shows_a_title_and_a_picture(products, tmp_path):
    rows = tmp_path / "rows"
    attributes.freeze(products, "valid", rows)
    shown = attributes.example(rows, 3)
    assert len(shown) == 3
    assert shown["bytes"].notna().sum() == 1

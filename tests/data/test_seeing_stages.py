"""The stage that learns to recognise pictures, on a split of a few: what it writes answers from bytes."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from models.kinds import load_model
from pipelines.harness import BadData
from pipelines.recognition import recognition
from tests.data.shops import Shop, make_shop, picture

SHADES = {"dark": 20, "middle": 120, "bright": 230}


def shades(count: int, start: int) -> pa.Table:
    """Labelled pictures, no two of them equal."""
    labels = [list(SHADES)[at % 3] for at in range(count)]
    return pa.table(
        {
            "image_key": [f"i{start + at}" for at in range(count)],
            "label": labels,
            "bytes": [
                picture(SHADES[label] + (start + at) % 25 - 12) for at, label in enumerate(labels)
            ],
        }
    )


@pytest.fixture
def shop(tmp_path: Path, migrated_database: Path) -> Shop:
    made = make_shop(tmp_path / "shop", migrated_database)
    (made.root / "data" / "ingest-encoders" / "image").mkdir(parents=True)
    for part, count, start in (("train", 45, 0), ("valid", 18, 100)):
        made.put("", shades(count, start), "split/recognition", f"{part}.parquet")
    return made


def figures(shop: Shop, stage: str) -> dict:
    return json.loads((shop.root / "data" / stage / "metrics.json").read_text())


def test_the_recogniser_of_the_stage_answers_from_bytes(shop):
    assert shop.run(recognition) == 0
    told = figures(shop, "recognition")
    assert told["headline"]["value"] > 0.9 and told["rows_in"] == 45
    model = load_model(shop.root / "data" / "recognition" / "bundle")
    asked = shades(6, 200).to_pandas()
    found = model.predict(asked[["bytes"]])
    assert found["label"].tolist() == asked["label"].tolist()
    shop.put("", shades(45, 0).slice(0, 1), "split/recognition", "train.parquet")
    assert shop.run(recognition) == BadData.exit_code

"""Text on packs through the stages: learned by attributes, frozen by evaluate, proposed by the audit."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from PIL import Image

from models.kinds import load_model
from pipelines.artefacts.packs import Shown, write_texts
from pipelines.attributes import attributes
from pipelines.audit import audit
from pipelines.evaluate import evaluate
from pipelines.harness.absent import write_placeholder
from pipelines.image_features import image_features
from tests.data.shops import Shop, make_shop

BRANDS = ("Arla", "Oatly")


def noise(seed: int) -> bytes:
    cells = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(cells).save(out, "png")
    return out.getvalue()


def brand(at: int) -> str:
    return BRANDS[at % 2]


@pytest.fixture
def shop(tmp_path: Path, migrated_database: Path) -> Shop:
    """Products whose pictures tell nothing of the brand; that of the first is not known."""
    made = make_shop(tmp_path / "shop", migrated_database)
    params = made.root / "params.yaml"
    document = yaml.safe_load(params.read_text())
    document["profiles"]["tiny"]["attributes"]["learning"]["heads"] = {"batch": 64, "epochs": 12}
    params.write_text(yaml.safe_dump(document))
    (made.root / "data/ingest-encoders/image").mkdir(parents=True)
    (made.root / "data/ingest-encoders/text").mkdir(parents=True)
    keys = [f"k{at:03}" for at in range(280)]
    images = {"image_key": keys, "bytes": [noise(at) for at in range(280)]}
    made.validated("images", pa.table(images))
    for part, start, end in (("train", 0, 240), ("valid", 240, 260), ("test", 260, 280)):
        rows = range(start, end)
        columns = {
            "item_id": [f"i{at:03}" for at in rows],
            "title": [""] * len(rows),
            "image_key": keys[start:end],
            "brand": [None if at == 0 else brand(at) for at in rows],
            "bytes": images["bytes"][start:end],
        }
        made.put("", pa.table(columns), "split/attributes", f"{part}.parquet")
    for path in ("text-features/products.parquet", "validate-images/quarantine.parquet"):
        write_placeholder(made.root / "data" / path, "made for the test")
    return made


def packs(shop: Shop, words: dict[str, str]) -> None:
    path = shop.root / "data/pack-texts/texts.parquet"
    path.parent.mkdir(exist_ok=True)
    shown = [Shown(item, f"k{item[1:]}", item) for item in words]
    write_texts(path, shown, {item: (text, 0.9) for item, text in words.items()}, "me")


def test_packs_are_learned_frozen_and_proposed(shop: Shop) -> None:
    assert shop.run(image_features) == 0
    # The last product's pack was not read.
    packs(shop, {f"i{at:03}": f"{brand(at).upper()} 500 ml" for at in range(279)})
    assert shop.run(attributes) == 0
    assert load_model(shop.root / "data/attributes/bundle").packs
    assert shop.run(evaluate, "attributes") == 0
    scores = shop.read("evaluate/attributes/scores.parquet").to_pandas()
    assert scores["score"].iloc[:19].mean() > 0.9
    assert shop.read("evaluate/attributes/rows/products.parquet")["pack_text"].null_count == 1
    assert shop.run(audit) == 0
    found = shop.read("audit/audit.parquet").to_pandas()
    told = found[(found["item_id"] == "i000") & (found["kind"] == "value proposed")].iloc[0]
    assert (told["proposed"], told["source"]) == ("Arla", "pack") and told["confidence"] > 0.9

"""Short sentences of ours that are easily misread, read by the smallest fitted model, and what the stage told of all reviews."""

import json

import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from models.kinds import load_model
from models.language.tone import LEVELS, MIXED
from tests.conftest import REPOSITORY
from tests.pipeline.shop import Shop

pytestmark = pytest.mark.xdist_group("tiny")

SHARES = pd.Series({"en": 0.55, "zh": 0.8})
"""Of the sentences that must be read as they are meant: the model has learned from some hundred made ones."""


def test_negation_contrast_comparison_and_emoji_are_read(tiny_shop: Shop) -> None:
    lines = (REPOSITORY / "tests/data/sentences.jsonl").read_text("utf-8").splitlines()
    table = pd.DataFrame([json.loads(line) for line in lines])
    model = load_model(tiny_shop.root / "data/sentiment/bundle")
    table["right"] = model.predict(table[["text", "language"]])["label"] == table["label"]
    shares = table.groupby("language")["right"].mean()
    assert (shares >= SHARES).all(), table[~table["right"]].to_string()


def test_every_review_has_its_label_and_its_tone(tiny_shop: Shop) -> None:
    reviews = pq.read_table(tiny_shop.root / "data/validate-reviews/table.parquet")
    told = pq.read_table(tiny_shop.root / "data/sentiment/reviews.parquet")
    assert sorted(told["review_id"].to_pylist()) == sorted(reviews["review_id"].to_pylist())
    chances = told.select(["negative", "neutral", "positive"]).to_pandas()
    assert ((chances.sum(axis=1) - 1).abs() < 1e-6).all()
    tones = set(told["tone"].to_pylist())
    assert MIXED in tones and tones <= {*LEVELS, MIXED}
    assert pc.all(pc.is_nan(told["stars"])).as_py() or told["stars"].null_count == told.num_rows

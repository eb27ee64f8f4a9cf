"""Sentiment in two languages, its scores and its baselines."""

import numpy as np
import pandas as pd
import pytest

from models.bundle import load, save
from models.encoders.ngrams import Grams
from models.encoders.text import TextEncoder
from models.language.sentiment import LABELS, Network, Reading, Sentiment, language_of, read_texts
from pipelines.capabilities import sentiment as judge

READING = Reading(
    Grams(2, 2, 3, 1 << 10),
    ("en", "zh"),
    ((True, True, True), (True, False, True)),
    ("en",),
)
ODD = ["", "😀", "x" * 100_000, "\x00\x01", "很好，推荐", "fine"]


def model() -> Sentiment:
    import torch

    torch.manual_seed(0)
    encoder = TextEncoder.hashing(32)
    network = Network(READING.grams.buckets, encoder.width, 8, np.asarray(READING.labels))
    torch.nn.init.normal_(network.wide.weight)
    network.temperature.copy_(torch.tensor([1.5, 0.5]))
    return Sentiment(READING, network, encoder)


def test_any_text_has_a_label_of_its_language_and_chances_that_sum_to_one() -> None:
    found = model().predict(pd.DataFrame({"text": ODD}))
    assert found["language"].tolist() == ["en", "en", "en", "en", "zh", "en"]
    assert np.allclose(found[list(LABELS)].sum(1), 1, atol=1e-6)
    assert found["neutral"][4] == 0
    assert np.allclose(found["confidence"], found[list(LABELS)].max(1))
    assert model().predict(pd.DataFrame({"text": []})).empty


def test_the_language_told_is_used_and_an_unknown_one_is_guessed() -> None:
    texts = ["很好", "很好", "good"]
    found = model().predict(pd.DataFrame({"text": texts, "language": ["en", "xx", None]}))
    assert found["language"].tolist() == ["en", "zh", "en"]
    assert language_of("ok 很好很好") == "zh" and language_of("品牌 is a brand name") == "en"


def test_a_prediction_depends_on_its_row_alone_and_survives_the_bundle(tmp_path) -> None:
    made = model()
    frame = pd.DataFrame({"text": ODD}, index=range(5, 11))
    whole = made.predict(frame)
    alone = pd.concat([made.predict(frame.iloc[[at]]) for at in range(len(frame))])
    pd.testing.assert_frame_equal(whole, alone, rtol=1e-4)
    save(made.to_bundle(), tmp_path / "bundle")
    again = Sentiment.from_bundle(load(tmp_path / "bundle"))
    pd.testing.assert_frame_equal(again.predict(frame), whole)


def test_rows_of_inputs_are_those_texts() -> None:
    texts = ["good radio", "", "bad", "good good radio"]
    vectors = np.arange(8, dtype=np.float32).reshape(4, 2)
    inputs = read_texts(texts, ["en"] * 4, vectors, READING)
    chosen = inputs.rows(np.array([3, 1, 0]))
    wanted = read_texts([texts[3], texts[1], texts[0]], ["en"] * 3, vectors[[3, 1, 0]], READING)
    for ours, theirs in zip(chosen.tensors(), wanted.tensors(), strict=True):
        assert (ours == theirs).all()


def test_scores_mean_balanced_accuracy_within_each_language() -> None:
    table = pd.DataFrame(
        {
            "language": ["en"] * 4 + ["zh"] * 2,
            "label": ["positive", "positive", "positive", "negative", "negative", "positive"],
        }
    )
    weights = judge.weights(table)
    assert weights[:4].mean() == weights[4:].mean() == 1
    majority = (table["label"] == "positive") * weights
    assert majority[:4].mean() == pytest.approx(0.5) and majority[4:].mean() == pytest.approx(0.5)


def test_baselines_and_scores_have_the_rows_of_the_frozen_part(tmp_path) -> None:
    rows = [
        ("b", "good radio", "en", "positive"),
        ("a", "bad radio", "en", "negative"),
        ("d", "很好", "zh", "positive"),
        ("c", "很差", "zh", "negative"),
        ("e", "it came in a box", "en", "neutral"),
    ]
    table = pd.DataFrame(rows, columns=["review_id", "text", "language", "label"])
    for part in ("train", "test"):
        table.to_parquet(tmp_path / f"{part}.parquet", index=False)
    judge.freeze(tmp_path, "test", tmp_path / "rows")
    found = judge.baselines(tmp_path, tmp_path / "rows", seed=1)
    assert {name: len(values) for name, values in found.items()} == {
        "VADER": 5,
        "majority": 5,
        "word counts": 5,
    }
    assert found["word counts"].mean() == pytest.approx(1)
    scores = judge.score(model(), tmp_path / "rows")
    assert scores["row_id"].tolist() == list("abcde")
    assert scores["slice_language"].tolist() == ["en", "en", "zh", "zh", "en"]

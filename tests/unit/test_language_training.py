"""What the language models learn, and how their thresholds are chosen."""

import numpy as np
import pandas as pd
import pytest

from models.encoders.ngrams import Grams
from models.encoders.reranker import Reranker
from models.encoders.text import TextEncoder
from models.language.answers import Answers, Review
from models.language.answers_training import (
    Marked,
    Settings,
    best_margin,
    cross_fitted,
    fit_scorer,
    right_candidates,
)
from models.language.sentiment import Reading, read_texts
from models.language.sentiment_training import Settings as SentimentSettings
from models.language.sentiment_training import class_weights, gram_weights, train

FEW = Settings(epochs=40, rate=0.2, decay=0.0, folds=2)


def test_every_class_of_every_language_weighs_the_same() -> None:
    languages = np.array([0, 0, 0, 0, 1, 1])
    labels = np.array([0, 2, 2, 2, 0, 2])
    weights = class_weights(languages, labels, 2)
    of_rows = weights[languages, labels]
    assert of_rows.mean() == pytest.approx(1)
    assert of_rows[labels == 0].sum() == pytest.approx(of_rows[labels == 2].sum())
    assert of_rows[languages == 0].sum() == pytest.approx(of_rows[languages == 1].sum())
    assert weights[0, 1] == 0


def test_rare_ngrams_weigh_more_within_their_language() -> None:
    reading = Reading(Grams(1, 0, 0, 1 << 16), ("en", "zh"), ((True,) * 3,) * 2, ())
    inputs = read_texts(["good one", "good two"], ["en", "en"], np.zeros((2, 1)), reading)
    weights = gram_weights(inputs, 2, reading.grams.buckets)
    (both,) = set(inputs.rows(np.array([0])).ids) & set(inputs.rows(np.array([1])).ids)
    alone = set(inputs.ids) - {both}
    assert all(weights[0, word] > weights[0, both] for word in alone)
    assert (weights[1] == weights[1, 0]).all()


def test_sentiment_is_learned_in_both_languages_twice_the_same() -> None:
    good, bad = ["good", "fine", "nice"], ["bad", "poor", "awful"]
    texts = [f"{word} radio {at}" for at in range(6) for word in good + bad]
    texts += [f"{word}{at}" for at in range(6) for word in ("很好", "喜欢", "很差", "退货")]
    labels = np.array(([2] * 3 + [0] * 3) * 6 + ([2] * 2 + [0] * 2) * 6)
    languages = ["en"] * 36 + ["zh"] * 24
    allowed = ((True, False, True),) * 2
    reading = Reading(Grams(2, 0, 0, 1 << 10), ("en", "zh"), allowed, ("en",))
    encoder = TextEncoder.hashing(16)
    vectors = encoder.encode(texts)
    vectors[36:] = 0
    rows = read_texts(texts, languages, vectors, reading), labels
    settings = SentimentSettings(8, 6, 16, 1e-5, 0.05, 0.01, 0.01)
    made = [train(reading, encoder, rows, rows, settings, seed=4)[0] for _ in range(2)]
    frame = pd.DataFrame({"text": ["a nice one", "an awful one", "喜欢", "退货"]})
    assert made[0].predict(frame)["label"].tolist() == ["positive", "negative"] * 2
    for name, value in made[0].network.state_dict().items():
        assert (value == made[1].network.state_dict()[name]).all(), name


def test_the_margin_is_where_most_questions_come_out_right() -> None:
    logits = np.array([[2.0, -9.0, 0.0], [1.0, -9.0, 0.0], [-3.0, -4.0, 0.0]])
    right = np.array([[True, False, False], [False, False, True], [False, False, True]])
    assert best_margin(logits, right) == 1.5
    assert best_margin(logits[:1], right[:1]) == 0
    assert best_margin(np.array([[-np.inf, 0.0]]), np.array([[False, True]])) == 0


def test_the_scorer_learns_to_answer_and_not_to() -> None:
    parts = ["battery", "sound", "price", "display", "handle", "weight"]
    text = " ".join(f"the {part} is great." for part in parts)
    library = {"radio": [Review("r1", text), Review("r2", "it came in a box. i like it.")]}
    model = Answers.untrained(library, TextEncoder.hashing(64), Reranker.overlap(), candidates=4)
    asked = [f"how is the {part}" for part in parts] + [
        f"is there a {thing}"
        for thing in ("motor", "camera", "lens", "printer", "engine", "garage")
    ]
    marked = []
    for part in parts:
        start = text.index(f"the {part}")
        marked.append(Marked("r1", start, text.index(".", start) + 1))
    marked += [Marked(None, 0, 0)] * 6
    shelves = [model.shelf("radio")] * len(asked)
    found = model.find(asked, shelves)
    right = right_candidates(found, shelves, marked)
    assert right[:6, :-1].sum(1).tolist() == [1] * 6 and right[6:, -1].all()
    model.scorer, losses = fit_scorer(found, right, FEW, seed=1)
    assert losses[-1] < losses[0]
    said = model.predict(pd.DataFrame({"item_id": "radio", "question": asked}))["answer"]
    wanted = [f"the {part} is great." for part in parts] + [""] * 6
    assert sum(map(str.__eq__, said, wanted)) >= 11
    logits = cross_fitted(found, right, FEW, seed=1)
    assert logits.shape == right.shape
    assert np.array_equal(logits, cross_fitted(found, right, FEW, seed=1))

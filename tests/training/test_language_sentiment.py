"""Sentiment in two languages, its scores and its baselines."""

import numpy as np
import pandas as pd
import pytest

from models.bundle import load, save
from models.encoders.ngrams import Grams
from models.encoders.text import TextEncoder
from models.language.lexicon import NAMES, NEAR_NAMES, Lexicon
from models.language.polarity import Polarity, Reading, clause, passages
from models.language.polarity_training import Encoding, fit, fit_linear, folds_of, macro_f1
from models.language.sentiment import LABELS, Sentiment, language_of
from models.language.settings import EncoderSettings, PolaritySettings
from models.language.tone import MIXED, parts_of, tones
from pipelines.capabilities import sentiment as judge

GRAMS = Grams(2, 2, 3, 1 << 12)
SETTINGS = PolaritySettings(3, [3.0, 10.0], 1.0)
EVERY = EncoderSettings(500, 500, 500, 1.0)
LEXICON = Lexicon({"good": 2.0, "great": 3.0, "bad": -2.5, "awful": -2.0, "😀": 2.0})
ODD = ["", "😀", "x" * 100_000, "\x00\x01", "<b>很好</b>，推荐", "fine", "‮جيد جدا"]
GOOD, BAD = ("good", "great", "很好", "喜欢"), ("bad", "awful", "很差", "退货")


def texts_of(words: tuple[str, ...], count: int = 12) -> list[str]:
    return [f"the radio number {at} is {word}" for at in range(count) for word in words]


def fitted(labels: tuple[str, ...] = ("negative", "positive"), aspects: bool = False) -> Polarity:
    texts = texts_of(BAD) + texts_of(GOOD)
    truth = np.repeat([0, len(labels) - 1], len(texts) // 2)
    spans = [(4, 9)] * len(texts) if aspects else None
    reading = Reading(GRAMS, GRAMS, aspects)
    encoder = TextEncoder.hashing(32)
    given = passages(texts, spans)
    asked = Encoding(encoder, EVERY)
    return fit(given, truth, labels, None, reading, LEXICON, asked, SETTINGS, seed=1)


@pytest.fixture(scope="module")
def model() -> Sentiment:
    return Sentiment({"en": fitted(), "zh": fitted(LABELS)})


def test_any_text_has_a_label_and_chances_that_sum_to_one(model: Sentiment) -> None:
    found = model.predict(pd.DataFrame({"text": ODD}))
    assert found["language"].tolist() == ["en"] * 4 + ["zh"] + ["en"] * 2
    assert np.allclose(found[list(LABELS)].sum(1), 1, atol=1e-6)
    assert found["neutral"][0] == 0 and found["label"][4] == "positive"
    assert np.isfinite(found["confidence"]).all()
    assert model.predict(pd.DataFrame({"text": []})).empty


def test_what_is_no_text_is_read_as_a_sign() -> None:
    assert passages(["\ud800 ok", "<script>alert(1)</script>fine<br>"]).texts == ["? ok", "fine"]


def test_the_language_told_is_used_and_an_unknown_one_is_guessed(model: Sentiment) -> None:
    texts = ["很好", "很好", "good"]
    found = model.predict(pd.DataFrame({"text": texts, "language": ["en", "xx", None]}))
    assert found["language"].tolist() == ["en", "zh", "en"]
    assert language_of("ok 很好很好") == "zh" and language_of("品牌 is a brand name") == "en"


def test_a_prediction_depends_on_its_row_alone_and_survives_the_bundle(
    model: Sentiment, tmp_path
) -> None:
    frame = pd.DataFrame({"text": ODD[:6]}, index=range(5, 11))
    whole = model.predict(frame)
    alone = pd.concat([model.predict(frame.iloc[[at]]) for at in range(len(frame))])
    pd.testing.assert_frame_equal(whole, alone, rtol=1e-4)
    save(model.to_bundle(), tmp_path / "bundle")
    again = Sentiment.from_bundle(load(tmp_path / "bundle"))
    pd.testing.assert_frame_equal(again.predict(frame), whole, rtol=1e-4)


def test_fitting_twice_gives_the_same() -> None:
    ours, again = fitted(), fitted()
    assert np.array_equal(ours.wide.weights, again.wide.weights)
    assert np.array_equal(ours.deciding.stack.weights, again.deciding.stack.weights)


def test_labels_are_learned_with_and_without_an_aspect() -> None:
    for aspects in (False, True):
        spans = [(4, 9)] * 2 if aspects else None
        given = passages(["the radio is great", "the radio is awful"], spans)
        _, chosen = fitted(aspects=aspects).judge(given)
        assert chosen.tolist() == [1, 0]


def test_one_label_or_few_rows_give_how_often_each_comes() -> None:
    reading = Reading(GRAMS, GRAMS, False)
    for labels, truth in (
        (("only",), [0, 0, 0]),
        (("a", "b"), [1, 1, 0]),
        (("a", "b", "c"), [2, 2, 0]),
    ):
        made = fit(
            passages(["x", "y", "z"]),
            np.asarray(truth),
            labels,
            None,
            reading,
            LEXICON,
            None,
            SETTINGS,
            1,
        )
        found, chosen = made.judge(passages(["any", ""]))
        assert chosen.tolist() == [np.bincount(truth).argmax()] * 2
        assert np.allclose(found.sum(1), 1)


def test_a_class_without_a_row_is_never_likely() -> None:
    given = np.random.default_rng(0).normal(size=(40, 3))
    truth = (given[:, 0] > 0).astype(int) * 2
    logits = fit_linear(given, truth, 4, 1.0)(given)
    assert (logits.argmax(1) == truth).mean() > 0.9


def test_equal_texts_are_in_one_fold() -> None:
    texts = [f"this is the radio number {at} that I had" for at in range(40)]
    folds = folds_of(passages([*texts, *texts, "", "a", ""]), 3, seed=1)
    assert np.array_equal(folds[:40], folds[40:80]) and folds[80] == folds[82]
    assert len(set(folds_of(passages([str(at) * 9 for at in range(10, 60)]), 3, 1))) == 3


def test_macro_f1_counts_each_class_the_same() -> None:
    assert macro_f1(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]), 2) == pytest.approx(3 / 7)


def test_negation_contrast_and_emoji_bend_what_words_say() -> None:
    told = dict(
        zip(
            ("plain", "not", "turned", "emoji", "none"),
            LEXICON.features(
                ["a good radio", "not a good radio", "bad box but a great radio", "😀", "a radio"]
            )[:, NAMES.index("all")],
            strict=True,
        )
    )
    assert told["plain"] > 0 > told["not"] and told["turned"] > 0 and told["emoji"] > 0
    assert told["none"] == 0


def test_an_aspect_is_read_from_its_own_clause() -> None:
    text = "great screen, but an awful battery."
    near = LEXICON.near([text] * 2, [(6, 12), (27, 34)])[:, NEAR_NAMES.index("clause")]
    assert near[0] > 0 > near[1]
    assert clause(text, 27, 34) == "an awful battery" and clause(text, 6, 12) == "great screen"


def test_spans_stay_on_their_words_in_a_long_text() -> None:
    text = "x " * 50_000 + "battery" + " y" * 50_000
    given = passages([text, "short"], [(100_000, 100_007), (3, 99)])
    (start, end), last = given.spans.tolist()
    assert given.texts[0][start:end] == "battery" and last == [3, 5]


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


def test_baselines_and_scores_have_the_rows_of_the_frozen_part(model: Sentiment, tmp_path) -> None:
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
    scores = judge.score(model, tmp_path / "rows")
    assert scores["row_id"].tolist() == list("abcde")
    assert scores["slice_language"].tolist() == ["en", "en", "zh", "zh", "en"]


def test_vectors_that_are_known_are_not_made_again(model: Sentiment) -> None:
    texts = ["the radio is good", "the radio is awful", "很好"]
    frame = pd.DataFrame({"text": texts})
    vectors = TextEncoder.hashing(32).encode(texts)
    whole = model.predict(frame)
    pd.testing.assert_frame_equal(model.predict(frame, vectors), whole)
    vectors[1] = np.nan
    some = model.predict(frame, vectors)
    quick = model.quick().predict(frame)
    pd.testing.assert_frame_equal(some.iloc[[0, 2]], whole.iloc[[0, 2]])
    pd.testing.assert_frame_equal(some.iloc[[1]], quick.iloc[[1]])


def test_stars_are_expected_where_ratings_were_learned(model: Sentiment, tmp_path) -> None:
    texts = texts_of(BAD) + texts_of(("middling",), 24) + texts_of(GOOD)
    truth = np.repeat([0, 1, 2], [48, 24, 48])
    levels = np.array([1.0, 3.0, 5.0])
    reading = Reading(GRAMS, GRAMS, False)
    given = (passages(texts), truth, ["1", "3", "5"], levels, reading, LEXICON, None, SETTINGS)
    starred = Sentiment(model.models, {"en": fit(*given, seed=1)})
    save(starred.to_bundle(), tmp_path / "bundle")
    frame = pd.DataFrame({"text": ["it is awful", "it is middling", "it is great", "很好"]})
    found = Sentiment.from_bundle(load(tmp_path / "bundle")).predict(frame)
    one, three, five, none = found["stars"]
    assert 1 <= one < 2 < three < 4 < five <= 5 and np.isnan(none)
    assert "stars" not in model.predict(frame)


def test_a_review_that_praises_and_blames_is_mixed(model: Sentiment) -> None:
    texts = ["The sound is great, but the battery is awful.", "It is good. It is great.", "awful"]
    assert parts_of(texts[0]) == ["The sound is great", "the battery is awful"]
    found = tones(model.predict(pd.DataFrame({"text": texts})), texts, model.quick())
    assert found[0] == MIXED and "positive" in found[1] and "negative" in found[2]

"""The polarity of given aspects by an encoder that is trained on them."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle import load, save
from models.encoders.ngrams import Grams
from models.language.aspects_marks import Marked, read_marked
from models.language.aspects_polarity import AspectReader, learned
from models.language.aspects_polarity_training import train
from models.language.lexicon import Lexicon
from models.language.polarity import Frozen, Passages, Polarity, Reading, passages
from models.language.polarity_training import Encoding, fit
from models.language.sentiment import without_reader
from models.language.settings import AspectSettings, EncoderSettings, PolaritySettings
from models.training.settings import ONE
from pipelines.door.verb import Asked
from pipelines.door.verbs import sentiment
from tests.conftest import REPOSITORY
from tests.training.test_language_tagging import calm
from tests.unit.test_language_encoders import ODD

QUICK = AspectSettings(
    frozen=1, warm=1, epochs=100, batch=8, rate=0.005, fewest=8, most=100, freely=100
)
FEW = dataclasses.replace(QUICK, epochs=1)
GRAMS = Grams(1, 2, 3, 1 << 10)
SENTENCES = [
    f"{left} {first} {right} {second}"
    for left, right in (("good", "bad"), ("bad", "good"))
    for first, second in (("radio", "很"), ("很", "radio"))
]
"""Of each name the word before it tells what is thought."""
TEXTS = [text for text in SENTENCES for _ in range(2)]
SPANS = [
    (text.index(name), text.index(name) + len(name))
    for text in SENTENCES
    for name in ("radio", "很")
]
TRUTH = np.array(
    [text[: start - 1].endswith("good") for text, (start, _) in zip(TEXTS, SPANS, strict=True)],
    dtype=np.int64,
)


def trained(settings: AspectSettings = QUICK) -> AspectReader:
    return train(calm(), TEXTS, np.array(SPANS), TRUTH, 2, settings, seed=1)


@pytest.fixture(scope="module")
def reader() -> AspectReader:
    return trained()


def fitted(
    aspects: AspectSettings,
    spans: bool = True,
    marks: Sequence[Marked] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Polarity:
    given = passages(TEXTS * 3, SPANS * 3 if spans else None)
    encoding = Encoding(calm(), EncoderSettings(100, 100, 100, 1.0), None, aspects, ONE, marks)
    return fit(
        *(given, np.tile(TRUTH, 3), ["-", "+"], None, Reading(GRAMS, GRAMS, spans), Lexicon({})),
        *(encoding, PolaritySettings(3, [3.0], 1.0), 1, say),
    )


def test_two_names_of_one_text_are_told_apart(reader: AspectReader) -> None:
    found = reader.logits(TEXTS, np.array(SPANS))
    assert found.shape == (len(TEXTS), 2)
    assert (found.argmax(1) == TRUTH).all()


def test_the_same_rows_and_seed_give_the_same_bytes(reader: AspectReader) -> None:
    ours, again = reader.to_bundle(), trained().to_bundle()
    assert ours.tensors.keys() == again.tensors.keys()
    for name, value in ours.tensors.items():
        assert value.tobytes() == again.tensors[name].tobytes(), name


def test_a_stored_reader_says_the_same(reader: AspectReader, tmp_path: Path) -> None:
    save(reader.to_bundle(), tmp_path / "bundle")
    again = AspectReader.from_bundle(load(tmp_path / "bundle"))
    spans = np.array(SPANS)
    np.testing.assert_array_equal(again.logits(TEXTS, spans), reader.logits(TEXTS, spans))


def test_layers_below_stay_as_they_are(reader: AspectReader) -> None:
    _, weights, _ = calm().transformer_parts()
    found = reader.net.bert.state_dict()
    for name, value in weights.items():
        assert bool((found[name].numpy() == value).all()) == ("layer.1." not in name), name


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([*ODD, *SENTENCES]) | st.text(), st.integers(0, 99)), max_size=4
    )
)
def test_any_aspect_of_any_text_is_told_by_its_row_alone(
    reader: AspectReader, rows: list[tuple[str, int]]
) -> None:
    texts = [text for text, _ in rows]
    spans = np.array([(min(at, 3), at) for _, at in rows]).reshape(-1, 2)
    whole = reader.logits(texts, spans)
    assert whole.shape == (len(rows), 2) and np.isfinite(whole).all()
    for row in range(len(rows)):
        alone = reader.logits(texts[row : row + 1], spans[row : row + 1])
        np.testing.assert_allclose(alone, whole[row : row + 1], atol=1e-4)


def test_a_trained_voice_is_heard_where_aspects_are_asked_about(tmp_path: Path) -> None:
    made = fitted(FEW)
    assert made.reader and isinstance(made.reader.voice, AspectReader)
    given = passages(TEXTS, SPANS)
    found, _ = made.judge(given)
    quick, _ = without_reader(made).judge(given)
    assert np.abs(found - quick).max() > 0.01
    save(made.to_bundle(), tmp_path / "bundle")
    again, _ = Polarity.from_bundle(load(tmp_path / "bundle")).judge(given)
    np.testing.assert_allclose(again, found, atol=1e-6)
    frozen = fitted(FEW, spans=False)
    assert frozen.reader and isinstance(frozen.reader.voice, Frozen)


def test_marked_names_are_read_first() -> None:
    again = dataclasses.replace(FEW, rate=1e-9)
    spans = np.array(SPANS)
    start = trained(FEW)
    made = train(calm(), TEXTS, spans, TRUTH, 3, again, seed=1, start=start)
    for (name, value), (_, other) in zip(learned(start.net), learned(made.net), strict=True):
        assert name.startswith("classes.") or np.allclose(value, other, atol=1e-3), name
    said: list[str] = []
    fitted(
        FEW,
        marks=[read_marked("{radio|+} good, {radio|-} bad"), read_marked("{radio|+} x")],
        say=said.append,
    )
    assert said.index("training the encoder on 3 marked names") > 0


def test_of_a_single_text_the_commonest_label_is_learned() -> None:
    given = Passages([TEXTS[0]] * 24, np.array([SPANS[0], SPANS[1]] * 12))
    encoding = Encoding(calm(), EncoderSettings(100, 100, 100, 1.0), aspects=FEW)
    made = fit(
        *(given, np.array([1, 0, 1] * 8), ["-", "+"], None, Reading(GRAMS, GRAMS, True)),
        *(Lexicon({}), encoding, PolaritySettings(3, [3.0], 1.0), 1),
    )
    assert made.reader is None and made.judge(given)[1].all()


def test_the_door_trains_an_encoder_from_enough_aspects_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked({}, {}, REPOSITORY, "default", 1, 1, lambda text: None)
    params = asked.params(sentiment.SECTION, sentiment.DoorSentimentParams)
    made: dict[str, Any] = {}
    monkeypatch.setattr("pipelines.packaged.unpacked.folder", lambda name, asked: Path(name))
    monkeypatch.setattr(
        "pipelines.packaged.weights.packed_encoder",
        lambda name, folder, depth, most: made.update({name: depth}) or calm(),
    )
    fewest = params.aspects.fewest
    for language, name in (("en", "english"), ("any", "multilingual")):
        for count in (0, fewest - 1, fewest):
            found = sentiment.encoding_of(language, asked, params, count)
            enough = count == fewest and params.aspect_depth[name] > 0
            assert found and found.aspects == (params.aspects if enough else None)
            assert made[name] == (params.aspect_depth if enough else params.depth)[name]

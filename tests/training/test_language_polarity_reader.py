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
from models.language.lexicon import Lexicon
from models.language.polarity import Frozen, Passages, Polarity, Reader, Reading, passages
from models.language.polarity_reader import PolarityReader, learned
from models.language.polarity_reader_training import train
from models.language.polarity_training import Encoding, Tuning, fit
from models.language.sentiment import without_readers
from models.language.settings import EncoderSettings, PolarityReaderSettings, PolaritySettings
from models.training.settings import ONE
from pipelines.door.verb import Asked
from pipelines.door.verbs import sentiment
from tests.conftest import REPOSITORY
from tests.training.test_language_tagging import calm
from tests.unit.test_language_encoders import ODD

QUICK = PolarityReaderSettings(
    frozen=1, warm=1, epochs=100, batch=8, rate=0.005, fewest=8, pieces=1000, freely=100, share=1.0
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


def trained(settings: PolarityReaderSettings = QUICK) -> PolarityReader:
    return train(calm(), TEXTS, np.array(SPANS), TRUTH, 2, settings, seed=1)


@pytest.fixture(scope="module")
def reader() -> PolarityReader:
    return trained()


def fitted(
    settings: PolarityReaderSettings,
    spans: bool = True,
    marks: Sequence[Marked] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Polarity:
    given = passages(TEXTS * 3, SPANS * 3 if spans else None)
    encoding = None if spans else Encoding(calm(), EncoderSettings(100, 100, 100, 1.0))
    tuning = Tuning(calm(), settings, ONE, marks)
    return fit(
        *(given, np.tile(TRUTH, 3), ["-", "+"], None, Reading(GRAMS, GRAMS, spans), Lexicon({})),
        *(encoding, PolaritySettings(3, [3.0], 1.0), 1, say, tuning),
    )


def first_readers(model: Polarity, count: int, *others: Reader) -> Polarity:
    """The model with the first `count` of its encoders, and then `others`."""
    return Polarity(
        *(model.labels, model.levels, model.reading, model.lexicon, model.wide, model.deciding),
        [*model.readers[:count], *others],
    )


def assert_stored_says_the_same(model: Polarity, given: Passages, folder: Path) -> None:
    save(model.to_bundle(), folder / "bundle")
    again, _ = Polarity.from_bundle(load(folder / "bundle")).judge(given)
    np.testing.assert_allclose(again, model.judge(given)[0], atol=1e-6)


def test_two_names_of_one_text_are_told_apart(reader: PolarityReader) -> None:
    found = reader.logits(TEXTS, np.array(SPANS))
    assert found.shape == (len(TEXTS), 2)
    assert (found.argmax(1) == TRUTH).all()


def test_the_same_rows_and_seed_give_the_same_bytes(reader: PolarityReader) -> None:
    ours, again = reader.to_bundle(), trained().to_bundle()
    assert ours.tensors.keys() == again.tensors.keys()
    for name, value in ours.tensors.items():
        assert value.tobytes() == again.tensors[name].tobytes(), name


def test_a_stored_reader_says_the_same(reader: PolarityReader, tmp_path: Path) -> None:
    save(reader.to_bundle(), tmp_path / "bundle")
    again = PolarityReader.from_bundle(load(tmp_path / "bundle"))
    spans = np.array(SPANS)
    np.testing.assert_array_equal(again.logits(TEXTS, spans), reader.logits(TEXTS, spans))


def test_layers_below_stay_as_they_are(reader: PolarityReader) -> None:
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
    reader: PolarityReader, rows: list[tuple[str, int]]
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
    assert [type(reader.voice) for reader in made.readers] == [PolarityReader]
    given = passages(TEXTS, SPANS)
    found, _ = made.judge(given)
    quick, _ = without_readers(made).judge(given)
    assert np.abs(found - quick).max() > 0.01
    assert_stored_says_the_same(made, given, tmp_path)


def test_of_whole_texts_each_encoder_adds_to_what_was_decided_before(tmp_path: Path) -> None:
    made = fitted(FEW, spans=False)
    assert [type(reader.voice) for reader in made.readers] == [Frozen, PolarityReader]
    given = passages(TEXTS)
    found, _ = made.judge(given)
    for count in (0, 1):
        fewer = first_readers(made, count)
        assert np.abs(found - fewer.judge(given)[0]).max() > 0.001
    assert_stored_says_the_same(made, given, tmp_path)


def test_an_encoder_reads_those_texts_alone_that_are_least_sure_before() -> None:
    made = fitted(FEW, spans=False)
    given = passages(TEXTS)
    before, _ = first_readers(made, 0).judge(given)
    only = dataclasses.replace(made.readers[1], freely=1, share=0.25)
    found, _ = first_readers(made, 0, only).judge(given)
    asked = only.rows(before)
    assert len(asked) == len(TEXTS) // 4
    assert before[asked].max(1).max() <= np.delete(before, asked, axis=0).max(1).min()
    changed = np.flatnonzero((found != before).any(1))
    assert set(changed) == set(asked)


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
    tuning = Tuning(calm(), FEW)
    made = fit(
        *(given, np.array([1, 0, 1] * 8), ["-", "+"], None, Reading(GRAMS, GRAMS, True)),
        *(Lexicon({}), None, PolaritySettings(3, [3.0], 1.0), 1),
        tuning=tuning,
    )
    assert not made.readers and made.judge(given)[1].all()


def test_no_more_pieces_are_read_than_the_settings_afford() -> None:
    said: list[str] = []
    fitted(dataclasses.replace(QUICK, pieces=1), spans=False, say=said.append)
    (read,) = [text for text in said if text.startswith("training the encoder")]
    rows, times = (int(word) for word in read.split() if word.strip(",").isdigit())
    assert rows > 0 and times < QUICK.epochs and rows * times * 4 <= 1000


def test_the_door_trains_an_encoder_from_enough_rows_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked({}, {}, REPOSITORY, "default", 1, 1, lambda text: None)
    params = asked.params(sentiment.SECTION, sentiment.DoorSentimentParams)
    made: dict[str, Any] = {}
    monkeypatch.setattr("pipelines.packaged.unpacked.folder", lambda name, asked: Path(name))
    monkeypatch.setattr(
        "pipelines.packaged.weights.packed_encoder",
        lambda name, folder, depth, most: made.update({name: depth}) or calm(),
    )
    fewest = params.tuning.fewest
    for language, name in (("en", "english"), ("any", "multilingual")):
        for count in (0, fewest - 1, fewest):
            for aspects in (False, True):
                found = sentiment.tuning_of(language, asked, params, count, aspects)
                assert (found is not None) == (count == fewest and params.tuned_depth[name] > 0)
                if found:
                    assert made.pop(name) == params.tuned_depth[name]
                    use = params.tuning if aspects else params.encoder
                    assert found.settings.freely == use.freely and bool(found.marks) == (
                        language == "en"
                    )
        assert sentiment.encoding_of(language, asked, params)
        assert made[name] == params.depth[name]

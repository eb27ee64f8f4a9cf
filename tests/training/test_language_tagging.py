"""Names that are learned from marked sentences: the marks, the labels, what is found and what is read."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from models.encoders.text import TextEncoder
from models.encoders.tuned import Cutter
from models.language.aspects_marks import Marked, joined, read_marked
from models.language.aspects_tagging import TagFinder
from models.language.aspects_tagging_training import train
from models.language.lexicon import Lexicon
from models.language.opinions import OpinionReader
from models.language.settings import TaggingSettings
from pipelines import aspect_marks
from pipelines.harness import BadConfig, BadData
from pipelines.harness.params import read_params, section
from pipelines.opinions import OpinionsParams, reader_of, within
from tests.conftest import REPOSITORY
from tests.unit.test_language_encoders import ODD, toy_transformer

QUICK = TaggingSettings(frozen=0, epochs=100, batch=4, rate=0.01, sure=0.5)
SENTENCES = [
    read_marked(line)
    for line in (
        *("{radio|+} good", "{radio|-} bad", "good", "bad"),
        *("很 radio", "good {radio|+}", "很 bad", "{radio|+} good. {radio|-} bad."),
    )
]


def calm() -> TextEncoder:
    """The toy with weights from which it learns: its own are as wild as they come."""
    config, weights, tokenizer = toy_transformer().transformer_parts()
    tame = {
        name: np.full_like(value, "LayerNorm.weight" in name)
        if "LayerNorm" in name or name.endswith("bias")
        else value / 2
        for name, value in weights.items()
    }
    return TextEncoder.transformer(config, tame, tokenizer, "mean", 16)


@pytest.fixture(scope="module")
def finder() -> TagFinder:
    return train(calm(), SENTENCES, Lexicon({"good": 2.0}), True, QUICK, seed=1)


def test_names_and_their_sides_are_learned_from_marks(finder: TagFinder) -> None:
    for row, marked in enumerate(SENTENCES[:-1]):
        found = [one for one in finder.find([one.text for one in SENTENCES]) if one.text == row]
        assert [(one.start, one.end, one.praise > 0.5) for one in found] == list(marked.names)


def test_the_words_that_say_so_are_of_the_lexicon_else_of_the_clause(finder: TagFinder) -> None:
    texts = [SENTENCES[0].text, f"{SENTENCES[1].text}."]
    said = {texts[one.text][one.said_start : one.said_end] for one in finder.find(texts)}
    assert said == {"good", SENTENCES[1].text}


def test_the_reader_takes_sides_from_the_finder(finder: TagFinder) -> None:
    said = OpinionReader(finder, None, True).read(["radio good. radio bad"])
    assert said["polarity"].tolist() == ["positive", "negative"]
    assert (said["confidence"] > 0.5).all() and (said["term"] == "radio").all()


def test_the_same_marks_and_seed_give_the_same_names(finder: TagFinder) -> None:
    again = train(calm(), SENTENCES, Lexicon({"good": 2.0}), True, QUICK, seed=1)
    for one, other in zip(finder.net.parameters(), again.net.parameters(), strict=True):
        assert bool((one == other).all())


def test_frozen_layers_stay_as_they_are() -> None:
    few = dataclasses.replace(QUICK, frozen=1, epochs=1)
    found = train(calm(), SENTENCES, Lexicon({}), True, few, seed=1).net.bert.state_dict()
    _, weights, _ = calm().transformer_parts()
    for name, value in weights.items():
        same = bool((found[name].numpy() == value).all())
        assert same == ("layer.1." not in name), name


def test_a_space_that_a_tokenizer_puts_before_a_text_is_no_word() -> None:
    config, weights, _ = calm().transformer_parts()
    words = ["<unk>", "\u2581", "很好", "好", "屏", "幕"]
    pieces = Tokenizer(models.Unigram([(word, -1.0) for word in words], unk_id=0))
    pieces.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    encoder = TextEncoder.transformer(config, weights, pieces.to_str(), "mean", 16)
    (cut,) = Cutter(encoder)(["屏幕很好"])
    assert cut.places.tolist() == [[-1, -1], [0, 1], [1, 2], [2, 4]]


def marks_of(sentences: list[Marked]) -> list[tuple[str, bool]]:
    return sorted(
        (one.text[left:right], side) for one in sentences for left, right, side in one.names
    )


@given(
    parts=st.lists(st.sampled_from([*SENTENCES, read_marked("很{很|-}。")]), max_size=9),
    spaced=st.booleans(),
    seed=st.integers(0, 9),
)
def test_joined_sentences_keep_each_mark(parts: list[Marked], spaced: bool, seed: int) -> None:
    found = joined(parts, spaced, seed)
    assert marks_of(found) == marks_of(parts)
    assert len(parts) / 3 <= len(found) <= len(parts)


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(
        st.sampled_from([*ODD, "radio 好 good", "the radio's bad-radio"]) | st.text(), max_size=5
    )
)
@pytest.mark.parametrize("spaced", [True, False])
def test_what_is_found_lies_in_its_text(finder: TagFinder, texts: list[str], spaced: bool) -> None:
    eager = TagFinder(finder.net, finder.cutter, finder.lexicon, 0.0, spaced)
    seen = set()
    for one in eager.find(texts):
        text = texts[one.text]
        assert 0 <= one.start < one.end <= len(text) and text[one.start : one.end].strip()
        assert 0 <= one.said_start <= one.said_end <= len(text)
        assert 0 <= one.praise <= 1
        name = (one.text, text[one.start : one.end].lower())
        assert name not in seen
        seen.add(name)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_marks_of_each_language_can_be_read(language: str) -> None:
    found = aspect_marks.marked(language)
    texts = [one.text for one in found]
    assert len(found) > 300 and all(text.strip() for text in texts)
    sides = [praised for one in found for *_, praised in one.names]
    assert 0.3 < np.mean(sides) < 0.7
    assert np.mean([not one.names for one in found]) > 0.1
    marked = {
        row["text"]
        for row in pd.read_json(REPOSITORY / "tests/data/aspects.jsonl", lines=True).to_dict(
            "records"
        )
    }
    assert not marked & set(texts), "what is learned from judges nothing"


def test_wrong_marks_are_told_with_their_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "en.txt").write_text("# about\n\nfine {screen|+}\nbad {screen|?}\n")
    monkeypatch.setattr(aspect_marks, "FOLDER", tmp_path)
    with pytest.raises(BadData, match=r"en\.txt, line 4: .*\{name\|\+\} or \{name\|-\}"):
        aspect_marks.marked("en")
    with pytest.raises(BadConfig, match="'fr', only in en"):
        aspect_marks.marked("fr")
    assert read_marked("plain") == Marked("plain", ())


def test_each_products_newest_reviews_are_read_first() -> None:
    days = pd.to_datetime(["2020-01-01", "2021-01-01", None, "2019-01-01"], utc=True)
    reviews = pd.DataFrame(
        {"item_id": ["a", "a", "a", "b"], "text": ["One. Two.", "x", "y", "z"], "timestamp": days}
    )
    assert within(reviews, 2)["text"].tolist() == ["x", "z"]
    assert within(reviews, 4)["text"].tolist() == ["One. Two.", "x", "z"]
    pd.testing.assert_frame_equal(within(reviews, 5), reviews)
    assert not len(within(reviews, 0)) and not len(within(reviews.head(0), 5))


def default_params(monkeypatch: pytest.MonkeyPatch) -> OpinionsParams:
    """Of the profile `default`, with a toy for each encoder and few sentences."""
    monkeypatch.setattr("pipelines.opinions.packed_encoder", lambda *words: toy_transformer())
    monkeypatch.setattr("pipelines.opinions.marked", lambda language: SENTENCES)
    return section({**read_params(REPOSITORY), "profile": "default"}, "opinions", OpinionsParams)


def test_a_tagger_needs_no_labelled_reviews(monkeypatch: pytest.MonkeyPatch) -> None:
    params = default_params(monkeypatch)
    rows = pd.DataFrame({"text": ["radio good"], "label": [None]})
    reader = reader_of(rows, rows.head(0), "en", {}, params, lambda name: Path(name), 1)
    assert isinstance(reader.finder, TagFinder) and reader.polarity is None
    assert reader.finder.sure == params.tagging["english"].sure


def test_a_tagger_of_an_encoder_without_settings_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    params = default_params(monkeypatch).model_copy(update={"tagging": {}})
    rows = pd.DataFrame({"text": ["radio good"], "label": [None]})
    with pytest.raises(
        BadConfig, match=r"opinions\.tagging: nothing is said of the encoder 'english'"
    ):
        reader_of(rows, rows, "en", {}, params, lambda name: Path(name), 1)

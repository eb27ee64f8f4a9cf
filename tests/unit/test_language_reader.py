"""The reader of questions with passages, and answers quoted by it."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from models.bundle import load, save
from models.encoders.reranker import Reranker
from models.encoders.text import TextEncoder
from models.language import answering_training
from models.language.answers import Answers
from models.language.finding import Finder
from models.language.library import Library, Review
from models.language.marked import Asked, Marked, Taken, answered, gained, merged
from models.language.polarity import Linear
from models.language.quoting import FEATURES, Quoter, hits
from models.language.quoting_training import (
    HEED,
    Ordered,
    best_threshold,
    fit,
    fit_heed,
    weighed,
)
from models.language.reader import SpanReader, best_span
from models.language.reader_training import target
from models.language.settings import (
    AnsweringSettings,
    QuoterSettings,
    ReaderSettings,
    ScorerSettings,
)
from pipelines.capabilities.answers import f1
from tests.unit.test_language_encoders import toy_transformer

LIBRARY = {
    f"item {at}": [
        Review(f"r{at}", "it is a radio. the radio is good."),
        Review(f"s{at}", "很 bad"),
    ]
    for at in range(6)
}


@pytest.fixture(scope="module")
def reader() -> SpanReader:
    return SpanReader.fresh(toy_transformer(), 24)


def quoter(reader: SpanReader, threshold: float = 0.0) -> Quoter:
    weigh = Linear(np.eye(len(FEATURES), 1), np.zeros(1))
    known = {("item 1", "known"): ("s1", 2, 5)}
    return Quoter(LIBRARY, finder(LIBRARY), reader, 1.0, weigh, threshold, 8, known)


def finder(library: Library) -> Finder:
    return Finder.untrained(library, TextEncoder.hashing(64), Reranker.overlap())


def test_a_passage_keeps_its_places_and_what_is_wanted(reader: SpanReader) -> None:
    text = "bad. " * 30 + "the good radio."
    passage = reader.passage("radio", text, wanted=[(154, 158)])
    assert len(passage.ids) <= 24
    left, right = passage.places[passage.first : -1].T
    said = [text[a:b] for a, b in zip(left, right, strict=True)]
    assert "good" in said and "radio" in said
    marked = target(passage, [(154, 158)])
    assert marked.sum(1).tolist() == [1, 1] and text[left[0] : right[0]].strip()


def test_a_span_never_runs_backwards_nor_out_of_the_text(reader: SpanReader) -> None:
    passage = reader.passage("radio", "good bad radio")
    size = len(passage.ids)
    starts, ends = np.zeros(size), np.zeros(size)
    starts[passage.first + 2], ends[passage.first] = 5, 4
    (start, end), _ = best_span(starts, ends, passage)
    assert 0 <= start < end <= 14
    assert best_span(starts, ends, reader.passage("radio", ""))[0] == (0, 0)


def test_answers_are_quotes_and_every_review_is_ranked(reader: SpanReader, tmp_path) -> None:
    frame = pd.DataFrame(
        {
            "item_id": ["item 0", "item 1", "nothing", "item 2"],
            "question": ["is the radio good", "Known", "is it good", " "],
        },
        index=[3, 5, 7, 9],
    )
    made = quoter(reader)
    found = made.predict(frame)
    texts = {review.review_id: review.text for of in LIBRARY.values() for review in of}
    for line in found.itertuples():
        assert line.answer == texts.get(line.review_id, "")[max(line.start, 0) : max(line.end, 0)]
    assert sorted(found["reviews"][3]) == ["r0", "s0"] and found["answer"][3]
    assert found.loc[5, ["answer", "review_id"]].tolist() == ["bad", "s1"]
    assert found["evidence"][3][0]["review_id"] != found["review_id"][3]
    assert found["answer"][7] == "" == found["answer"][9]
    assert (quoter(reader, threshold=1.1).predict(frame)["answer"] != "").sum() == 1
    save(made.to_bundle(), tmp_path / "bundle")
    again = Quoter.from_bundle(load(tmp_path / "bundle")).predict(frame)
    assert again["answer"].tolist() == found["answer"].tolist()


def test_marks_of_several_people_are_one_question() -> None:
    marks = [Marked(None, 0, 0), Marked("r", 2, 5), Marked("r", 1, 3)]
    (one,) = merged(["i"] * 3, ["q"] * 3, marks)
    assert dict(one.spans) == {"r": ((1, 3), (2, 5))}
    library = {"i": [Review("r", "a good radio")]}
    assert gained(["good", ""], [one, merged(["i"], ["q"], marks[:1])[0]], library, f1) == [0, 1]


def test_a_review_is_taken_by_other_questions_than_the_one_that_is_asked() -> None:
    marks = [Marked("r", 0, 1), Marked("r", 1, 2), Marked("s", 0, 1), Marked(None, 0, 0)]
    asked = merged(["i", "i", "i", "j"], ["One?", "Two?", "three", "One?"], marks)
    taken, shelf = Taken(answered(asked)), [Review(name, "text") for name in "rst"]
    assert taken("i", "three", shelf).tolist() == [1, 0, 0]
    assert taken("i", "one?", shelf).tolist() == [1, 1, 0]
    assert taken("j", "three", shelf).tolist() == [0, 0, 0] and taken("i", "x", []).shape == (0,)


@pytest.mark.parametrize(("theirs", "taken"), [(-0.1, Quoter), (1.1, Answers)])
def test_the_reader_is_taken_where_it_answers_what_was_held_back_as_well(
    theirs: float, taken: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = questions()
    quoter = QuoterSettings(ReaderSettings(1, 1, 4, 1e-3, 24), held=0.4, reviews_read=2)
    settings = AnsweringSettings(4, 12, 20, ScorerSettings(2, 0.1, 0.0, 2), quoter)
    plain = Answers.untrained(LIBRARY, TextEncoder.hashing(16), Reranker.overlap(), 4)

    def made(count: int, settings: AnsweringSettings) -> Quoter | Answers:
        given = (LIBRARY, asked[:count], plain.shelved, toy_transformer, finder, settings, f1, 1)
        return answering_training.fit(*given)

    assert isinstance(made(11, settings), Answers)
    assert made(3, settings).scorer is plain.scorer
    assert isinstance(made(12, dataclasses.replace(settings, sure=12)), Quoter)
    monkeypatch.setattr(answering_training, "scored", lambda *words: theirs)
    assert isinstance(made(12, settings), taken)


def questions() -> list[Asked]:
    """Two about each item, of which one has an answer."""
    return merged(
        [item for item in LIBRARY for _ in range(2)],
        ["is the radio good", "is it 很"] * 6,
        [mark for at in range(6) for mark in (Marked(f"r{at}", 15, 33), Marked(None, 0, 0))],
    )


def test_fitting_gives_a_model_that_answers() -> None:
    asked = questions()
    settings = QuoterSettings(ReaderSettings(1, 1, 4, 1e-3, 24), held=0.4, reviews_read=2)
    made, held = fit(LIBRARY, asked, toy_transformer(), finder(LIBRARY), settings, f1, seed=1)
    assert (
        len(held.asked) == len(held.gained) == 4 and ((held.gained >= 0) & (held.gained <= 1)).all()
    )
    frame = pd.DataFrame({"item_id": ["item 3"], "question": ["is the radio good"]})
    assert made.predict(frame)["answer"][0] == "the radio is good."


def test_where_every_review_answers_one_question_the_free_ones_come_first(
    reader: SpanReader,
) -> None:
    names = [f"r{at}" for at in range(4)]
    library = {f"item {at}": [Review(name, "a radio") for name in names] for at in range(30)}
    marks = {name: ((0, 1),) for name in names[:3]}
    asked = [
        Asked(item, f"about {name}", {name: marks[name]}) for item in library for name in marks
    ]
    known = answered(asked)
    learned = weighed(finder(library), asked, library, Taken(known))
    weigh = Linear(np.eye(len(FEATURES), 1), np.zeros(1))
    made = Quoter(library, learned, reader, 0.0, weigh, 0.0, 8, known)
    frame = pd.DataFrame({"item_id": ["item 0"], "question": ["anything"]})
    assert made.predict(frame)["reviews"][0][0] == "r3"


def test_the_threshold_weighs_answered_and_unanswered_the_same() -> None:
    chances = np.array([0.9, 0.8, 0.3, 0.2])
    truth = np.array([1, 1, 0, 0])
    assert 0.3 < best_threshold(chances, np.array([1.0, 1.0, 0.0, 0.0]), truth) <= 0.8


def test_a_reader_that_knows_better_is_heeded_and_one_that_guesses_is_not() -> None:
    rng = np.random.default_rng(2)
    right = np.array([True, False, False])

    def learned(finder: float, reader: float) -> float:
        tables = [rng.normal(size=(3, 2)) + right[:, None] * [finder, reader] for _ in range(80)]
        return fit_heed([Ordered(*one.T, right) for one in tables])

    assert learned(1, 0) < 0.2 < HEED < 0.7 < learned(0, 2)
    alone = Ordered(np.zeros(1), np.ones(1), np.ones(1, bool))
    assert fit_heed([alone]) == fit_heed([]) == HEED


def test_telling_words_are_counted_in_any_script() -> None:
    assert hits("电池好吗", "电池很耐用")[0] == 0.5 and hits("How is it?", "any")[:2] == (0.5, 0.5)

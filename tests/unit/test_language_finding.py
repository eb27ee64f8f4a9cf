"""Which reviews speak of what a question asks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from models.bundle import load, save
from models.encoders.reranker import Reranker
from models.encoders.text import TextEncoder
from models.language import finding
from models.language.finding import EVEN, Finder, standing
from models.language.finding_training import fit_weights
from models.language.library import Review

TEXTS = [
    "The battery lasts two days and charges quickly.",
    "Sound is clear. I use it every day in the kitchen.",
    "Came late, the box was broken.",
    "The screen is bright, the battery is fine, the sound is poor.",
]
REVIEWS = [Review(f"r{at}", text) for at, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def finder() -> Finder:
    return Finder.untrained({"item": REVIEWS}, TextEncoder.hashing(256), Reranker.overlap())


def test_words_are_weighed_as_a_known_library_weighs_them(finder: Finder) -> None:
    question = "How long does the battery last and charge"
    made = TfidfVectorizer(binary=True, token_pattern=r"\w+").fit(TEXTS)
    # A word that no text has makes the question longer, which moves no order.
    theirs = (made.transform(TEXTS) @ made.transform([question]).T).toarray()[:, 0]
    ours = finder.words(question, REVIEWS)
    assert np.corrcoef(ours, theirs)[0, 1] == pytest.approx(1)


def test_the_review_that_speaks_of_it_comes_first(finder: Finder) -> None:
    asked = ["Was the box broken?", "Is the sound clear?", " "]
    looked = finder.look(asked, [REVIEWS, REVIEWS[::-1], []])
    assert [one.order[0] for one in looked[:2]] == [2, 2]
    assert looked[2].known.shape == (0, 4) and looked[2].scores.shape == (0,)


def test_of_many_reviews_some_are_read_and_all_are_ranked(
    finder: Finder, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    class Counting(Reranker):
        def score(self, questions, passages, progress=lambda done, what: None):
            read.extend(passages)
            return super().score(questions, passages, progress)

    monkeypatch.setattr(finding, "READ", 1)
    monkeypatch.setattr(finding, "SKIMMED", 2)
    made = Finder(finder.encoder, Counting.overlap(), finder.rarity)
    (looked,) = made.look(["Was the box broken?"], [REVIEWS])
    assert read == [TEXTS[2]] and looked.order[0] == 2
    assert np.isfinite(looked.known).all() and len(looked.order) == len(REVIEWS)


def test_a_review_that_answers_another_question_is_later_where_that_was_learned(
    finder: Finder,
) -> None:
    taken = [np.array([0.0, 0.0, 1.0, 0.0])]
    (even,) = finder.look(["Was the box broken?"], [REVIEWS], taken)
    assert even.order[0] == 2 and even.chances.tolist() == even.scores.tolist()
    shy = finder.with_weights(np.array([*EVEN[:3], -3.0]))
    (looked,) = shy.look(["Was the box broken?"], [REVIEWS], taken)
    assert looked.order[-1] == 2 and looked.scores.argmax() == 2
    (free,) = shy.look(["Was the box broken?"], [REVIEWS])
    assert free.chances.tolist() == even.chances.tolist()


def test_where_nothing_reads_the_language_meaning_speaks_for_it(finder: Finder) -> None:
    (looked,) = Finder(finder.encoder, None, finder.rarity).look(["sound"], [REVIEWS])
    assert looked.known[:, 2].tolist() == looked.known[:, 1].tolist()


def test_what_was_encoded_is_not_encoded_for_the_next_question(monkeypatch) -> None:
    encoder, encoded = TextEncoder.hashing(32), []
    encode = encoder.encode
    monkeypatch.setattr(
        encoder, "encode", lambda texts, *rest: encoded.extend(texts) or encode(texts, *rest)
    )
    made = Finder.untrained({"item": REVIEWS}, encoder, None)
    first = made.look(["sound"], [REVIEWS])
    encoded.clear()
    again = made.look(["sound"], [REVIEWS])
    assert encoded == ["sound"] and again[0].scores.tolist() == first[0].scores.tolist()
    monkeypatch.setattr(finding, "KEPT", 3)
    assert made.look(["sound"], [REVIEWS])[0].scores.tolist() == first[0].scores.tolist()


def test_a_finder_comes_back_from_its_bundle(finder: Finder, tmp_path) -> None:
    made = finder.with_weights(np.array([0.5, 0.25, 0.0, -1.0]))
    save(made.to_bundle(), tmp_path / "bundle")
    again = Finder.from_bundle(load(tmp_path / "bundle"))
    (one,), (other,) = (each.look(["battery"], [REVIEWS]) for each in (made, again))
    assert one.scores.tolist() == other.scores.tolist()


@given(st.permutations(range(4)), st.text(max_size=30))
def test_the_order_of_reviews_changes_no_opinion(order: list[int], question: str) -> None:
    finder = Finder.untrained({"item": REVIEWS}, TextEncoder.hashing(32), Reranker.overlap())
    (one,) = finder.look([question], [REVIEWS])
    (other,) = finder.look([question], [[REVIEWS[at] for at in order]])
    assert other.scores == pytest.approx(one.scores[list(order)])


def test_what_finds_the_right_review_gains_weight_and_little_stays_even() -> None:
    rng = np.random.default_rng(1)
    tables = [rng.normal(size=(6, 4)) for _ in range(300)]
    right = [np.arange(6) == standing(one)[:, 1].argmax() for one in tables]
    weights = fit_weights(tables, right)
    assert weights[1] > 1 and (weights[[0, 2]] < EVEN[0]).all() and (weights[:3] >= 0).all()
    away = [np.arange(6) == standing(one)[:, 3].argmin() for one in tables]
    assert fit_weights(tables, away)[3] < -1
    nothing = [np.zeros(6, bool), np.ones(6, bool)]
    assert fit_weights(tables[:2], nothing) == pytest.approx(EVEN)
    assert fit_weights([], []) == pytest.approx(EVEN)

"""Sentences, their search, and answers quoted from reviews."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.bundle import load, save
from models.encoders.reranker import Reranker
from models.encoders.text import TextEncoder
from models.language.answers import UNRELATED, Answers, _lead
from models.language.library import Review
from models.language.passages import LONGEST, Index, sentences
from models.language.sureness import Sureness
from models.language.telling import Quote, Reply, told
from pipelines.capabilities import answers as judge

REVIEWS = {
    "radio": [
        Review("r1", "The battery lasts two days. The sound is thin! Is it loud?"),
        Review("r2", "I paid 30 dollars. \n It came in a box."),
    ],
    "kettle": [Review("k1", "水很快就开了。声音很大！"), Review("k2", "")],
}
ODD = ["", "😀", "x" * 100_000, "\x00\x01", "声音大吗？", "Does the battery last?"]


def model() -> Answers:
    made = Answers.untrained(REVIEWS, TextEncoder.hashing(64), Reranker.overlap(), candidates=4)
    with_reading = np.zeros((1, 7), dtype=np.float32)
    with_reading[0, :4] = [4, 0, 4, 2]
    made.scorer.weigh.weight.data = made.scorer.weigh.weight.data.new_tensor(with_reading)
    made.scorer.none.data.fill_(3.0)
    return made


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("ab .!?。！\n\t\"'1,很")), max_size=60))
@example("x" * 2000)
@example("a b " * 1000)
def test_sentences_are_slices_in_order_and_cover_all_that_is_no_space(text: str) -> None:
    found = sentences(text)
    assert all(0 <= start < end <= len(text) for start, end in found)
    assert all(before <= after for (_, before), (after, _) in zip(found, found[1:], strict=False))
    assert all(text[a:b] == text[a:b].strip() and b - a <= LONGEST for a, b in found)
    kept = "".join("".join(text[a:b].split()) for a, b in found)
    assert kept == "".join(text.split())


def test_search_finds_words_and_rare_ones_count_more() -> None:
    index = Index.of(["the battery is good", "the sound is good", "the box", "电池很好"])
    assert index.search("battery").argmax() == 0
    assert index.search("good box").argmax() == 2
    assert index.search("电池怎么样").argmax() == 3
    assert not Index.of([]).search("battery").size
    assert not index.search("").any()


def test_an_answer_is_the_slice_that_it_names() -> None:
    frame = pd.DataFrame(
        {
            "item_id": ["radio", "radio", "kettle"],
            "question": ["How long does the battery last?", "What about the sound?", "声音大吗"],
        }
    )
    found = model().predict(frame)
    texts = {review.review_id: review.text for item in REVIEWS.values() for review in item}
    assert found["answer"].tolist()[:2] == ["The battery lasts two days.", "The sound is thin!"]
    for line in found.itertuples():
        assert line.answer == (texts[line.review_id][line.start : line.end] if line.answer else "")
        assert 0 <= line.confidence <= 1
    assert found["reviews"][0][0] == "r1"


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.text(max_size=80), max_size=4),
    st.one_of(st.text(max_size=30), st.sampled_from(ODD)),
)
def test_reviews_of_the_row_are_quoted_exactly(texts: list[str], question: str) -> None:
    given_reviews = [{"review_id": f"x{at}", "text": text} for at, text in enumerate(texts)]
    frame = pd.DataFrame({"item_id": ["new"], "question": [question], "reviews": [given_reviews]})
    made = model()
    made.scorer.none.data.fill_(-50.0)
    line = made.predict(frame).iloc[0]
    if line["answer"]:
        assert texts[int(line["review_id"][1:])][line["start"] : line["end"]] == line["answer"]
    else:
        assert (line["review_id"], line["start"], line["end"]) == ("", -1, -1)


def test_no_reviews_or_no_question_is_no_answer() -> None:
    made = model()
    made.scorer.none.data.fill_(-50.0)
    frame = pd.DataFrame({"item_id": ["unknown", "radio"], "question": ["Is it loud?", "  "]})
    found = made.predict(frame)
    assert found["answer"].tolist() == ["", ""] and found["reviews"].tolist() == [[], []]
    assert made.predict(frame.iloc[:0]).empty


def test_a_bundle_answers_the_same(tmp_path) -> None:
    made = model()
    made.scorer.margin.fill_(0.25)
    save(made.to_bundle(), tmp_path / "bundle")
    again = Answers.from_bundle(load(tmp_path / "bundle"))
    frame = pd.DataFrame(
        [(item, question) for item in ("radio", "kettle", "none") for question in ODD],
        columns=["item_id", "question"],
    )
    pd.testing.assert_frame_equal(again.predict(frame), made.predict(frame))


def test_other_reviews_on_the_shelves_change_nothing_that_was_fitted(tmp_path) -> None:
    made = model()
    more = {
        **REVIEWS,
        "radio": [*REVIEWS["radio"], Review("r3", "It is so loud!", "2024-05-01", 2)],
    }
    again = made.shelved(more)
    folders = [tmp_path / "few", tmp_path / "more"]
    for one, folder in zip((made, again), folders, strict=True):
        save(one.to_bundle(), folder)
    fitted = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.safetensors")}
        for folder in folders
    ]
    differ = [path for path in fitted[0] if fitted[0][path] != fitted[1][path]]
    assert [path.parts[0] for path in differ] == ["library"]
    kept = Answers.from_bundle(load(folders[1]))
    assert kept.library["radio"][-1] == Review("r3", "It is so loud!", "2024-05-01", 2)
    frame = pd.DataFrame({"item_id": ["radio"], "question": ["Is it loud?"]})
    pd.testing.assert_frame_equal(kept.predict(frame), again.predict(frame))


class Praise:
    """Tells praise by the words "good" and "easy", blame by "bad" and "hard"."""

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        words = {"good": "positive", "easy": "positive", "bad": "negative", "hard": "negative"}
        labels = [
            next((label for word, label in words.items() if word in text), "neutral")
            for text in frame["text"]
        ]
        return pd.DataFrame({"label": labels, "confidence": 0.9})


def test_opinions_divide_by_what_the_quotes_say() -> None:
    reviews = [
        Review("a", "It is easy to clean.", "2024-05-01", 5.0),
        Review("b", "It is hard to clean."),
        Review("c", "A chore to clean."),
        Review("d", "No, easy."),
    ]
    quotes = [Quote(one, 0, len(one.text)) for one in reviews]
    asked = (
        "Is it easy to clean?",
        "Is it hard to clean?",
        "How is cleaning?",
        "How much?",
        "Is it?",
    )
    replies = [Reply(text, quotes, 0.7, list("abcd")) for text in asked[:4]]
    replies.append(Reply(asked[4], [], 0.9, ["b"]))
    found = told(replies, pd.RangeIndex(5), Sureness.untrained(), Praise())
    assert found["says_yes"].tolist() == [["a", "d"], ["b"], ["a", "d"], [], []]
    assert found["says_no"].tolist() == [["b"], ["a", "d"], ["b"], [], []]
    assert found["asks"].tolist() == [*("yes or no",) * 2, "opinion", "fact", "yes or no"]
    assert (found["date"][0], found["stars"][0]) == ("2024-05-01", 5.0)
    assert [quote["review_id"] for quote in found["evidence"][0]] == ["b", "c", "d"]
    assert found["confidence"].round(6).tolist() == [0.7, 0.7, 0.7, 0.7, 0.9]
    assert found["date"][4] == "" and np.isnan(found["stars"][4]) and found["evidence"][4] == []


def test_what_is_chinese_is_weighed_by_meaning_where_the_cross_encoder_reads_english() -> None:
    made = model()
    plain = made.find(["声音大吗", "Is it loud?"], [made.shelf("kettle"), made.shelf("radio")])
    made.meant = (100.0, -7.0)
    found = made.find(["声音大吗", "Is it loud?"], [made.shelf("kettle"), made.shelf("radio")])
    assert np.array_equal(found.features[1], plain.features[1])
    there = found.present[0]
    ahead = found.features[0, there, 2] - UNRELATED  # two sentences are too few for a mean
    np.testing.assert_allclose(found.features[0, there, 0], 100 * ahead - 7, rtol=1e-5)
    again = Answers.from_bundle(made.to_bundle())
    assert again.meant == [100.0, -7.0] and made.shelved(REVIEWS).meant == (100.0, -7.0)


def test_lead_is_over_the_best_of_the_others() -> None:
    read = np.array([[3.0, 1.0, 2.0], [5.0, 0.0, 0.0]], dtype=np.float32)
    present = np.array([[True, True, True], [True, False, False]])
    assert _lead(read, present).tolist() == [[1, -2, -1], [0, 0, 0]]


def test_f1_counts_words_once_each_and_characters_of_chinese() -> None:
    assert judge.f1("The battery lasts.", "battery lasts long") == pytest.approx(0.8)
    assert judge.f1("声音大", "声音小") == pytest.approx(2 / 3)
    assert judge.f1("", "") == 1 and judge.f1("", "yes") == judge.f1("yes", "") == 0


def test_questions_are_judged_by_what_is_marked(tmp_path) -> None:
    split = tmp_path / "split"
    split.mkdir()
    rows = [("radio", one) for one in REVIEWS["radio"]]
    pd.DataFrame(
        [
            *((item, one.review_id, one.text, "train") for item, one in rows),
            ("radio", "late", "Does the battery last? The battery does last.", "test"),
        ],
        columns=["item_id", "review_id", "text", "part"],
    ).to_parquet(split / "reviews.parquet", index=False)
    questions = pd.DataFrame(
        {
            "question_id": ["b", "a"],
            "item_id": ["radio", "radio"],
            "question": ["Does the battery last?", "Is it waterproof?"],
            "review_id": ["r1", None],
            "start": [0.0, None],
            "end": [27.0, None],
        }
    )
    for part in judge.PARTS:
        questions.to_parquet(split / f"{part}.parquet", index=False)
    assert judge.readable(split, "valid")["review_id"].tolist() == ["r1", "r2"]
    assert judge.nearest_sentences(questions, judge.readable(split, "test"))[0][0].endswith("last?")
    judge.freeze(split, "valid", tmp_path / "early")
    assert "late" not in (tmp_path / "early" / judge.TEXTS).read_bytes().decode("latin-1")
    judge.freeze(split, "test", tmp_path / "rows")
    table = judge.score(model(), tmp_path / "rows")
    assert table["row_id"].tolist() == ["a", "b"]
    assert set(table) >= {f"side_{name}" for name in judge.SIDES}
    assert table["slice_marked"].tolist() == ["no answer", "answer"]
    assert table["slice_language"].tolist() == ["en", "en"]
    assert table["score"][1] == 1 and table["answer"][1] == "The battery lasts two days."
    found = judge.baselines(split, tmp_path / "rows", seed=1)
    assert found["never answering"].tolist() == [1, 0]
    assert found["TF-IDF above a threshold"].mean() >= found["TF-IDF"].mean()

"""How answers are judged: the F1 of the words of what is answered with those of what was marked.

Where no answer is marked, none scores 1 and any 0; where one is, none scores 0. Source: Rajpurkar et al. (2018),
Know What You Don't Know. Baselines: never answering; the sentence nearest by TF-IDF, always, and only where it is
nearer than a threshold that was best on the training questions.
"""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.language.passages import sentences
from models.language.tongue import language_of
from models.metrics import honesty
from pipelines.harness import BadData
from pipelines.tables import Questions, Reviews

METRIC = "answer F1"
KEY: str | None = Questions.QUESTION
TIME: str | None = None
SIDES: tuple[str, ...] = ("confidence",)
ROWS = "questions.parquet"
TEXTS = "reviews.parquet"
PARTS = ("train", "valid", "test")
"""Of the split, in time."""
ANSWER = "answer"
WORD = re.compile("[\u2e80-\u9fff\uf900-\ufaff]|[^\\W\u2e80-\u9fff\uf900-\ufaff]+")
ARTICLES = {"a", "an", "the"}


def words(text: str) -> list[str]:
    """Words in lower case, articles left out; each CJK character is one."""
    return [word for word in WORD.findall(text.lower()) if word not in ARTICLES]


def f1(said: str, marked: str) -> float:
    """Harmonic mean of precision and recall over words; 1 where both are empty.

    >>> f1("it lasts two days", "lasts two days"), f1("", ""), f1("yes", "")
    (0.8571428571428571, 1.0, 0.0)
    """
    ours, theirs = Counter(words(said)), Counter(words(marked))
    if not marked or not said:
        return float(said == marked)
    shared = (ours & theirs).total()
    return 2 * shared / (ours.total() + theirs.total()) if shared else 0.0


def readable(split: Path, part: str) -> pd.DataFrame:
    """The reviews that answers to questions of `part` may be read from: none that was written later."""
    parts = list(PARTS[: PARTS.index(part) + 1])
    return pq.read_table(split / TEXTS, filters=[("part", "in", parts)]).to_pandas()


def freeze(split: Path, part: str, rows: Path, beside: Path | None = None) -> None:
    rows.mkdir(parents=True, exist_ok=True)
    table = pq.read_table(split / f"{part}.parquet").to_pandas().sort_values(Questions.QUESTION)
    reviews = readable(split, part)
    texts = dict(zip(reviews[Reviews.REVIEW], reviews[Reviews.TEXT], strict=True))
    frozen = {
        name: pa.array(table[name].tolist(), pa.string())
        for name in (Questions.QUESTION, Questions.ITEM, Questions.TEXT)
    }
    frozen[ANSWER] = pa.array(
        [marked_text(line, texts) for line in table.to_dict("records")], pa.string()
    )
    pq.write_table(pa.table(frozen), rows / ROWS)
    asked = {
        name: pa.array(reviews[name].tolist(), pa.string())
        for name in (Reviews.REVIEW, Reviews.ITEM, Reviews.TEXT)
    }
    pq.write_table(pa.table(asked).sort_by(Reviews.REVIEW), rows / TEXTS)


def marked_text(line: dict[str, Any], texts: dict[str, str]) -> str:
    """What is marked as the answer, "" for none. Raises `BadData` where its review is not there."""
    review = line[Questions.REVIEW]
    if not isinstance(review, str) or not review:
        return ""
    if review not in texts:
        raise BadData(
            f"questions, column {Questions.REVIEW}, question {line[Questions.QUESTION]}: {review!r} is no review of an "
            "item that is asked about; mark the answer again"
        )
    return texts[review][int(line[Questions.START]) : int(line[Questions.END])]


def frozen(rows: Path) -> pd.DataFrame:
    """question_id, item_id, question and the marked answer of the frozen questions."""
    return pq.read_table(rows / ROWS).to_pandas()


def score(model: Any, rows: Path) -> pd.DataFrame:
    table = frozen(rows)
    found = model.predict(table[[Questions.ITEM, Questions.TEXT]])
    none = found["answer"] == ""
    gained = np.array(list(map(f1, found["answer"], table[ANSWER])))
    return pd.DataFrame(
        {
            "row_id": table[Questions.QUESTION],
            "score": gained,
            "side_confidence": honesty(found["confidence"], gained),
            "slice_language": table[Questions.TEXT].map(language_of),
            "slice_marked": np.where(table[ANSWER] == "", "no answer", "answer"),
            "answer": found["answer"],
            "review_id": found["review_id"],
            "start": found["start"].astype(float).mask(none),
            "end": found["end"].astype(float).mask(none),
            "confidence": found["confidence"],
        }
    )


def example(rows: Path, count: int) -> pd.DataFrame:
    return frozen(rows)[[Questions.ITEM, Questions.TEXT]].head(count)


def baselines(split: Path, rows: Path, seed: int) -> dict[str, np.ndarray]:
    reviews = pq.read_table(rows / TEXTS).to_pandas()
    table = frozen(rows)
    said, nearness = nearest_sentences(table, reviews)
    marked = table[ANSWER].tolist()
    always = np.fromiter(map(f1, said, marked), float, len(marked))
    never = (table[ANSWER] == "").to_numpy(float)
    threshold = fitted_threshold(split)
    return {
        "never answering": never,
        "TF-IDF": always,
        "TF-IDF above a threshold": np.where(nearness > threshold, always, never),
    }


def nearest_sentences(table: pd.DataFrame, reviews: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """For each question of `table` the nearest sentence of its item's reviews, and its cosine (n,) by TF-IDF."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    said = np.full(len(table), "", dtype=object)
    nearness = np.zeros(len(table))
    for item, places in table.groupby(Questions.ITEM, sort=True).indices.items():
        texts = [
            text[start:end]
            for text in reviews[reviews[Reviews.ITEM] == item][Reviews.TEXT]
            for start, end in sentences(text)
        ]
        if not any(map(words, texts)):
            continue
        counter = TfidfVectorizer(analyzer=words)
        known = counter.fit_transform(texts)
        cosine = (counter.transform(table[Questions.TEXT].iloc[places]) @ known.T).toarray()
        said[places] = np.asarray(texts, dtype=object)[cosine.argmax(1)]
        nearness[places] = cosine.max(1)
    return said.tolist(), nearness


def fitted_threshold(split: Path) -> float:
    """The cosine above which answering was best on the training questions; the lowest of equally good ones."""
    questions = pq.read_table(split / "train.parquet").to_pandas()
    reviews = readable(split, "train")
    texts = dict(zip(reviews[Reviews.REVIEW], reviews[Reviews.TEXT], strict=True))
    marked = [marked_text(line, texts) for line in questions.to_dict("records")]
    said, nearness = nearest_sentences(questions, reviews)
    always = np.fromiter(map(f1, said, marked), float, len(marked))
    never = np.array([not text for text in marked], dtype=float)
    tried = np.concatenate([[-1.0], np.unique(nearness)])
    gained = [np.where(nearness > value, always, never).mean() for value in tried]
    return float(tried[int(np.argmax(gained))]) if len(marked) else 0.0

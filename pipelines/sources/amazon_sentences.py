"""Sentences of Amazon reviews of five products, each with the mean of 20 human ratings from -4 to 4.

Source: Hutto and Gilbert (2014), VADER: a parsimonious rule-based model for sentiment analysis of social media text;
the reviews were collected by Hu and Liu (2004), Mining and summarizing customer reviews.
"""

import contextlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.harness import BadData, MissingResource, Run
from pipelines.packaged.packages import read_member
from pipelines.sources import Found, fetched, origin

PACKAGE = "vader"
ARCHIVE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
MEMBER = "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt"
QUESTIONS = "pipelines/sources/questions.jsonl"
ITEMS = {
    1: "apex-ad2600",
    99: "canon-g3",
    143: "nikon-coolpix-4300",
    176: "nokia-6610",
    216: "creative-nomad-zen-xtra",
}
"""Number of the first review of each product."""
CLEAR = 0.5
"""A mean rating beyond this is a sentiment; what lies between is neutral."""


QUESTION = pa.schema(
    [
        ("question_id", pa.string()),
        ("item_id", pa.string()),
        ("question", pa.string()),
        ("review_id", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
    ]
)


@contextlib.contextmanager
def read(run: Run) -> Iterator[Found]:
    """reviews: whole ones (no label) and their sentences (labelled). questions: marked by us over the whole ones."""
    (archive,) = fetched(run, PACKAGE).values()
    lines = sentences(read_member(archive, ARCHIVE))
    yield Found(
        {"reviews": reviews(lines), "questions": questions(run.source_file(QUESTIONS))},
        **origin(PACKAGE),
    )


def sentences(packed: bytes) -> list[tuple[int, int, float, str]]:
    """(review, sentence, mean rating, text) of each line. Raises `MissingResource` where the file is not inside."""
    with tarfile.open(fileobj=io.BytesIO(packed)) as inner:
        source = inner.extractfile(MEMBER) if MEMBER in inner.getnames() else None
        if source is None:
            raise MissingResource(f"{ARCHIVE}: no member {MEMBER}")
        text = source.read().decode("utf-8", errors="strict")
    rows = []
    for line in text.splitlines():
        name, rating, words = line.split("\t", 2)
        review, sentence = name.split("_")
        rows.append((int(review), int(sentence), float(rating), words.strip()))
    return sorted(rows)


def item_of(review: int) -> str:
    """The product that a review number is about."""
    return ITEMS[max(first for first in ITEMS if first <= review)]


def reviews(rows: list[tuple[int, int, float, str]]) -> pa.Table:
    """Whole reviews `amazon-NNN` (sentences joined by one space) and sentences `amazon-NNN-SS`, in one table."""
    whole: dict[int, list[str]] = {}
    for review, _, _, text in rows:
        whole.setdefault(review, []).append(text)
    ratings = np.array([rating for _, _, rating, _ in rows])
    labels = np.select([ratings > CLEAR, ratings < -CLEAR], ["positive", "negative"], "neutral")
    ids = [f"amazon-{review:03d}" for review in whole]
    groups = [f"amazon-{review:03d}" for review, _, _, _ in rows]
    return pa.table(
        {
            "review_id": ids
            + [f"{group}-{row[1]:02d}" for group, row in zip(groups, rows, strict=True)],
            "text": [" ".join(texts) for texts in whole.values()] + [row[3] for row in rows],
            "item_id": [item_of(review) for review in whole] + [item_of(row[0]) for row in rows],
            "language": ["en"] * (len(whole) + len(rows)),
            "label": pa.array([None] * len(whole) + labels.tolist(), pa.string()),
            "group_id": ids + groups,
        }
    )


def questions(path: Path) -> pa.Table:
    """The marked questions; `review_id`, `start` and `end` are null where the reviews hold no answer.

    Raises `BadData` naming the line that is no JSON object of exactly these keys and types.
    """
    rows = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            if set(row) != set(QUESTION.names):
                raise ValueError(f"keys must be {', '.join(QUESTION.names)}")
            rows.append(pa.RecordBatch.from_pylist([row], QUESTION))
        except (ValueError, TypeError) as error:
            raise BadData(f"{path}, line {number}: {error}; correct the line") from None
    return pa.Table.from_batches(rows, QUESTION).combine_chunks()

"""What an answer tells beside its quote: the review's day and stars, further evidence, how opinions divide."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from models.language.library import Review
from models.language.sureness import Sureness

COLUMNS = (
    "answer",
    "review_id",
    "start",
    "end",
    "confidence",
    "reviews",
    "date",
    "stars",
    "evidence",
    "asks",
    "says_yes",
    "says_no",
)
FURTHER = 8
"""Quotes beside the answer, of one review each."""
YES_NO, OPINION, FACT = "yes or no", "opinion", "fact"
POSITIVE, NEGATIVE = "positive", "negative"
LEAST = 0.6
"""Chance from which a quote takes a side."""
ASKS_YES_NO = re.compile(
    r"^\W*(?:(?:so|and|but|or|also|well|hi|hello)\W+)*(?:is|are|was|were|am|do|does|did|can|could|will|would|should|shall"
    r"|has|have|had|isn|aren|wasn|doesn|don|didn|can|won|wouldn|hasn)\b"
    r"|吗|是否|有没有|([\u4e00-\u9fff])不\1",
    re.IGNORECASE,
)
ASKS_OPINION = re.compile(
    r"\bhow(?:'s| is| are| was| were| good| well| does| do| did)\b|\bwhat (?:do|did) .*\bthink\b|\bwhat about\b|怎么样|怎样|如何|咋样",
    re.IGNORECASE,
)


class Sides(Protocol):
    """What tells the label of texts, with its chance: a model of sentiment."""

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame: ...


@dataclass(frozen=True)
class Quote:
    """A part of a review, [start, end) of its text, that answers a question."""

    review: Review
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.review.text[self.start : self.end]


@dataclass(frozen=True)
class Reply:
    """To one question: quotes that answer, best first, of one review each; none: no answer.

    confidence: that the first is right, or that there is none, as the model has it. speak: reviews that speak of it.
    """

    question: str
    quotes: Sequence[Quote]
    confidence: float
    speak: Sequence[str]


def kind_of(question: str) -> str:
    """What is asked for.

    >>> kind_of("Is it loud?"), kind_of("How is the sound?"), kind_of("How much is it?")
    ('yes or no', 'opinion', 'fact')
    >>> kind_of("声音大吗"), kind_of("屏幕怎么样")
    ('yes or no', 'opinion')
    """
    if ASKS_YES_NO.search(question):
        return YES_NO
    return OPINION if ASKS_OPINION.search(question) else FACT


def told(
    replies: Sequence[Reply], index: pd.Index, sureness: Sureness, sides: Sides | None
) -> pd.DataFrame:
    """One line a reply (n) under `index` (n,): answer, review_id, start, end, date, stars ("", "", -1, -1, "", NaN for none).

    confidence: that the answer is right, or that there is none. reviews: ids that speak of it, best first. evidence:
    further quotes with review_id, date, stars, start, end and text. asks: what is asked for. says_yes, says_no: ids of the
    quoted reviews that say so; of an opinion that praise and blame; none without `sides`, or where a fact is asked for.
    """
    kinds = [kind_of(reply.question) for reply in replies]
    votes = divided(replies, kinds, sides)
    answered = np.asarray([bool(reply.quotes) for reply in replies], dtype=bool)
    sure = sureness(np.asarray([reply.confidence for reply in replies]), answered)
    lines = [
        (*first(reply), float(chance), list(reply.speak))
        + (*provenance(reply.quotes[0] if reply.quotes else None),)
        + ([entry(quote) for quote in reply.quotes[1 : 1 + FURTHER]], kind, *vote)
        for reply, chance, kind, vote in zip(replies, sure, kinds, votes, strict=True)
    ]
    return pd.DataFrame(lines, index=index, columns=list(COLUMNS))


def first(reply: Reply) -> tuple[str, str, int, int]:
    """The answer: its words, its review and its place."""
    if not reply.quotes:
        return "", "", -1, -1
    best = reply.quotes[0]
    return best.text, best.review.review_id, best.start, best.end


def provenance(quote: Quote | None) -> tuple[str, float]:
    """Day and stars of the quoted review, "" and NaN where unknown."""
    if quote is None:
        return "", float("nan")
    stars = quote.review.stars
    return quote.review.date, float("nan") if stars is None else float(stars)


def entry(quote: Quote) -> dict[str, Any]:
    """A quote as a mapping."""
    date, stars = provenance(quote)
    return {
        "review_id": quote.review.review_id,
        "date": date,
        "stars": stars,
        "start": quote.start,
        "end": quote.end,
        "text": quote.text,
    }


def divided(
    replies: Sequence[Reply], kinds: Sequence[str], sides: Sides | None
) -> list[tuple[list[str], list[str]]]:
    """Of each reply the reviews whose quotes say yes, and no.

    A question that blames ("Is it hard to clean?") is answered "yes" by blame. Quotes that take no side are in neither.
    """
    none: list[tuple[list[str], list[str]]] = [([], []) for _ in replies]
    if sides is None:
        return none
    asked = [at for at, kind in enumerate(kinds) if kind != FACT and replies[at].quotes]
    texts = [replies[at].question for at in asked]
    owners = [(at, quote) for at in asked for quote in replies[at].quotes[: 1 + FURTHER]]
    texts += [quote.text for _, quote in owners]
    if not texts:
        return none
    table = sides.predict(pd.DataFrame({"text": texts}))
    clear = (table["confidence"] >= LEAST).to_numpy()
    sign = table["label"].map({POSITIVE: 1, NEGATIVE: -1}).fillna(0).to_numpy(np.int64) * clear
    blames = {at: sign[row] < 0 and kinds[at] == YES_NO for row, at in enumerate(asked)}
    for (at, quote), side in zip(owners, sign[len(asked) :].tolist(), strict=True):
        if side:
            says_yes = (side > 0) != blames[at]
            none[at][0 if says_yes else 1].append(quote.review.review_id)
    return none

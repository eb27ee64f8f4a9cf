"""Sentences of texts, as slices of them, and the words that find them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.encoders.ngrams import Grams, bucket_ids, hashed_ngrams

END = re.compile("(?:[.!?…]+[\"'”’)\\]]*(?=\\s)|[。！？]+[”’」』]*|[\\n\\r])\\s*")
LONGEST = 600
"""Characters; what has no end of a sentence is cut there, at white space where there is some."""
WORDS = Grams(words=1, low=0, high=0, buckets=1 << 20)
PARTS = Grams(words=0, low=4, high=4, buckets=1 << 20)
SATURATION, LENGTH_WEIGHT = 1.2, 0.75


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence, white space around it left out; none is empty.

    >>> [" it works. really!"[a:b] for a, b in sentences(" it works. really!")]
    ['it works.', 'really!']
    """
    bounds = [0, *(match.end() for match in END.finditer(text)), len(text)]
    found = []
    for start, end in zip(bounds[:-1], bounds[1:], strict=True):
        while end - start > LONGEST:
            space = text.rfind(" ", start + LONGEST // 2, start + LONGEST)
            cut = space + 1 if space > 0 else start + LONGEST
            found.append((start, cut))
            start = cut
        found.append((start, end))
    return [trimmed for pair in found if (trimmed := _trim(text, *pair))]


def _trim(text: str, start: int, end: int) -> tuple[int, int] | None:
    inside = text[start:end]
    left = len(inside) - len(inside.lstrip())
    right = len(inside.rstrip())
    return (start + left, start + right) if right > left else None


@dataclass(frozen=True)
class Index:
    """Words of n passages. rows, ids (m,): passage and bucket of each different word, sorted by id; lengths (n,)."""

    rows: np.ndarray
    ids: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, passages: Sequence[str], grams: Grams = WORDS) -> "Index":
        """The index of `passages` (n,)."""
        values, offsets = hashed_ngrams(passages, grams)
        ids = bucket_ids(values, grams.buckets)
        rows = np.repeat(np.arange(len(passages)), np.diff(offsets))
        order = np.argsort(ids, kind="stable")
        return cls(rows[order], ids[order], np.diff(offsets).astype(np.float64))

    def search(self, question: str, grams: Grams = WORDS) -> np.ndarray:
        """BM25 (n,) of each passage; a word counts once however often it comes.

        Source: Robertson and Zaragoza (2009), The Probabilistic Relevance Framework: BM25 and Beyond.
        """
        count = len(self.lengths)
        scores = np.zeros(count)
        values, _ = hashed_ngrams([question], grams)
        asked = np.unique(bucket_ids(values, grams.buckets))
        starts = np.searchsorted(self.ids, asked, "left")
        ends = np.searchsorted(self.ids, asked, "right")
        mean = max(self.lengths.mean(), 1.0) if count else 1.0
        spread = SATURATION * (1 - LENGTH_WEIGHT + LENGTH_WEIGHT * self.lengths / mean)
        for start, end in zip(starts, ends, strict=True):
            with_word = self.rows[start:end]
            rarity = np.log1p((count - len(with_word) + 0.5) / (len(with_word) + 0.5))
            scores[with_word] += rarity * (1 + SATURATION) / (1 + spread[with_word])
        return scores

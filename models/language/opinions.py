"""What texts of one language say of the parts and properties of things: each name, its side, the words that tell it."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.language.aspects import Finder, Spoken, categories, normal_name
from models.language.passages import sentences
from models.language.polarity import CLAUSE, Polarity, passages
from models.language.sentiment import LABELS

NEGATIVE, POSITIVE = LABELS[0], LABELS[2]
SIDES = {POSITIVE: 1, NEGATIVE: -1}


@dataclass(frozen=True)
class Sentences:
    """Sentences of n texts. rows, starts (m,): the text and where in it each begins."""

    texts: list[str]
    rows: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Sentences":
        """The sentences of `texts` (n,), in order."""
        cut = [(row, *span) for row, text in enumerate(texts) for span in sentences(text)]
        return cls(
            [texts[row][start:end] for row, start, end in cut],
            np.asarray([row for row, _, _ in cut], dtype=np.int64),
            np.asarray([start for _, start, _ in cut], dtype=np.int64),
        )


@dataclass(frozen=True)
class OpinionReader:
    """Reads texts of one language.

    finder: of names; polarity: of each, None where the finder tells it; spaced: whether spaces set words apart.
    """

    finder: Finder
    polarity: Polarity | None
    spaced: bool

    def read(self, texts: Sequence[str]) -> pd.DataFrame:
        """A line a name of which one of `texts` (n,) says something.

        row: the text. start, end: the name's place in it, term: as written. polarity and its confidence. said,
        said_start, said_end: the words that tell. quote_start, quote_end: the sentence.
        """
        whole = Sentences.of(texts)
        spoken = self.finder.find(whole.texts)
        shares = self.sides(whole.texts, spoken)
        chosen = shares.argmax(1)
        at = np.asarray([one.text for one in spoken], dtype=np.int64)
        first = whole.starts[at]
        lines = [whole.texts[one.text] for one in spoken]

        def place(name: str) -> np.ndarray:
            return np.asarray([getattr(one, name) for one in spoken], dtype=np.int64) + first

        def slices(begin: str, end: str) -> list[str]:
            return [
                line[getattr(one, begin) : getattr(one, end)]
                for line, one in zip(lines, spoken, strict=True)
            ]

        return pd.DataFrame(
            {
                "row": whole.rows[at],
                "start": place("start"),
                "end": place("end"),
                "term": pd.Series(slices("start", "end"), dtype=object),
                "polarity": np.asarray([NEGATIVE, POSITIVE], dtype=object)[chosen],
                "confidence": shares[np.arange(len(spoken)), chosen].round(6),
                "said": slices("said_start", "said_end"),
                "said_start": place("said_start"),
                "said_end": place("said_end"),
                "quote_start": first,
                "quote_end": first + np.asarray([len(line) for line in lines], dtype=np.int64),
            }
        )

    def sides(self, lines: Sequence[str], spoken: Sequence[Spoken]) -> np.ndarray:
        """(n, 2): the chances of blame and of praise of the names `spoken` (n,) in `lines`, sentences.

        Of both alone: that something is said of a name was found before.
        """
        if self.polarity is None:
            praise = np.asarray([one.praise for one in spoken], dtype=np.float64)
            return np.stack([1 - praise, praise], axis=1)
        given = around([lines[one.text] for one in spoken], spoken, self.spaced)
        asked = passages([text for text, _ in given], [span for _, span in given])
        found, _ = self.polarity.judge(asked)
        labels = self.polarity.labels
        both = found[:, [labels.index(NEGATIVE), labels.index(POSITIVE)]] + 1e-9
        return both / both.sum(1, keepdims=True)


def around(
    texts: Sequence[str], spoken: Sequence[Spoken], spaced: bool
) -> list[tuple[str, tuple[int, int]]]:
    """Of each of `texts` (n,), sentences, what its name is judged by, and the name's place in that.

    In Chinese, whose sentences are lists of clauses, the clauses with the name and what is said of it; else all.
    """
    if spaced:
        return [(text, (one.start, one.end)) for text, one in zip(texts, spoken, strict=True)]
    found = []
    for text, one in zip(texts, spoken, strict=True):
        start, end = min(one.start, one.said_start), max(one.end, one.said_end)
        left = max((match.end() for match in CLAUSE.finditer(text, 0, start)), default=0)
        right = CLAUSE.search(text, end)
        part = text[left : right.start() if right else len(text)]
        found.append((part, (one.start - left, one.end - left)))
    return found


def categorised(
    said: pd.DataFrame,
    support: int,
    spaced: bool,
    encode: Callable[[Sequence[str]], np.ndarray] | None,
    alike: float,
) -> pd.DataFrame:
    """`said` (row, term) with normal terms and their category, without the terms that fewer than `support` rows have.

    encode, alike: see `aspects.categories`.
    """
    counts = Counter(said["term"].str.lower())
    said = said.assign(term=[normal_name(term, counts) for term in said["term"]])
    spread = said.drop_duplicates(["row", "term"])["term"].value_counts()
    often = spread[spread >= support].sort_index()
    said = said[said["term"].isin(often.index)]
    merged = categories(often.to_dict(), spaced, encode, alike)
    return said.assign(category=said["term"].map(merged))

"""Sentiment of reviews in several languages: for each the model that was fitted on its rows."""

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from models.bundle import Bundle
from models.language.polarity import Passages, Polarity, passages

LABELS = ("negative", "neutral", "positive")
CHINESE = "zh"
OTHER = "en"
IDEOGRAPHS = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
LETTERS = re.compile(r"[^\W\d_]")
PREFIX, STARS = "of-", "stars-of-"
BLOCK = 16384


def language_of(text: str) -> str:
    """Chinese where at least a third of the letters are ideographs, else English: by script alone.

    >>> language_of("很好 ok"), language_of("fine")
    ('zh', 'en')
    """
    ideographs = len(IDEOGRAPHS.findall(text))
    return CHINESE if ideographs and 3 * ideographs >= len(LETTERS.findall(text)) else OTHER


def language_column(frame: pd.DataFrame, known: Sequence[str]) -> list[str]:
    """The language of each row of `frame` (text, [language]): as told where known, else by script."""
    texts = frame["text"].tolist()
    told = frame["language"].tolist() if "language" in frame else [None] * len(texts)
    found = [
        tongue if tongue in known else language_of(text)
        for text, tongue in zip(texts, told, strict=True)
    ]
    return [tongue if tongue in known else known[0] for tongue in found]


class Sentiment:
    """One of a set of labels for any text, with its chance. Reads any text, in any language."""

    def __init__(
        self, models: Mapping[str, Polarity], stars: Mapping[str, Polarity] | None = None
    ) -> None:
        """models: of each language. A text in another is read by the first. stars: of languages that have ratings."""
        self.models, self.stars = dict(models), dict(stars or {})
        self.labels = tuple(
            dict.fromkeys(label for model in self.models.values() for label in model.labels)
        )
        if set(self.labels) <= set(LABELS):
            self.labels = LABELS

    def quick(self) -> "Sentiment":
        """The same without encoders and stars: small, fast, a little less right."""
        return Sentiment({name: without_readers(one) for name, one in self.models.items()})

    def predict(self, frame: pd.DataFrame, vectors: np.ndarray | None = None) -> pd.DataFrame:
        """One line a line of `frame` (text, [language], [start, end: of the aspect that is asked about]).

        vectors (n, width): those of the encoder, where they are known; a line of NaN is told without it.
        Returns language, label, confidence (the label's probability), a column a label (probabilities), and where the model
        has learned from ratings `stars`, the number to be expected (NaN in other languages).
        """
        languages = np.asarray(language_column(frame, tuple(self.models)), dtype=object)
        shares = np.zeros((len(frame), len(self.labels)))
        chosen = np.zeros(len(frame), dtype=np.int64)
        for language, model in self.models.items():
            places = np.asarray([self.labels.index(label) for label in model.labels])
            rows = np.flatnonzero(languages == language)
            for part, one, given in parts(rows, model, vectors):
                found, best = one.judge(asked(frame.iloc[part], model.reading.aspects), given)
                shares[part[:, None], places] = found
                chosen[part] = places[best]
        table = pd.DataFrame(shares, columns=list(self.labels))
        table.insert(0, "language", languages)
        table.insert(1, "label", np.asarray(self.labels, dtype=object)[chosen])
        table.insert(2, "confidence", shares[np.arange(len(frame)), chosen])
        if self.stars:
            table["stars"] = self.expected(frame, languages)
        return table.set_axis(frame.index)

    def expected(self, frame: pd.DataFrame, languages: np.ndarray) -> np.ndarray:
        """Stars (n,) that are to be expected of the lines of `frame`; NaN where the language (n,) has no ratings."""
        found = np.full(len(frame), np.nan)
        for language, model in self.stars.items():
            rows = np.flatnonzero(languages == language)
            for part, one, _ in parts(rows, model, None):
                given, _ = one.judge(asked(frame.iloc[part], model.reading.aspects))
                found[part] = given @ model.levels
        return found

    def to_bundle(self) -> Bundle:
        """The models as members, their languages in order."""
        members = {PREFIX + language: model.to_bundle() for language, model in self.models.items()}
        members |= {STARS + language: model.to_bundle() for language, model in self.stars.items()}
        words = {"languages": list(self.models), "starred": list(self.stars)}
        return Bundle("sentiment", {}, {}, words, members)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Sentiment":
        """The model that `to_bundle` gave."""
        words, members = bundle.vocabulary, bundle.members
        return cls(
            {name: Polarity.from_bundle(members[PREFIX + name]) for name in words["languages"]},
            {name: Polarity.from_bundle(members[STARS + name]) for name in words["starred"]},
        )


def without_readers(model: Polarity) -> Polarity:
    """The quick voices of a model alone."""
    return Polarity(
        *(model.labels, model.levels, model.reading, model.lexicon, model.wide, model.deciding)
    )


def parts(
    rows: np.ndarray, model: Polarity, vectors: np.ndarray | None
) -> Iterator[tuple[np.ndarray, Polarity, np.ndarray | None]]:
    """Of `rows` (k,) blocks, with what judges them, and the vectors that are known."""
    groups: list[tuple[np.ndarray, Polarity, bool]] = [(rows, model, False)]
    if vectors is not None:
        known = ~np.isnan(vectors[rows]).any(1)
        groups = [(rows[known], model, True), (rows[~known], without_readers(model), False)]
    for of, one, told in groups:
        for at in range(0, len(of), BLOCK):
            part = of[at : at + BLOCK]
            yield part, one, vectors[part] if told and vectors is not None else None


def asked(frame: pd.DataFrame, aspects: bool) -> Passages:
    """The texts of `frame`, with the spans of their aspects where there are some."""
    texts = frame["text"].tolist()
    if not aspects:
        return passages(texts)
    return passages(texts, list(zip(frame["start"].tolist(), frame["end"].tolist(), strict=True)))

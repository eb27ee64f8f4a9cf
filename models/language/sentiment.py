"""Sentiment of reviews in several languages: for each the model that was fitted on its rows."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from models.bundle import Bundle
from models.language.polarity import Passages, Polarity, passages

LABELS = ("negative", "neutral", "positive")
CHINESE = "zh"
OTHER = "en"
IDEOGRAPHS = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
LETTERS = re.compile(r"[^\W\d_]")
PREFIX = "of-"
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

    def __init__(self, models: Mapping[str, Polarity]) -> None:
        """models: of each language. A text in another is read by the first."""
        self.models = dict(models)
        self.labels = tuple(
            dict.fromkeys(label for model in self.models.values() for label in model.labels)
        )
        if set(self.labels) <= set(LABELS):
            self.labels = LABELS

    def quick(self) -> "Sentiment":
        """The same without encoders: small, fast, a little less right."""
        models = {
            name: Polarity(
                *(one.labels, one.levels, one.reading, one.lexicon, one.wide, one.deciding)
            )
            for name, one in self.models.items()
        }
        return Sentiment(models)

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """One line a line of `frame` (text, [language], [start, end: of the aspect that is asked about]).

        Returns language, label, confidence (the label's probability) and a column a label (probabilities).
        """
        languages = np.asarray(language_column(frame, tuple(self.models)), dtype=object)
        shares = np.zeros((len(frame), len(self.labels)))
        chosen = np.zeros(len(frame), dtype=np.int64)
        for language, model in self.models.items():
            places = np.asarray([self.labels.index(label) for label in model.labels])
            rows = np.flatnonzero(languages == language)
            for at in range(0, len(rows), BLOCK):
                part = rows[at : at + BLOCK]
                found, best = model.judge(asked(frame.iloc[part], model.reading.aspects))
                shares[part[:, None], places] = found
                chosen[part] = places[best]
        table = pd.DataFrame(shares, columns=list(self.labels))
        table.insert(0, "language", languages)
        table.insert(1, "label", np.asarray(self.labels, dtype=object)[chosen])
        table.insert(2, "confidence", shares[np.arange(len(frame)), chosen])
        return table.set_axis(frame.index)

    def to_bundle(self) -> Bundle:
        """The models as members, their languages in order."""
        members = {PREFIX + language: model.to_bundle() for language, model in self.models.items()}
        return Bundle("sentiment", {}, {}, {"languages": list(self.models)}, members)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Sentiment":
        """The model that `to_bundle` gave."""
        return cls(
            {
                language: Polarity.from_bundle(bundle.members[PREFIX + language])
                for language in bundle.vocabulary["languages"]
            }
        )


def asked(frame: pd.DataFrame, aspects: bool) -> Passages:
    """The texts of `frame`, with the spans of their aspects where there are some."""
    texts = frame["text"].tolist()
    if not aspects:
        return passages(texts)
    return passages(texts, list(zip(frame["start"].tolist(), frame["end"].tolist(), strict=True)))

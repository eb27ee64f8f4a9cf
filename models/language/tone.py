"""The tone of whole reviews: one of five levels, or mixed where some of its sentences praise and others blame."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from models.language.passages import sentences
from models.language.polarity import CLAUSE
from models.language.sentiment import Sentiment

LEVELS = ("very negative", "negative", "neutral", "positive", "very positive")
MIXED = "mixed"
EDGES = (-0.8, -0.25, 0.25, 0.8)
"""Of the chance of praise less that of blame: the levels lie between."""
CLEAR = 0.7
"""Chance from which a part of a review takes a side."""
LEAST = 0.25
"""Share of the parts that take a side which the weaker side must have."""


def tones(found: pd.DataFrame, texts: Sequence[str], sentiment: Sentiment) -> list[str]:
    """LEVELS or MIXED for each of `texts` (n,), by what `sentiment` found of the whole: its `predict` (n).

    sentiment: quick; it reads the parts.
    """
    lean = (found["positive"] - found["negative"]).to_numpy()
    level = np.asarray(LEVELS, dtype=object)[np.searchsorted(EDGES, lean)]
    owner: list[int] = []
    pieces: list[str] = []
    for row, text in enumerate(texts):
        mine = parts_of(text)
        if len(mine) > 1:
            owner += [row] * len(mine)
            pieces += mine
    if pieces:
        languages = found["language"].to_numpy()[owner]
        told = sentiment.predict(pd.DataFrame({"text": pieces, "language": languages}))
        clear = (told["confidence"] >= CLEAR).to_numpy()
        praise = np.bincount(owner, clear & (told["label"] == "positive"), len(texts))
        blame = np.bincount(owner, clear & (told["label"] == "negative"), len(texts))
        level[np.minimum(praise, blame) >= np.maximum(LEAST * (praise + blame), 1)] = MIXED
    return level.tolist()


def parts_of(text: str) -> list[str]:
    """Clauses of a text: what stands between stops, commas and words of contrast.

    >>> parts_of("Good screen, but awful battery. I like it.")
    ['Good screen', 'awful battery', 'I like it']
    """
    found = []
    for start, end in sentences(text):
        at = start
        for match in [*CLAUSE.finditer(text, start, end), None]:
            part = text[at : match.start() if match else end].strip()
            if len(part) > 1:
                found.append(part)
            at = match.end() if match else end
    return found

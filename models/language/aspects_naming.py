"""Names of things among words, told by what stands around them.

A word is a name by how often it follows a determiner or ends a phrase, against how often it follows a pronoun or a word
of degree, in the texts at hand (as in Clark, 2003, Combining Distributional and Morphological Information for Part of
Speech Induction). Of a word that is seldom there its kind decides where a dictionary has it, else its ending.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.language.english import (
    BEING,
    CLOSED,
    DEGREES,
    DETERMINERS,
    DOING,
    HELPERS,
    JOINS,
    LINKS,
    NAMING,
    SAYING,
    SUBJECTS,
)
from models.language.lexicon import Lexicon

TOKEN = re.compile(
    r"[^\W\d_\u2e80-\u9fff\uac00-\ud7af](?:[^\W_\u2e80-\u9fff\uac00-\ud7af]|['’\-](?=\w))*|\d[\w.\-]*|[:;=][\-o]?[)(DP/|\\]|\S"
)
WEIGHTS = {
    "after determiner": 2.0,
    "after link": 1.0,
    "after name": 0.6,
    "before being": 1.2,
    "before end": 0.8,
    "before link": 0.5,
    "after subject": -3.0,
    "after helper": -3.0,
    "after degree": -3.0,
    "before determiner": -2.5,
    "before content": -0.5,
}
PRIOR, STRENGTH = -0.1, 2.0
"""What a word is worth before it was seen, and by how many occurrences that weighs."""
NAME, PROPER, PROPERTY, DOING_KIND, OTHER = "name", "proper", "property", "doing", "other"
"""Kinds of words as a dictionary has them: nouns, proper nouns, adjectives, verbs, and the rest."""
KNOWN = {NAME: 1.5, PROPER: 0.5, PROPERTY: -1.5, DOING_KIND: -1.0, OTHER: -3.0}
KNOWN_STRENGTH = 6.0
"""The same of a word whose kind is known."""
NAMES_AT_MOST = 3
STRONG = 1.0
"""Score of a word that is hardly ever anything but a name."""


@dataclass(frozen=True)
class Tokens:
    """m tokens of n texts in one row. words (m,): lower case; texts, starts, ends (m,): where each is."""

    words: np.ndarray
    texts: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Tokens":
        """The tokens of `texts`; a line's end is none."""
        words, rows, starts, ends = [], [], [], []
        for row, text in enumerate(texts):
            for match in TOKEN.finditer(text):
                words.append(match.group().lower().replace("’", "'"))
                rows.append(row)
                starts.append(match.start())
                ends.append(match.end())
        return cls(
            np.asarray(words, dtype=object),
            np.asarray(rows, dtype=np.int64),
            np.asarray(starts, dtype=np.int64),
            np.asarray(ends, dtype=np.int64),
        )


@dataclass(frozen=True)
class Found:
    """k names. texts, starts, ends (k,): where; first, last (k,): their tokens."""

    texts: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    first: np.ndarray
    last: np.ndarray


def name_scores(tokens: Tokens, dictionary: Mapping[str, str]) -> dict[str, float]:
    """How much each word looks like a name of a thing: positive where it does. dictionary: words to KNOWN, if any."""
    codes, vocabulary = pd.factorize(tokens.words)
    kinds = {
        "determiner": DETERMINERS,
        "link": LINKS,
        "subject": SUBJECTS,
        "helper": HELPERS,
        "degree": DEGREES,
        "being": BEING,
        "join": JOINS,
    }
    of = {
        name: np.fromiter((word in words for word in vocabulary), bool, len(vocabulary))
        for name, words in kinds.items()
    }
    letters = np.fromiter((word[:1].isalpha() for word in vocabulary), bool, len(vocabulary))
    closed = np.fromiter((word in CLOSED for word in vocabulary), bool, len(vocabulary))
    before, after = np.roll(codes, 1), np.roll(codes, -1)
    same_before = np.roll(tokens.texts, 1) == tokens.texts
    same_after = np.roll(tokens.texts, -1) == tokens.texts

    def prev(kind: np.ndarray) -> np.ndarray:
        return same_before & kind[before]

    def following(kind: np.ndarray) -> np.ndarray:
        return same_after & kind[after]

    content = letters & ~closed
    evidence = {
        "after determiner": prev(of["determiner"]),
        "after link": prev(of["link"]),
        "after name": prev(content),
        "before being": following(of["being"]),
        "before end": ~same_after | following(~letters | of["join"]),
        "before link": following(of["link"]),
        "after subject": prev(of["subject"]),
        "after helper": prev(of["helper"]),
        "after degree": prev(of["degree"]),
        "before determiner": following(of["determiner"]),
        "before content": following(content),
    }
    total = np.zeros(len(codes))
    for name, weight in WEIGHTS.items():
        total += weight * evidence[name]
    count = np.bincount(codes, minlength=len(vocabulary))
    sums = np.bincount(codes, weights=total, minlength=len(vocabulary))
    shape = np.fromiter(
        (
            PRIOR - 1.2 * bool(DOING.match(word)) + 0.8 * bool(NAMING.match(word))
            for word in vocabulary
        ),
        float,
        len(vocabulary),
    )
    known = [dictionary.get(word, "") for word in vocabulary]
    prior = np.asarray([KNOWN.get(kind, own) for kind, own in zip(known, shape, strict=True)])
    strength = np.asarray([KNOWN_STRENGTH if kind else STRENGTH for kind in known])
    score = (sums + strength * prior) / (count + strength)
    score[closed | ~letters] = -9.0
    return dict(zip(vocabulary.tolist(), score.tolist(), strict=True))


def names(tokens: Tokens, scores: dict[str, float], lexicon: Lexicon, least: float) -> Found:
    """Runs of up to NAMES_AT_MOST words that look like names (a score of at least `least`), none of them rated."""
    rated = np.fromiter((lexicon.values.get(word, 0.0) != 0 for word in tokens.words), bool)
    score = np.fromiter((scores.get(word, -9.0) for word in tokens.words), float)
    like = (score >= least) & ~rated
    # A word right after a pronoun or a helping word does something, whatever it is elsewhere.
    doing = np.fromiter((word in SUBJECTS or word in HELPERS for word in tokens.words), bool)
    like[1:] &= ~(doing[:-1] & (tokens.texts[1:] == tokens.texts[:-1]))
    # "very large", "it looks right": what is said of a thing, though elsewhere it may stand before one.
    saying = np.fromiter((word in SAYING or word in DEGREES for word in tokens.words), bool)
    like[1:] &= ~(saying[:-1] & (score[1:] < STRONG) & (tokens.texts[1:] == tokens.texts[:-1]))
    joined = np.zeros(len(like), bool)
    joined[1:] = (
        like[1:]
        & like[:-1]
        & (tokens.texts[1:] == tokens.texts[:-1])
        & (tokens.starts[1:] - tokens.ends[:-1] <= 1)
    )
    run_start = np.flatnonzero(like & ~joined)
    run = np.cumsum(like & ~joined) - 1
    last = np.zeros(len(run_start), np.int64)
    inside = np.flatnonzero(like)
    last[run[inside]] = inside
    first = np.maximum(run_start, last - NAMES_AT_MOST + 1)
    long = tokens.ends[last] - tokens.starts[first] >= 2
    first, last = first[long], last[long]
    return Found(tokens.texts[first], tokens.starts[first], tokens.ends[last], first, last)

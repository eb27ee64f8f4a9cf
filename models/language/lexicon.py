"""What the words of a text say by themselves, read with a lexicon of rated words.

The rules that bend a word's value by those before it (negation, degree, capitals, "but") follow Hutto and Gilbert
(2014), VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text. What is new: the value stays
with its word, so that an aspect may be read from the words around it and from its own clause.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

TOKEN = re.compile(
    r"[A-Za-z][A-Za-z'’\-]*|[:;=8xX][\-o\*']?[\)\]\(\[dDpP/\\|]|<3|[!?.,;:()\n]|[^\x00-\x7f]"
)
LONGEST = 6000
"""Characters: of a longer text the first and the last half of that are read."""
NEGATIONS_TEXT = (
    "not no never none nothing nowhere neither nor without cannot cant dont doesnt didnt isnt arent wasnt werent wont "
    "wouldnt couldnt shouldnt hasnt havent hadnt aint rarely seldom hardly barely scarcely lacks lack lacking"
)
NEGATIONS = frozenset(NEGATIONS_TEXT.split())
STRONGER_TEXT = (
    "very really extremely so too absolutely totally completely incredibly especially quite highly super amazingly "
    "exceptionally particularly thoroughly truly entirely utterly insanely"
)
STRONGER = frozenset(STRONGER_TEXT.split())
WEAKER_TEXT = "somewhat slightly little bit kinda sorta almost fairly rather marginally partly occasionally sometimes"
WEAKER = frozenset(WEAKER_TEXT.split())
TURNS_TEXT = "but however although though yet except unfortunately nevertheless still while whereas"
TURNS = frozenset(TURNS_TEXT.split())
STOPS = frozenset(".!?;\n")
BREAKS = frozenset(",:()")
NEGATED, DEGREE, CAPITALS = -0.74, 0.25, 0.2
"""A negated value is turned and weakened; a word of degree or capitals change it by that share."""
REACH = 4
"""Words before a word that may bend it, within its clause."""
SPREAD = 15.0
"""A sum s is shown as s / sqrt(s^2 + SPREAD), as in VADER with values up to 4."""
NAMES = (
    "all",
    "positive",
    "negative",
    "share positive",
    "share negative",
    "after turn",
    "last",
    "first",
    "best",
    "worst",
    "negations",
    "exclamations",
    "questions",
    "length",
)
NEAR_NAMES = (
    "near",
    "nearer",
    "clause",
    "left",
    "right",
    "before turn",
    "rated in clause",
    "negated in clause",
    "place",
)


@dataclass(frozen=True)
class Words:
    """The m tokens of one text.

    starts (m,): where each begins. values (m,): bent by what is before it, 0 for the unrated. clauses (m,): number of
    the clause. sentences (m,). turned (m,): whether a word of contrast came before in its sentence.
    negations: how many.
    """

    starts: np.ndarray
    values: np.ndarray
    clauses: np.ndarray
    sentences: np.ndarray
    turned: np.ndarray
    negating: np.ndarray


class Lexicon:
    """Words (lower case), emoticons and emoji with values from -4 to 4."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self.values = dict(values)

    def read(self, text: str) -> Words:
        """The tokens of `text` with their values."""
        if len(text) > LONGEST:
            text = text[: LONGEST // 2] + "\n" + text[-LONGEST // 2 :]
        starts, values, clauses, sentences, turned, negating = [], [], [], [], [], []
        clause = sentence = 0
        turn = False
        negated = degree = -REACH - 1
        change = 0.0
        known = self.values
        shouting = text.isupper()
        for at, match in enumerate(TOKEN.finditer(text)):
            token = match.group()
            word = token.lower().replace("’", "'")
            value = known.get(word, 0.0)
            no = False
            if word in STOPS:
                clause, sentence, turn = clause + 1, sentence + 1, False
                negated = degree = at - REACH - 1
            elif word in BREAKS:
                clause += 1
                negated = degree = at - REACH - 1
            elif word in TURNS:
                clause, turn, value = clause + 1, True, 0.0
                negated = degree = at - REACH - 1
            elif word.endswith("n't") or word in NEGATIONS:
                no, negated = True, at
                value = value if word in ("lack", "lacks", "lacking") else 0.0
            elif word in STRONGER:
                degree, change, value = at, DEGREE, 0.0
            elif word in WEAKER:
                degree, change, value = at, -DEGREE, 0.0
            elif value:
                if at - degree <= REACH - 1:
                    value *= 1 + change
                if token.isupper() and len(token) > 1 and not shouting:
                    value *= 1 + CAPITALS
                if at - negated <= REACH:
                    value *= NEGATED
            starts.append(match.start())
            values.append(value)
            clauses.append(clause)
            sentences.append(sentence)
            turned.append(turn)
            negating.append(no)
        return Words(
            np.asarray(starts, dtype=np.int64),
            np.asarray(values, dtype=np.float32),
            np.asarray(clauses, dtype=np.int64),
            np.asarray(sentences, dtype=np.int64),
            np.asarray(turned, dtype=bool),
            np.asarray(negating, dtype=bool),
        )

    def features(self, texts: Sequence[str]) -> np.ndarray:
        """(n, len(NAMES)) float32, each about within -1 and 1."""
        out = np.zeros((len(texts), len(NAMES)), dtype=np.float32)
        for row, text in enumerate(texts):
            words = self.read(text)
            out[row] = _whole(words, text)
        return out

    def near(self, texts: Sequence[str], spans: Sequence[tuple[int, int]]) -> np.ndarray:
        """(n, len(NEAR_NAMES)) float32: what is said around each text's span [start, end)."""
        out = np.zeros((len(texts), len(NEAR_NAMES)), dtype=np.float32)
        for row, (text, span) in enumerate(zip(texts, spans, strict=True)):
            out[row] = _around(self.read(text), span, len(text))
        return out


def squash(total: float) -> float:
    """A sum of values as a number from -1 to 1."""
    return float(total / np.sqrt(total * total + SPREAD))


def _whole(words: Words, text: str) -> list[float]:
    marks = [min(text.count("!"), 4) / 4, min(text.count("?"), 4) / 4, np.log1p(len(text)) / 8]
    count = len(words.values)
    if not count:
        return [0.0] * 11 + marks
    values = words.values
    above, below = values > 0, values < 0
    # What follows "but" weighs more than what it turns from.
    weighed = values * np.where(words.turned, 1.5, 1.0)
    last = words.sentences >= words.sentences.max() - 1
    return [
        squash(float(weighed.sum())),
        squash(float(values[above].sum())),
        squash(float(values[below].sum())),
        float(above.mean()) * 4,
        float(below.mean()) * 4,
        squash(float(values[words.turned].sum())),
        squash(float(values[last].sum())),
        squash(float(values[words.sentences == 0].sum())),
        float(values.max()) / 4,
        float(values.min()) / 4,
        min(float(words.negating.sum()), 4.0) / 4,
        *marks,
    ]


def _around(words: Words, span: tuple[int, int], length: int) -> list[float]:
    place = span[0] / max(length, 1)
    if not len(words.values):
        return [0.0] * 8 + [place]
    inside = (words.starts >= span[0]) & (words.starts < max(span[1], span[0] + 1))
    first = int(np.searchsorted(words.starts, span[0]).clip(0, len(words.starts) - 1))
    last = int(np.flatnonzero(inside)[-1]) if inside.any() else first
    order = np.arange(len(words.values))
    distance = np.where(order < first, first - order, np.where(order > last, order - last, 0))
    values = np.where(inside, 0.0, words.values)
    same = words.sentences == words.sentences[first]
    clause = words.clauses == words.clauses[first]
    far = np.abs(words.clauses - words.clauses[first])
    return [
        squash(3 * float((values * np.exp(-distance / 5)).sum())),
        squash(4 * float((values * same / (1 + distance) / (1 + far)).sum())),
        squash(2 * float(values[clause].sum())),
        squash(float(values[same & (order < first)].sum())),
        squash(float(values[same & (order > last)].sum())),
        squash(float(values[same & (words.turned == words.turned[first])].sum())),
        float((values[clause] != 0).any()),
        float(words.negating[clause].any()),
        place,
    ]

"""Which of a catalogue's values stands written in a text, such as one that was read on a pack.

Values and texts are compared by their words alone: case, accents, punctuation and the space between a number and its unit
do not count, so that `500 ml` stands in "MILK 500ML".
"""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

WORD = re.compile(r"\d+(?:\.\d+)?|[\u2e80-\u9fff\uac00-\ud7af]|[^\W\d_\u2e80-\u9fff\uac00-\ud7af]+")
"""A number, a Chinese, Japanese or Korean character, or a run of other letters."""
COMMA = re.compile(r"(?<=\d),(?=\d)")
SHORTEST = 3
"""Letters of the shortest value that is looked for: shorter ones stand in many texts by chance."""
IDEOGRAPH = 2
"""How many letters one counts for."""
DOUBT = 4.0
"""How many texts are added in which a value that stood there was right no more often than by `CHANCE`."""
CHANCE = 0.25


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text as they are compared.

    >>> words_of("Crème Fraîche, 1,5L")
    ('creme', 'fraiche', '1.5', 'l')
    """
    plain = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(one for one in plain if not unicodedata.combining(one))
    return tuple(WORD.findall(COMMA.sub(".", unicodedata.normalize("NFC", bare))))


def letters(words: Sequence[str]) -> int:
    """How many letters and digits a value has."""
    return sum(IDEOGRAPH if word >= "\u2e80" else len(word) for word in words)


def written(texts: Sequence[str], values: Sequence[str]) -> np.ndarray:
    """The place (n,) of the value that stands in each text; -1 where none does, or where several do alike.

    Of values that stand there the one with the most letters is told, so that `Arla Pro` is, not `Arla`. Values that read
    alike are looked for in vain.
    """
    known: dict[tuple[str, ...], int] = {}
    for at, value in enumerate(values):
        words = words_of(value)
        if letters(words) >= SHORTEST:
            known[words] = -1 if words in known else at
    longest = max(map(len, known), default=0)
    found = np.full(len(texts), -1, np.int64)
    for row, text in enumerate(texts):
        words = words_of(text)
        spans = {
            words[start : start + length]
            for length in range(1, min(longest, len(words)) + 1)
            for start in range(len(words) - length + 1)
        }
        there = sorted((letters(span), known[span]) for span in spans & known.keys())
        if there and (len(there) == 1 or there[-1][0] > there[-2][0]):
            found[row] = there[-1][1]
    return found


def agreement(found: np.ndarray, labels: np.ndarray) -> float:
    """The probability that a value is right which stands in a text, from the rows whose label is known.

    found (n,): as `written` gives it; labels (n,): places of values, -1 where none is known.
    """
    judged = (found >= 0) & (labels >= 0)
    right = float((found[judged] == labels[judged]).sum())
    return (right + DOUBT * CHANCE) / (float(judged.sum()) + DOUBT)

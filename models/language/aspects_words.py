"""Names with what is said of them, in texts whose words are set apart by spaces.

What is a name is told by `aspects_naming`, which word of opinion belongs to it by `aspects_linking`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from models.language.aspects import Spoken
from models.language.aspects_linking import opinions_of
from models.language.aspects_naming import NAME, Found, Tokens, name_scores, names
from models.language.lexicon import Lexicon

OFTEN, LIFT, BOUND = 4, 1.2, 0.7
"""Of a word of opinion: how often it must be seen to be judged, and how (see `telling`)."""


class WordFinder:
    """Names with what is said of them, in texts whose words are set apart by spaces."""

    def __init__(
        self, scores: dict[str, float], known: frozenset[str], lexicon: Lexicon, least: float
    ) -> None:
        """scores, least: see `aspects_naming.names`. known: last words of the names that are kept. lexicon: words that say something."""
        self.scores, self.known, self.lexicon, self.least = scores, known, lexicon, least

    def tokens(self, texts: Sequence[str]) -> tuple[Tokens, Found, np.ndarray]:
        """The tokens of `texts` (n,), the names among them, and the tokens' values (m,)."""
        tokens = Tokens.of(texts)
        bounds = np.searchsorted(tokens.texts, np.arange(len(texts) + 1))
        values = np.zeros(len(tokens.words))
        for row, text in enumerate(texts):
            read = self.lexicon.read(text)
            of = dict(zip(read.starts.tolist(), read.values.tolist(), strict=True))
            part = slice(bounds[row], bounds[row + 1])
            values[part] = [of.get(start, 0.0) for start in tokens.starts[part].tolist()]
        return tokens, names(tokens, self.scores, self.lexicon, self.least), values

    def find(self, texts: Sequence[str]) -> list[Spoken]:
        """All of `texts`, by text and place; of a name that a text has twice the first."""
        tokens, found, values = self.tokens(texts)
        told = opinions_of(tokens, found, values, self.scores, self.least)
        spoken, seen = [], set()
        for place, said in sorted(told.items()):
            row, start, end = (int(of[place]) for of in (found.texts, found.starts, found.ends))
            name = texts[row][start:end].lower()
            if (row, name) in seen or tokens.words[found.last[place]] not in self.known:
                continue
            seen.add((row, name))
            # The words nearest to the name.
            at = min(said, key=lambda at: abs(int(tokens.starts[at]) - start))
            spoken.append(Spoken(row, start, end, int(tokens.starts[at]), int(tokens.ends[at])))
        return spoken


def learn(
    texts: Sequence[str],
    labelled: Sequence[str],
    sides: Sequence[int],
    lexicon: Lexicon,
    least: float,
    support: int,
    dictionary: Mapping[str, str],
) -> WordFinder:
    """What `texts` show of names, and `labelled` (n,) with their `sides` (n,; 1, 0, -1) of words of opinion.

    least: see `aspects_naming.names`. support: texts that must have the last word of a name, unless `dictionary` (see
    `aspects_naming.name_scores`) has it as one.
    """
    tokens = Tokens.of(texts)
    pairs = pd.DataFrame({"word": tokens.words, "text": tokens.texts}).drop_duplicates()
    count = pairs["word"].value_counts()
    known = frozenset(
        word for word, often in count.items() if often >= support or dictionary.get(word) == NAME
    )
    rated = Lexicon(telling(lexicon, labelled, sides))
    return WordFinder(name_scores(tokens, dictionary), known, rated, least)


def telling(lexicon: Lexicon, texts: Sequence[str], sides: Sequence[int]) -> dict[str, float]:
    """The words of `lexicon` but those that this shop's labelled texts use for something else ("play" of a player).

    sides (n,): 1 for praise, -1 for blame, 0 for neither. A word goes where its texts are of its side too seldom: a
    normal bound of that share is below what all texts have, times LIFT.
    """
    tokens = Tokens.of(texts)
    side = np.asarray(sides, dtype=np.int64)[tokens.texts]
    codes, words = pd.factorize(tokens.words)
    total = np.bincount(codes, minlength=len(words))
    value = np.fromiter((lexicon.values.get(word, 0.0) for word in words), float, len(words))
    kept = dict(lexicon.values)
    for sign in (1, -1):
        base = float(np.mean(np.asarray(sides) == sign)) if len(sides) else 0.0
        share = np.bincount(codes[side == sign], minlength=len(words)) / np.maximum(total, 1)
        bound = share + BOUND * np.sqrt(np.maximum(share, 0.1) * (1 - share) / np.maximum(total, 1))
        for at in np.flatnonzero((value * sign > 0) & (total >= OFTEN) & (bound < LIFT * base)):
            kept.pop(words[at])
    return kept

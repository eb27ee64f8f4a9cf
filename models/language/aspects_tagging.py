"""Names with what is thought of them, by a transformer that labels every piece of a sentence.

A label is "outside", or the beginning or the inside of a name (Ramshaw and Marcus, 1995, Text Chunking using
Transformation-Based Learning) that is praised or blamed: one decision finds a name and its side (Li et al., 2019,
Exploiting BERT for End-to-End Aspect-based Sentiment Analysis).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from models.encoders.text import TextEncoder
from models.encoders.tuned import BATCH, Cutter, Pieces, Tuned, stacked
from models.language.aspects import Spoken
from models.language.lexicon import TOKEN, Lexicon
from models.language.polarity import CLAUSE

OUTSIDE = 0
BEGINS = {True: 1, False: 3}
"""Of a praised and of a blamed name; what is inside has the next number."""
LABELS = 5
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]|_")


class Net(Tuned):
    """Logits (n, t, LABELS) of the labels of pieces (n, t)."""

    def __init__(self, encoder: TextEncoder, frozen: int) -> None:
        """With the encoder's weights, see `Tuned`."""
        super().__init__(encoder, frozen)
        self.labels = nn.Linear(self.width, LABELS)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.told(self.known(tokens, mask), mask)

    def told(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The logits of what `known` gives."""
        return self.labels(self.read(hidden, mask))


@dataclass(frozen=True)
class TagFinder:
    """Finds names by their labels. sure: chance from which on a word is part of one.

    lexicon: its words say what is thought; where none is near, the name's clause does. spaced: whether spaces set words
    apart; else each piece is a word.
    """

    net: Net
    cutter: Cutter
    lexicon: Lexicon
    sure: float
    spaced: bool

    def find(self, texts: Sequence[str]) -> list[Spoken]:
        """All of `texts`, by text and place, with the chance of praise; of a name that a text has twice the first."""
        spoken = []
        for row, (pieces, chances) in enumerate(self._read(texts)):
            text, seen = texts[row], set()
            for start, end, praise in self._names(text, pieces, chances):
                name = text[start:end].lower()
                if name not in seen:
                    seen.add(name)
                    said = self._said(text, start, end, praise > 0.5)
                    spoken.append(Spoken(row, start, end, *said, praise))
        return spoken

    @torch.inference_mode()
    def _read(self, texts: Sequence[str]) -> list[tuple[Pieces, np.ndarray]]:
        """Of each text its pieces and the chances of their labels (t, LABELS)."""
        pieces = self.cutter(texts)
        chances: list[Any] = [None] * len(pieces)
        order = np.argsort([-len(one.ids) for one in pieces], kind="stable")
        for at in range(0, len(order), BATCH):
            part = order[at : at + BATCH]
            told = self.net(*stacked([pieces[row] for row in part])).softmax(-1).numpy()
            for place, row in enumerate(part):
                chances[row] = told[place, : len(pieces[row].ids)]
        return list(zip(pieces, chances, strict=True))

    def _names(
        self, text: str, pieces: Pieces, chances: np.ndarray
    ) -> list[tuple[int, int, float]]:
        """(start, end, chance of praise) of each name: words of which a name is likelier than `sure`, up to a beginning."""
        names: list[tuple[int, int, np.ndarray]] = []
        last = -1
        for at, (start, end) in enumerate(self._words(text, pieces)):
            here = (pieces.places[:, 0] < end) & (pieces.places[:, 1] > start)
            if not here.any():
                continue
            mean = chances[here].mean(0)
            if 1 - mean[OUTSIDE] < self.sure:
                continue
            first = chances[int(np.argmax(here))]
            inside = first[[2, 4]].sum() > first[[1, 3]].sum()
            if names and last == at - 1 and inside:
                begin, _, told = names[-1]
                names[-1] = (begin, end, told + mean)
            else:
                names.append((start, end, mean))
            last = at
        return [(start, end, float(told[1:3].sum() / told[1:].sum())) for start, end, told in names]

    def _words(self, text: str, pieces: Pieces) -> list[tuple[int, int]]:
        """Where the words of `text` are."""
        if self.spaced:
            return [match.span() for match in WORD.finditer(text)]
        found = []
        for start, end in pieces.places.tolist():
            inner = text[max(start, 0) : max(end, 0)]
            left = start + len(inner) - len(inner.lstrip())
            if left < end:
                found.append((left, left + len(inner.strip())))
        return found

    def _said(self, text: str, start: int, end: int, praised: bool) -> tuple[int, int]:
        """Where the words are that tell: the nearest of the lexicon's that is of this side, else the name's clause."""
        words = self.lexicon.read(text)
        right = words.values > 0 if praised else words.values < 0
        apart = (words.starts < start) | (words.starts >= end)
        told = words.starts[right & apart]
        if len(told):
            at = int(told[np.argmin(np.abs(told - start))])
            match = TOKEN.match(text, at)
            return at, match.end() if match else at + 1
        left = max((match.end() for match in CLAUSE.finditer(text, 0, start)), default=0)
        stop = CLAUSE.search(text, end)
        right_end = stop.start() if stop else len(text)
        inner = text[left:right_end]
        return left + len(inner) - len(inner.lstrip()), left + len(inner.rstrip())

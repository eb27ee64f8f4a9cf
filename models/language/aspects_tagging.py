"""Names with what is thought of them, by a transformer that labels every piece of a sentence.

A label is "outside", or the beginning or the inside of a name (Ramshaw and Marcus, 1995, Text Chunking using
Transformation-Based Learning) that is praised or blamed: one decision finds a name and its side (Li et al., 2019,
Exploiting BERT for End-to-End Aspect-based Sentiment Analysis).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from models.encoders.text import Bert, TextEncoder, backbone
from models.language.aspects import Spoken
from models.language.lexicon import TOKEN, Lexicon
from models.language.polarity import CLAUSE

OUTSIDE = 0
BEGINS = {True: 1, False: 3}
"""Of a praised and of a blamed name; what is inside has the next number."""
LABELS = 5
BATCH = 64
LONGEST = 128
"""Pieces of a sentence that are read."""
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]|_")


class Net(nn.Module):
    """Logits (n, t, LABELS) of the labels of pieces (n, t).

    frozen: layers of the encoder, from the first, that stay as they are, as its words do: what they make of a sentence is
    computed once.
    """

    def __init__(self, encoder: TextEncoder, frozen: int) -> None:
        """With the encoder's weights. Raises `ValueError` for one that is no BERT."""
        super().__init__()
        config, weights, _ = encoder.transformer_parts()
        state = {
            name: torch.from_numpy(np.asarray(value)).float() for name, value in weights.items()
        }
        bert = backbone(config, state)
        if not isinstance(bert, Bert):
            raise ValueError("the encoder is no BERT")
        self.bert = bert
        self.layers = list(cast(nn.ModuleList, bert.encoder["layer"]))
        self.frozen = frozen
        self.drop = nn.Dropout(0.1)
        self.labels = nn.Linear(config["hidden_size"], LABELS)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.told(self.known(tokens, mask), mask)

    def known(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(n, t, width): what the frozen layers make of pieces."""
        return _through(self.layers[: self.frozen], self.bert.embeddings(tokens), mask)

    def told(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The logits of what `known` gives."""
        hidden = _through(self.layers[self.frozen :], self.drop(hidden), mask)
        return self.labels(self.drop(hidden))


def _through(layers: Sequence[nn.Module], hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    seen = None if bool(mask.all()) else mask[:, None, None, :]
    for layer in layers:
        hidden = layer(hidden, seen)
    return hidden


@dataclass(frozen=True)
class Pieces:
    """A sentence in pieces. ids (t,). places (t, 2): of each the characters, -1 for those that stand for none."""

    ids: np.ndarray
    places: np.ndarray


class Cutter:
    """Cuts sentences into pieces as the encoder's tokenizer does, as many as it has places for and no more than LONGEST."""

    def __init__(self, encoder: TextEncoder) -> None:
        from tokenizers import Tokenizer

        config, _, tokenizer = encoder.transformer_parts()
        self._tokenizer = Tokenizer.from_str(tokenizer)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(min(LONGEST, config["max_position_embeddings"]))

    def __call__(self, texts: Sequence[str]) -> list[Pieces]:
        """The pieces of each of `texts` (n,). Lone surrogates are read as question marks, as long as they are."""
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        found = []
        for one in self._tokenizer.encode_batch(clean):
            places = np.asarray(one.offsets, dtype=np.int64).reshape(-1, 2)
            frame = np.asarray(one.special_tokens_mask, dtype=bool)
            # Of pieces that begin at one place the last has it: a tokenizer that knows words by the space before them
            # puts a space, which has no place of its own, where a text begins with a word without one.
            frame[:-1] |= (places[1:, 0] == places[:-1, 0]) & ~frame[1:]
            found.append(
                Pieces(np.asarray(one.ids, dtype=np.int64), np.where(frame[:, None], -1, places))
            )
        return found


def stacked(pieces: Sequence[Pieces]) -> tuple[torch.Tensor, torch.Tensor]:
    """tokens and mask, each (n, longest)."""
    longest = max(len(one.ids) for one in pieces)
    tokens = np.zeros((len(pieces), longest), dtype=np.int64)
    mask = np.zeros(tokens.shape, dtype=bool)
    for row, one in enumerate(pieces):
        tokens[row, : len(one.ids)] = one.ids
        mask[row, : len(one.ids)] = True
    return torch.from_numpy(tokens), torch.from_numpy(mask)


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

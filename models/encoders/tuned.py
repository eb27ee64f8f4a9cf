"""A BERT whose upper layers are trained further, and texts in the pieces that it reads.

What the other layers make of a text never changes, and is computed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from models.encoders.text import Bert, TextEncoder, backbone

BATCH = 64
LONGEST = 128
"""Pieces of a text that are read."""


class Tuned(nn.Module):
    """The encoder's layers: the first `frozen`, which stay as they are, as its words do, and those that learn."""

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
        self.width = int(config["hidden_size"])
        self.layers = list(cast(nn.ModuleList, bert.encoder["layer"]))
        self.frozen = frozen
        self.drop = nn.Dropout(0.1)

    @property
    def learning(self) -> list[nn.Module]:
        """The layers that are trained."""
        return self.layers[self.frozen :]

    def known(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(n, t, width): what the frozen layers make of pieces (n, t)."""
        return _through(self.layers[: self.frozen], self.bert.embeddings(tokens), mask)

    def read(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(n, t, width): what the others make of what `known` gives."""
        return self.drop(_through(self.learning, self.drop(hidden), mask))

    @torch.no_grad()
    def known_of(self, pieces: Sequence["Pieces"]) -> list[torch.Tensor]:
        """Of each text (t, width) what the frozen layers make of it."""
        found: list[Any] = [None] * len(pieces)
        order = np.argsort([len(one.ids) for one in pieces], kind="stable")
        for at in range(0, len(order), BATCH):
            part = order[at : at + BATCH]
            made = self.known(*stacked([pieces[row] for row in part]))
            for place, row in enumerate(part):
                found[row] = made[place, : len(pieces[row].ids)].clone()
        return found


def _through(layers: Sequence[nn.Module], hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    seen = None if bool(mask.all()) else mask[:, None, None, :]
    for layer in layers:
        hidden = layer(hidden, seen)
    return hidden


@dataclass(frozen=True)
class Pieces:
    """A text in pieces. ids (t,). places (t, 2): of each the characters, -1 for those that stand for none."""

    ids: np.ndarray
    places: np.ndarray


class Cutter:
    """Cuts texts into pieces as the encoder's tokenizer does, as many as it has places for and no more than LONGEST."""

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
    return padded([torch.from_numpy(one.ids) for one in pieces])


def padded(rows: Sequence[torch.Tensor], fill: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (t, …) of several lengths as one (n, longest, …) with `fill` behind their ends, and where they are (n, longest).

    >>> values, mask = padded([torch.tensor([1, 2]), torch.tensor([3])])
    >>> values.tolist(), mask.tolist()
    ([[1, 2], [3, 0]], [[True, True], [True, False]])
    """
    there = [torch.ones(len(row), dtype=torch.bool) for row in rows]
    return (
        pad_sequence(list(rows), batch_first=True, padding_value=fill),
        pad_sequence(there, batch_first=True),
    )

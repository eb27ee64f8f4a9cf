"""The polarity of texts, or of one aspect in each, by a transformer whose upper layers learned it from labelled ones.

The pieces that are asked about, of the aspect or of the whole text, are marked by a vector that is learned, too; what the
layers make of them and of the first piece tells the class (Sun et al., 2019, Utilizing BERT for Aspect-Based Sentiment Analysis; Soares et al., 2019, Matching the Blanks).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from models.bundle import Bundle
from models.encoders.text import TextEncoder
from models.encoders.tuned import BATCH, Cutter, Pieces, Tuned, padded

KIND = "polarity-reader"
BLOCK = 1024
"""Texts whose states stand in memory together."""
SPREAD = 0.02
"""Deviation of the numbers that the mark begins with."""


class Net(Tuned):
    """Logits (n, classes) of what is asked about in n texts."""

    def __init__(self, encoder: TextEncoder, frozen: int, classes: int) -> None:
        """With the encoder's weights, see `Tuned`."""
        super().__init__(encoder, frozen)
        self.mark = nn.Parameter(SPREAD * torch.randn(self.width))
        self.middle = nn.Linear(2 * self.width, self.width)
        self.classes = nn.Linear(self.width, classes)

    def told(self, hidden: torch.Tensor, inside: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The logits of what `known` gives. inside (n, t): 1.0 for the pieces that are asked about, at least one, else 0."""
        hidden = self.read(hidden + inside[..., None] * self.mark, mask)
        share = inside / inside.sum(1, keepdim=True)
        both = torch.cat([hidden[:, 0], (hidden * share[..., None]).sum(1)], dim=1)
        return self.classes(self.drop(torch.tanh(self.middle(both))))


class PolarityReader:
    """Reads texts, or aspects in them."""

    def __init__(self, net: Net, encoder: TextEncoder) -> None:
        """encoder: what `net` was made from, without what was learned."""
        self.net, self.encoder, self.cutter = net, encoder, Cutter(encoder)

    @torch.inference_mode()
    def logits(self, texts: Sequence[str], spans: np.ndarray) -> np.ndarray:
        """(n, classes) float64 of the aspects at `spans` (n, 2) of `texts` (n,); of an empty one, of the whole text."""
        found = []
        for start in range(0, len(texts), BLOCK):
            block = texts[start : start + BLOCK]
            place = {text: at for at, text in enumerate(dict.fromkeys(block))}
            pieces = self.cutter(list(place))
            hidden = self.net.known_of(pieces)
            rows = [place[text] for text in block]
            asked = [
                inside_of(pieces[row], span)
                for row, span in zip(rows, spans[start : start + BLOCK], strict=True)
            ]
            found.append(self._read([hidden[row] for row in rows], asked))
        width = self.net.classes.out_features
        return np.concatenate([np.zeros((0, width)), *found])

    def _read(self, hidden: Sequence[torch.Tensor], inside: Sequence[np.ndarray]) -> np.ndarray:
        found = np.zeros((len(hidden), self.net.classes.out_features))
        order = np.argsort([-len(one) for one in inside], kind="stable")
        for at in range(0, len(order), BATCH):
            part = order[at : at + BATCH]
            batch = joined([hidden[row] for row in part], [inside[row] for row in part])
            found[part] = self.net.told(*batch).numpy()
        return found

    def to_bundle(self) -> Bundle:
        """The encoder as a member, what was learned in float16."""
        tensors = {name: value.numpy().astype(np.float16) for name, value in learned(self.net)}
        config = {"frozen": self.net.frozen, "classes": self.net.classes.out_features}
        return Bundle(KIND, config, tensors, {}, {"encoder": self.encoder.to_bundle()})

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "PolarityReader":
        """The reader that `to_bundle` gave."""
        encoder = TextEncoder.from_bundle(bundle.members["encoder"])
        net = Net(encoder, bundle.config["frozen"], bundle.config["classes"])
        state: dict[str, Any] = dict(net.state_dict())
        state |= {name: torch.from_numpy(value).float() for name, value in bundle.tensors.items()}
        net.load_state_dict(state)
        return cls(net.eval().requires_grad_(False), encoder)


def learned(net: Net) -> list[tuple[str, torch.Tensor]]:
    """What of the weights is not the encoder's any more."""
    fixed = ("bert.embeddings.", *(f"bert.encoder.layer.{at}." for at in range(net.frozen)))
    return [(name, value) for name, value in net.state_dict().items() if not name.startswith(fixed)]


def inside_of(pieces: Pieces, span: np.ndarray) -> np.ndarray:
    """(t,) float32: 1 for the pieces of the aspect at `span` (2,), or of the text where it has none of them; else 0.

    >>> sentence = Pieces(np.zeros(4, np.int64), np.array([[-1, -1], [0, 3], [4, 10], [-1, -1]]))
    >>> inside_of(sentence, np.array([4, 10])).tolist(), inside_of(sentence, np.array([0, 0])).tolist()
    ([0.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0])
    """
    left, right = pieces.places.T
    told = left >= 0
    here = told & (left < span[1]) & (right > span[0])
    if not here.any():
        # A text without pieces is its frame.
        here = told if told.any() else ~told
    return here.astype(np.float32)


def joined(
    hidden: Sequence[torch.Tensor], inside: Sequence[np.ndarray]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States (n, longest, width), what is inside (n, longest) and the mask (n, longest) of n texts as one batch."""
    states, mask = padded(hidden)
    within, _ = padded([torch.from_numpy(one) for one in inside])
    return states, within, mask

"""A small convolutional network over the pieces of a text, which starts from the embeddings of a frozen encoder.

It is the voice that learns from thousands of rows what n-grams can't: that words are alike. It reads a thousand texts
a second. Source of the shape: Kim (2014), Convolutional Neural Networks for Sentence Classification.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from models.bundle import Bundle

KIND = "skimmer"
PADDING, UNKNOWN = 0, 1
BLOCK = 256


class Net(nn.Module):
    """Logits (n, outputs) of rows of pieces (n, t), 0 where a row has ended."""

    def __init__(
        self, pieces: int, width: int, inner: int, filters: int, spans: Sequence[int], outputs: int
    ) -> None:
        super().__init__()
        self.outputs = outputs
        self.pieces = nn.Embedding(pieces, width, padding_idx=PADDING)
        self.narrow = nn.Linear(width, inner)
        self.look = nn.ModuleList(
            nn.Conv1d(inner, filters, span, padding=span // 2) for span in spans
        )
        self.drop = nn.Dropout(0.3)
        self.head = nn.Sequential(
            nn.Linear(filters * len(spans), filters),
            nn.GELU(),
            nn.Dropout(0.3),
            nn.Linear(filters, outputs),
        )

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        inside = rows != PADDING
        hidden = torch.tanh(self.narrow(self.drop(self.pieces(rows))))
        hidden = hidden.masked_fill(~inside[..., None], 0).transpose(1, 2)
        length = hidden.shape[2]
        tops = [
            nn.functional.gelu(look(hidden))[..., :length]
            .masked_fill(~inside[:, None], -1.0)
            .amax(2)
            for look in self.look
        ]
        return self.head(self.drop(torch.cat(tops, 1)))


class Skimmer:
    """Pieces of texts to logits. known (m,): ids of the encoder's vocabulary that the net has embeddings for."""

    SPANS = (1, 2, 3, 4)

    def __init__(
        self, tokenizer: str, known: np.ndarray, vocabulary: int, limit: int, net: Net
    ) -> None:
        self.tokenizer_text, self.known, self.vocabulary, self.limit = (
            tokenizer,
            known,
            vocabulary,
            limit,
        )
        self.net = net.eval()
        self.place = np.full(vocabulary, UNKNOWN, dtype=np.int64)
        self.place[known] = np.arange(len(known)) + 2
        self._tokenizer: Any = None

    def rows(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The pieces of each text by their places in the net; of a long one both ends."""
        if self._tokenizer is None:
            self._tokenizer = tokenizer_of(self.tokenizer_text)
        return [self.place[ids] for ids in pieces(self._tokenizer, texts, self.limit)]

    @torch.inference_mode()
    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """(n, outputs) float64."""
        rows = self.rows(texts)
        order = np.argsort([len(row) for row in rows], kind="stable")
        outputs = self.net.outputs
        out = np.zeros((len(rows), outputs))
        for at in range(0, len(order), BLOCK):
            part = order[at : at + BLOCK]
            out[part] = self.net(padded([rows[row] for row in part])).double().numpy()
        return out

    def to_bundle(self) -> Bundle:
        """Weights in float16, the tokenizer as text."""
        net = self.net
        config = {
            "vocabulary": self.vocabulary,
            "limit": self.limit,
            "width": net.pieces.embedding_dim,
            "inner": net.narrow.out_features,
            "filters": net.head[0].out_features,
            "outputs": net.head[-1].out_features,
        }
        tensors = {
            name: value.detach()
            .numpy()
            .astype(np.float16 if name == "pieces.weight" else np.float32)
            for name, value in net.state_dict().items()
        }
        return Bundle(
            KIND, config, {**tensors, "known": self.known}, {"tokenizer": [self.tokenizer_text]}
        )

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Skimmer":
        """The model that `to_bundle` gave."""
        config = bundle.config
        tensors = dict(bundle.tensors)
        known = tensors.pop("known")
        net = Net(
            len(known) + 2,
            config["width"],
            config["inner"],
            config["filters"],
            cls.SPANS,
            config["outputs"],
        )
        net.load_state_dict(
            {name: torch.from_numpy(value.astype(np.float32)) for name, value in tensors.items()}
        )
        return cls(
            bundle.vocabulary["tokenizer"][0], known, config["vocabulary"], config["limit"], net
        )


def tokenizer_of(text: str) -> Any:
    """The tokenizer, neither padding nor cutting."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def pieces(tokenizer: Any, texts: Sequence[str], limit: int) -> list[np.ndarray]:
    """Ids of each text's pieces, none of the signs around them; of one longer than `limit` its two ends."""
    found = []
    for at in range(0, len(texts), 1024):
        for encoded in tokenizer.encode_batch(
            list(texts[at : at + 1024]), add_special_tokens=False
        ):
            ids = encoded.ids
            if len(ids) > limit:
                ids = ids[: limit // 2] + ids[-(limit - limit // 2) :]
            found.append(np.asarray(ids, dtype=np.int64))
    return found


def padded(rows: Sequence[np.ndarray]) -> torch.Tensor:
    """(n, longest) int64; a row without a piece has one that is unknown."""
    longest = max(max((len(row) for row in rows), default=1), 1)
    table = np.full((len(rows), longest), PADDING, dtype=np.int64)
    for at, row in enumerate(rows):
        table[at, : len(row)] = row
        if not len(row):
            table[at, 0] = UNKNOWN
    return torch.from_numpy(table)

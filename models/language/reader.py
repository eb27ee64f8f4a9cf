"""A reader of questions with passages: which part answers, and whether any does.

A transformer reads question and passage at once; a linear layer over its tokens says where an answer begins and ends,
a small net over its first token whether there is one (Devlin et al., 2019, BERT; Rajpurkar et al., 2018, Know What You
Don't Know). It starts best from a cross-encoder that was trained to find passages: that knows what answers mean. A long text is read by those of its sentences that the question's words find, in their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from models.bundle import Bundle
from models.encoders.text import Bert, TextEncoder
from models.language.passages import PARTS, Index, sentences

KIND = "span-reader"
BATCH = 32
QUESTION = 40
"""Pieces of a question that are read."""
LONGEST = 30
"""Pieces of an answer at most."""
PARTS_WEIGHT = 0.3
SCALE = 0.25
"""A cross-encoder's logits are four times as steep as chances of an answer."""
HEADS = {
    "pooler.dense.weight": "pooler.weight",
    "pooler.dense.bias": "pooler.bias",
    "classifier.weight": "relevance.weight",
    "classifier.bias": "relevance.bias",
}
"""Names of a published cross-encoder's head, and ours."""


@dataclass(frozen=True)
class Passage:
    """What is read. ids (t,): pieces of question and text; places (t, 2): of each the characters, -1 where not text.

    first: where the text's pieces begin. found: how well its best sentence has the question's words.
    """

    ids: np.ndarray
    places: np.ndarray
    first: int
    found: float


@dataclass(frozen=True)
class Read:
    """n passages as read. relevance, sureness (n,): of an answer, of its place; spans (n, 2): characters."""

    relevance: np.ndarray
    sureness: np.ndarray
    spans: np.ndarray


class Net(nn.Module):
    """Logits of beginnings and ends (n, t) and of there being an answer (n,)."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.bert = Bert(config)
        self.span = nn.Linear(config["hidden_size"], 2)
        self.pooler = nn.Linear(config["hidden_size"], config["hidden_size"])
        self.relevance = nn.Linear(config["hidden_size"], 1)
        self.drop = nn.Dropout(0.1)

    def forward(
        self, tokens: torch.Tensor, segments: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        embed = self.bert.embeddings
        hidden = embed.word_embeddings(tokens) + embed.token_type_embeddings(segments)
        hidden = embed.LayerNorm(hidden + embed.position_embeddings.weight[: tokens.shape[1]])
        for layer in cast(nn.ModuleList, self.bert.encoder["layer"]):
            hidden = layer(hidden, mask[:, None, None, :])
        hidden = self.drop(hidden)
        logits = self.span(hidden).masked_fill(~((segments == 1) & mask)[..., None], -1e4)
        told = SCALE * self.relevance(torch.tanh(self.pooler(hidden[:, 0]))).squeeze(-1)
        return logits[..., 0], logits[..., 1], told


class SpanReader:
    """Reads pairs of a question and a text."""

    def __init__(self, config: dict[str, Any], tokenizer: str, limit: int, net: Net) -> None:
        """config, tokenizer: of the encoder that it was made from. limit: pieces of a question with its passage."""
        self.config, self.tokenizer_text, self.limit, self.net = (
            config,
            tokenizer,
            limit,
            net.eval(),
        )
        self._tokenizer: Any = None

    @classmethod
    def fresh(cls, encoder: TextEncoder, limit: int) -> "SpanReader":
        """Untrained, with the encoder's weights, and its head where it is a cross-encoder.

        Raises `ValueError` for an encoder that is no BERT.
        """
        config, weights, tokenizer = encoder.transformer_parts()
        net = Net(config)
        state = {HEADS.get(name, f"bert.{name}"): value for name, value in weights.items()}
        known = net.state_dict()
        net.load_state_dict(
            {
                name: torch.from_numpy(np.asarray(state.get(name, value))).float()
                for name, value in known.items()
            }
        )
        return cls(config, tokenizer, limit, net)

    def passage(self, question: str, text: str, wanted: Sequence[tuple[int, int]] = ()) -> Passage:
        """The question with what fits of `text`. wanted: places that must be there, as in training."""
        tokenizer = self._open()
        asked = tokenizer.encode(question)
        ids = (
            [*asked.ids[: QUESTION - 1], asked.ids[-1]]
            if len(asked.ids) > QUESTION
            else list(asked.ids)
        )
        places = [(-1, -1)] * len(ids)
        first, end = len(ids), asked.ids[-1]
        slices = sentences(text)
        texts = [text[start:stop] for start, stop in slices]
        found = Index.of(texts).search(question)
        found = found + PARTS_WEIGHT * Index.of(texts, PARTS).search(question, PARTS)
        order = [
            row
            for row, (start, stop) in enumerate(slices)
            if any(left < stop and right > start for left, right in wanted)
        ]
        order += [int(row) for row in np.argsort(-found, kind="stable")]
        room = self.limit - len(ids) - 1
        kept: dict[int, Any] = {}
        for row in dict.fromkeys(order):
            if room <= 0:
                break
            pieces = tokenizer.encode(texts[row], add_special_tokens=False)
            if len(pieces.ids) <= room or not kept:
                kept[row] = pieces
                room -= len(pieces.ids)
        for row in sorted(kept):
            start = slices[row][0]
            ids += kept[row].ids
            places += [(start + left, start + right) for left, right in kept[row].offsets]
        cut = self.limit - 1
        return Passage(
            np.asarray([*ids[:cut], end], dtype=np.int64),
            np.asarray([*places[:cut], (-1, -1)], dtype=np.int64),
            first,
            float(found.max(initial=0.0)),
        )

    @torch.inference_mode()
    def read(self, passages: Sequence[Passage]) -> Read:
        """What is found in each of `passages` (n,)."""
        count = len(passages)
        relevance, sureness = np.zeros(count), np.zeros(count)
        spans = np.zeros((count, 2), dtype=np.int64)
        order = np.argsort([-len(one.ids) for one in passages], kind="stable")
        for at in range(0, count, BATCH):
            part = order[at : at + BATCH]
            starts, ends, told = self.net(*stacked([passages[row] for row in part]))
            starts, ends = starts.log_softmax(1).numpy(), ends.log_softmax(1).numpy()
            relevance[part] = told.numpy()
            for place, row in enumerate(part):
                spans[row], sureness[row] = best_span(starts[place], ends[place], passages[row])
        return Read(relevance, sureness, spans)

    def _open(self) -> Any:
        if self._tokenizer is None:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_str(self.tokenizer_text)
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()
        return self._tokenizer

    def to_bundle(self) -> Bundle:
        """Weights in float16, the tokenizer as text."""
        tensors = {
            name: value.detach().numpy().astype(np.float16)
            for name, value in self.net.state_dict().items()
        }
        config = {"transformer": self.config, "limit": self.limit}
        return Bundle(KIND, config, tensors, {"tokenizer": [self.tokenizer_text]})

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "SpanReader":
        """The reader that `to_bundle` gave."""
        config = bundle.config["transformer"]
        net = Net(config)
        net.load_state_dict(
            {
                name: torch.from_numpy(value.astype(np.float32))
                for name, value in bundle.tensors.items()
            }
        )
        return cls(config, bundle.vocabulary["tokenizer"][0], bundle.config["limit"], net)


def stacked(passages: Sequence[Passage]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """tokens, segments (1 for the text) and mask, each (n, longest)."""
    longest = max(len(one.ids) for one in passages)
    tokens = np.zeros((len(passages), longest), dtype=np.int64)
    segments, mask = np.zeros_like(tokens), np.zeros(tokens.shape, dtype=bool)
    for row, one in enumerate(passages):
        tokens[row, : len(one.ids)] = one.ids
        segments[row, one.first : len(one.ids) - 1] = 1
        mask[row, : len(one.ids)] = True
    return torch.from_numpy(tokens), torch.from_numpy(segments), torch.from_numpy(mask)


def best_span(
    starts: np.ndarray, ends: np.ndarray, passage: Passage
) -> tuple[tuple[int, int], float]:
    """The likeliest span, as characters, and the logarithm of its chance; (0, 0) where there is no text."""
    first, last = passage.first, len(passage.ids) - 1
    size = last - first
    if size <= 0:
        return (0, 0), -20.0
    both = starts[first:last, None] + ends[None, first:last]
    ahead = np.arange(size)[None, :] - np.arange(size)[:, None]
    both = np.where((ahead >= 0) & (ahead < LONGEST), both, -np.inf)
    left, right = divmod(int(both.argmax()), size)
    span = int(passage.places[first + left, 0]), int(passage.places[first + right, 1])
    return span, float(both[left, right])

"""Cross-encoders: how well a passage answers a question, one number a pair.

`onnx`: a transformer that reads both at once, run by onnxruntime. `overlap`: no weights, the share of the question's
n-grams that the passage has. Source of the idea: Nogueira and Cho (2019), Passage Re-ranking with BERT.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from models.bundle import Bundle
from models.encoders.ngrams import Grams, hashed_ngrams

KIND = "reranker"
BATCH = 32
GRAMS = Grams(words=1, low=3, high=4, buckets=2)

Progress = Callable[[float, str], None]


class Reranker:
    """A frozen cross-encoder. Make it by `overlap`, `onnx` or `from_bundle`."""

    def __init__(self, network: bytes | None, tokenizer: str, max_tokens: int) -> None:
        self._network, self._tokenizer, self._max_tokens = network, tokenizer, max_tokens
        self._ready: tuple[Any, Any] | None = None

    @classmethod
    def overlap(cls) -> "Reranker":
        """Without weights."""
        return cls(None, "", 0)

    @classmethod
    def onnx(cls, network: bytes, tokenizer: str, max_tokens: int) -> "Reranker":
        """network: an ONNX model from input_ids, attention_mask and token_type_ids to one logit.

        tokenizer: `tokenizer.json` as text. max_tokens: of a pair; the longer of the two is cut.
        """
        return cls(network, tokenizer, max_tokens)

    def score(
        self,
        questions: Sequence[str],
        passages: Sequence[str],
        progress: Progress = lambda done, what: None,
    ) -> np.ndarray:
        """(n,) float32 for the pairs (questions[i], passages[i]); higher is better. Equal pairs are read once."""
        if len(questions) != len(passages):
            raise ValueError(f"{len(questions)} questions and {len(passages)} passages")
        order: dict[tuple[str, str], int] = {}
        clean = (
            (left.encode("utf-8", "replace").decode(), right.encode("utf-8", "replace").decode())
            for left, right in zip(questions, passages, strict=True)
        )
        places = [order.setdefault(pair, len(order)) for pair in clean]
        if not order:
            return np.zeros(0, dtype=np.float32)
        pairs = list(order)
        found = self._overlap(pairs) if self._network is None else self._logits(pairs, progress)
        return found.astype(np.float32)[places]

    def _overlap(self, pairs: list[tuple[str, str]]) -> np.ndarray:
        left, left_offsets = hashed_ngrams([pair[0] for pair in pairs], GRAMS)
        right, right_offsets = hashed_ngrams([pair[1] for pair in pairs], GRAMS)
        shared = [
            np.isin(left[a:b], right[c:d], assume_unique=True).mean() if b > a else 0.0
            for a, b, c, d in zip(
                left_offsets[:-1],
                left_offsets[1:],
                right_offsets[:-1],
                right_offsets[1:],
                strict=True,
            )
        ]
        return np.asarray(shared)

    def _logits(self, pairs: list[tuple[str, str]], progress: Progress) -> np.ndarray:
        tokenizer, session = self._open()
        encoded = tokenizer.encode_batch(pairs)
        lengths = np.array([len(found.ids) for found in encoded])
        order = np.argsort(-lengths, kind="stable")
        names = {entry.name for entry in session.get_inputs()}
        out = np.zeros(len(pairs), dtype=np.float32)
        for at in range(0, len(order), BATCH):
            part = order[at : at + BATCH]
            shape = (len(part), lengths[part].max())
            feed = {
                name: np.zeros(shape, dtype=np.int64)
                for name in ("input_ids", "attention_mask", "token_type_ids")
            }
            for row, which in enumerate(part):
                found, length = encoded[which], lengths[which]
                feed["input_ids"][row, :length] = found.ids
                feed["attention_mask"][row, :length] = 1
                feed["token_type_ids"][row, :length] = found.type_ids
            (logits,) = session.run(
                None, {name: value for name, value in feed.items() if name in names}
            )
            out[part] = logits.reshape(len(part))
            progress((at + len(part)) / len(order), "reading questions with passages")
        return out

    def _open(self) -> tuple[Any, Any]:
        """The tokenizer and the session, made when first used."""
        if self._ready is None:
            import onnxruntime
            import torch
            from tokenizers import Tokenizer

            tokenizer = Tokenizer.from_str(self._tokenizer)
            tokenizer.no_padding()
            tokenizer.enable_truncation(self._max_tokens, strategy="longest_first")
            options = onnxruntime.SessionOptions()
            # The stage's threads, which torch was told; onnxruntime would take all cores.
            options.intra_op_num_threads = torch.get_num_threads()
            options.inter_op_num_threads = 1
            session = onnxruntime.InferenceSession(
                self._network, options, providers=["CPUExecutionProvider"]
            )
            self._ready = tokenizer, session
        return self._ready

    def to_bundle(self) -> Bundle:
        """The network's bytes as a tensor, the tokenizer as text."""
        if self._network is None:
            return Bundle(KIND, {"backend": "overlap"})
        return Bundle(
            KIND,
            {"backend": "onnx", "max_tokens": self._max_tokens},
            {"network": np.frombuffer(self._network, dtype=np.uint8)},
            {"tokenizer": [self._tokenizer]},
        )

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Reranker":
        """The reranker that `to_bundle` gave. Raises `ValueError` where the bundle is of another kind."""
        if bundle.kind != KIND:
            raise ValueError(f"a bundle of kind {bundle.kind!r} is no {KIND}")
        if bundle.config["backend"] == "overlap":
            return cls.overlap()
        return cls.onnx(
            bundle.tensors["network"].tobytes(),
            bundle.vocabulary["tokenizer"][0],
            bundle.config["max_tokens"],
        )

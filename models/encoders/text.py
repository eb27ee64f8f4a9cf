"""Frozen sentence encoders: strings in, vectors of length 1 out.

Two backends: `transformer` (the weights of a sentence-transformers model, run without that package, whose import
alone takes longer than most calls) and `hashing` (no weights). A bundle of either is self-contained.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import nn

from models.bundle import Bundle
from models.encoders.ngrams import Grams, hashed_ngrams, mix

KIND = "text-encoder"
POOLINGS = ("mean", "cls")
HASHES = 4
"""How many coordinates an n-gram is added to by the hashing backend."""
HASHED = 1 << 14
"""Texts whose n-grams it holds at a time."""

FEWEST_TOKENS = 64
"""From so many rows on a row of a matrix product comes out the same to the last bit, however many more there are: measured
with MKL on AVX-512 (16) and AVX2 (60)."""

Progress = Callable[[float, str], None]


class Backend(Protocol):
    """How strings become vectors."""

    width: int

    def vectors(self, texts: Sequence[str], batch: int, progress: Progress) -> np.ndarray:
        """(n, width) float32 for `texts` (n,), any length of vector."""
        ...

    def parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, list[str]]]:
        """config, tensors and vocabulary of a bundle."""
        ...


class TextEncoder:
    """A frozen encoder of texts. Make it by `hashing`, `transformer` or `from_bundle`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self._backend.width

    @classmethod
    def hashing(cls, width: int) -> "TextEncoder":
        """Without weights: word and character n-grams, hashed and projected to `width` numbers."""
        return cls(Hashing(width))

    @classmethod
    def transformer(
        cls,
        config: Mapping[str, Any],
        weights: Mapping[str, np.ndarray],
        tokenizer: str,
        pooling: str,
        max_tokens: int,
    ) -> "TextEncoder":
        """From the parts of a sentence-transformers model.

        config: of the transformer (`config.json`). weights: its tensors, kept as float16. tokenizer: `tokenizer.json`
        as text. pooling: mean or cls. max_tokens: what is beyond is not read. Raises `ValueError` for another pooling.
        """
        return cls(Transformer(config, weights, tokenizer, pooling, max_tokens))

    def encode(
        self,
        texts: Sequence[str],
        batch: int = 64,
        progress: Progress = lambda done, what: None,
    ) -> np.ndarray:
        """Vectors (n, width) float32 of length 1; zeros where a text holds nothing that the encoder reads.

        Equal strings are encoded once. progress: called with the share done and a text.
        """
        order: dict[str, int] = {}
        places = np.fromiter((order.setdefault(t, len(order)) for t in texts), np.int64, len(texts))
        if not order:
            return np.zeros((0, self.width), dtype=np.float32)
        # Lone surrogates are no text that could be written as UTF-8.
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in order]
        raw = self._backend.vectors(clean, batch, progress)
        length = np.linalg.norm(raw, axis=1, keepdims=True)
        unit = np.divide(raw, length, out=np.zeros_like(raw), where=length > 1e-12)
        return unit.astype(np.float32)[places]

    def states(
        self, texts: Sequence[str], batch: int = 64
    ) -> list[tuple[list[tuple[int, int]], np.ndarray]]:
        """For each text where its pieces begin and end, and their states (pieces, width) float32.

        Raises `TypeError` for an encoder that has no pieces.
        """
        if not isinstance(self._backend, Transformer):
            raise TypeError("this encoder knows no pieces of a text")
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        return self._backend.states(clean, batch)

    def transformer_parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray], str]:
        """Config, weights and tokenizer of a BERT, to train it further. Raises `ValueError` for another encoder."""
        made = self._backend
        if not isinstance(made, Transformer) or made.config["model_type"] != "bert":
            raise ValueError("only a BERT can be trained further")
        return made.config, made.weights, made.tokenizer_text

    @property
    def identity(self) -> str:
        """A hash of everything that decides the vectors."""
        config, tensors, vocabulary = self._backend.parts()
        digest = hashlib.sha256(json.dumps([config, vocabulary], sort_keys=True).encode())
        for name in sorted(tensors):
            digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode())
            digest.update(np.ascontiguousarray(tensors[name]).data)
        return digest.hexdigest()

    def to_bundle(self) -> Bundle:
        """All that `from_bundle` needs."""
        config, tensors, vocabulary = self._backend.parts()
        return Bundle(KIND, config, tensors, vocabulary)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "TextEncoder":
        """The encoder that `to_bundle` gave. Raises `ValueError` where the bundle is of another kind."""
        if bundle.kind != KIND:
            raise ValueError(f"a bundle of kind {bundle.kind!r} is no {KIND}")
        config = bundle.config
        if config["backend"] == "hashing":
            return cls.hashing(config["width"])
        return cls.transformer(
            config["transformer"],
            bundle.tensors,
            bundle.vocabulary["tokenizer"][0],
            config["pooling"],
            config["max_tokens"],
        )


class Hashing:
    """Each n-gram adds +1 or -1 to a few coordinates, drawn by its hash: a sparse random projection.

    Source: Achlioptas (2003), Database-friendly random projections.
    """

    GRAMS = Grams(words=2, low=3, high=4, buckets=2)

    def __init__(self, width: int) -> None:
        self.width = width

    def vectors(self, texts: Sequence[str], batch: int, progress: Progress) -> np.ndarray:
        found = np.empty((len(texts), self.width), np.float32)
        for start in range(0, len(texts), HASHED):
            some = texts[start : start + HASHED]
            found[start : start + len(some)] = self._hashed(some)
            progress((start + len(some)) / len(texts), "hashing texts")
        return found

    def _hashed(self, texts: Sequence[str]) -> np.ndarray:
        values, offsets = hashed_ngrams(texts, self.GRAMS)
        rows = np.repeat(np.arange(len(texts)), np.diff(offsets))
        flat = np.zeros(len(texts) * self.width, dtype=np.float64)
        with np.errstate(over="ignore"):
            for salt in range(1, HASHES + 1):
                drawn = mix(values + np.uint64(salt))
                column = ((drawn >> np.uint64(1)) % np.uint64(self.width)).astype(np.int64)
                sign = 1.0 - 2.0 * (drawn & np.uint64(1)).astype(np.float64)
                flat += np.bincount(rows * self.width + column, sign, minlength=len(flat))
        return flat.reshape(len(texts), self.width)

    def parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, list[str]]]:
        return {"backend": "hashing", "width": self.width}, {}, {}


class Transformer:
    """A transformer with pooling over its tokens. Computes in float32 from float16 weights."""

    def __init__(
        self,
        config: Mapping[str, Any],
        weights: Mapping[str, np.ndarray],
        tokenizer: str,
        pooling: str,
        max_tokens: int,
    ) -> None:
        if pooling not in POOLINGS:
            raise ValueError(f"pooling {pooling!r} is none of: {', '.join(POOLINGS)}")
        self.config = dict(config)
        self.width = int(config["hidden_size"])
        self.pooling = pooling
        self.max_tokens = max_tokens
        self.weights = {
            name: value.astype(np.float16) if value.dtype.kind == "f" else value
            for name, value in weights.items()
        }
        self.tokenizer_text = tokenizer
        self._ready: tuple[Any, nn.Module] | None = None

    def ready(self) -> tuple[Any, nn.Module]:
        """The tokenizer and the network, built when first used."""
        if self._ready is None:
            from tokenizers import Tokenizer

            tokenizer = Tokenizer.from_str(self.tokenizer_text)
            tokenizer.no_padding()
            tokenizer.enable_truncation(self.max_tokens)
            state = {
                name: torch.from_numpy(value).float()
                if value.dtype.kind == "f"
                else torch.from_numpy(value)
                for name, value in self.weights.items()
            }
            self._ready = tokenizer, backbone(self.config, state)
        return self._ready

    @torch.inference_mode()
    def vectors(self, texts: Sequence[str], batch: int, progress: Progress) -> np.ndarray:
        tokenizer, network = self.ready()
        ids = [
            np.asarray(found.ids, dtype=np.int64)
            for at in range(0, len(texts), 1024)
            for found in tokenizer.encode_batch(list(texts[at : at + 1024]))
        ]
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        total, done = int(lengths.sum()), 0
        out = np.zeros((len(texts), self.width), dtype=np.float32)
        for part in alike(lengths, batch):
            length = int(lengths[part[0]])
            # Matrix products of fewer rows are summed in another order: a lone short text is read more than once.
            times = -(-FEWEST_TOKENS // (length * len(part)))
            tokens = torch.from_numpy(np.stack([ids[at] for at in part])).repeat(times, 1)
            hidden = network(tokens, torch.ones_like(tokens, dtype=torch.bool))[: len(part)]
            out[part] = (hidden[:, 0] if self.pooling == "cls" else hidden.mean(1)).numpy()
            done += length * len(part)
            progress(done / max(total, 1), "encoding texts")
        return out

    @torch.inference_mode()
    def states(
        self, texts: Sequence[str], batch: int
    ) -> list[tuple[list[tuple[int, int]], np.ndarray]]:
        """Places and states of each text's pieces, those of the frame (begin, end) left out."""
        tokenizer, network = self.ready()
        found = []
        for start in range(0, len(texts), batch):
            read = tokenizer.encode_batch(list(texts[start : start + batch]))
            longest = max(max(len(one.ids) for one in read), 1)
            tokens = torch.zeros(len(read), longest, dtype=torch.int64)
            mask = torch.zeros(len(read), longest, dtype=torch.bool)
            for row, one in enumerate(read):
                tokens[row, : len(one.ids)] = torch.tensor(one.ids, dtype=torch.int64)
                mask[row, : len(one.ids)] = True
            hidden = network(tokens, mask).numpy()
            for row, one in enumerate(read):
                inner = [at for at, frame in enumerate(one.special_tokens_mask) if not frame]
                found.append(([one.offsets[at] for at in inner], hidden[row, inner]))
        return found

    def parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, list[str]]]:
        config = {
            "backend": "transformer",
            "transformer": self.config,
            "pooling": self.pooling,
            "max_tokens": self.max_tokens,
            "width": self.width,
        }
        return config, self.weights, {"tokenizer": [self.tokenizer_text]}


def alike(lengths: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    """Positions of at most `batch` texts of one length at a time, the longest first.

    So nothing is padded, and what is computed for a text does not depend on the texts beside it.
    """
    order = np.argsort(-lengths, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
        for at in range(0, len(group), batch):
            yield group[at : at + batch]


def backbone(config: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> nn.Module:
    """The network for a transformer's config with its weights: ours for BERT, else that of `transformers`.

    Called with tokens (n, t) int64 and a mask (n, t) of booleans; gives (n, t, hidden) float32.
    """
    if config["model_type"] == "bert" and config.get("hidden_act") == "gelu":
        network: nn.Module = Bert(config)
        known = set(network.state_dict())
        network.load_state_dict({name: value for name, value in state.items() if name in known})
    else:
        from transformers import AutoConfig, AutoModel

        settings = AutoConfig.for_model(**config)
        inner = AutoModel.from_config(settings)  # type: ignore[no-untyped-call] # as transformers has it
        inner.load_state_dict(dict(state), strict=False)
        network = Wrapped(inner)
    return network.eval().requires_grad_(False)


class Wrapped(nn.Module):
    """A network of `transformers` with the call of `backbone`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.inner(input_ids=tokens, attention_mask=mask.long()).last_hidden_state


class Bert(nn.Module):
    """The encoder of Devlin et al. (2019), BERT; names of weights as in the published checkpoints."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = nn.ModuleDict(
            {"layer": nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))}
        )

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.embeddings(tokens)
        seen = None if bool(mask.all()) else mask[:, None, None, :]
        for layer in cast(nn.ModuleList, self.encoder["layer"]):
            hidden = layer(hidden, seen)
        return hidden


class Embeddings(nn.Module):
    """Token, position and segment (always the first) embeddings, summed and normalised."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.word_embeddings = nn.Embedding(config["vocab_size"], width)
        self.position_embeddings = nn.Embedding(config["max_position_embeddings"], width)
        self.token_type_embeddings = nn.Embedding(config["type_vocab_size"], width)
        self.LayerNorm = nn.LayerNorm(width, config["layer_norm_eps"])

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        places = self.position_embeddings.weight[: tokens.shape[1]]
        return self.LayerNorm(
            self.word_embeddings(tokens) + places + self.token_type_embeddings.weight[0]
        )


class Layer(nn.Module):
    """Self-attention and a feed-forward net, each added to its input and normalised after."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, inner, eps = (
            config["hidden_size"],
            config["intermediate_size"],
            config["layer_norm_eps"],
        )
        self.heads = config["num_attention_heads"]
        self.attention = nn.ModuleDict(
            {
                "self": nn.ModuleDict(
                    {name: nn.Linear(width, width) for name in ("query", "key", "value")}
                ),
                "output": nn.ModuleDict(
                    {"dense": nn.Linear(width, width), "LayerNorm": nn.LayerNorm(width, eps)}
                ),
            }
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = nn.ModuleDict(
            {"dense": nn.Linear(inner, width), "LayerNorm": nn.LayerNorm(width, eps)}
        )

    def forward(self, hidden: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        look, settle = (cast(nn.ModuleDict, self.attention[name]) for name in ("self", "output"))
        query, key, value = (
            look[name](hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        found = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        hidden = settle["LayerNorm"](hidden + settle["dense"](found.transpose(1, 2).flatten(-2)))
        inner = nn.functional.gelu(self.intermediate["dense"](hidden))
        return self.output["LayerNorm"](hidden + self.output["dense"](inner))

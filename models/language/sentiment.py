"""Sentiment of reviews in several languages by one model: a wide part over words, a narrow one over meaning.

The wide part is a learned bag of hashed word and character n-grams; the other a small net over the vector of a
frozen encoder, for the languages that the encoder reads. Source of the shape: Cheng et al. (2016), Wide & Deep
Learning for Recommender Systems. Probabilities are scaled by one temperature a language (Guo et al., 2017, On
Calibration of Modern Neural Networks).
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from models.bundle import Bundle
from models.encoders.ngrams import Grams, bucket_ids, hashed_ngrams
from models.encoders.text import TextEncoder

LABELS = ("negative", "neutral", "positive")
CHINESE = "zh"
OTHER = "en"
IDEOGRAPHS = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
LETTERS = re.compile(r"[^\W\d_]")
BATCH = 2048
ENCODER_BATCH = 32


def language_of(text: str) -> str:
    """Chinese where at least a third of the letters are ideographs, else English: by script alone.

    >>> language_of("很好 ok"), language_of("fine")
    ('zh', 'en')
    """
    ideographs = len(IDEOGRAPHS.findall(text))
    return CHINESE if ideographs and 3 * ideographs >= len(LETTERS.findall(text)) else OTHER


@dataclass(frozen=True)
class Reading:
    """How texts become numbers.

    languages: those of the training rows, in the order of the language index. labels: for each language whether each
    of LABELS occurs in it. encoded: the languages whose texts the encoder reads.
    """

    grams: Grams
    languages: tuple[str, ...]
    labels: tuple[tuple[bool, ...], ...]
    encoded: tuple[str, ...]


@dataclass(frozen=True)
class Inputs:
    """n texts as arrays.

    ids (m,): buckets of all n-grams. offsets (n + 1,): text i owns ids[offsets[i]:offsets[i + 1]].
    vectors (n, width) float32: of the encoder, zeros where it does not read the language. languages (n,): indices.
    """

    ids: np.ndarray
    offsets: np.ndarray
    vectors: np.ndarray
    languages: np.ndarray

    def __len__(self) -> int:
        return len(self.languages)

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """ids, offsets, vectors, languages, as `Network` takes them."""
        return (
            torch.from_numpy(self.ids),
            torch.from_numpy(self.offsets),
            torch.from_numpy(self.vectors),
            torch.from_numpy(self.languages),
        )

    def rows(self, rows: np.ndarray) -> "Inputs":
        """The texts at `rows` (k,), in that order."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        shift = np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return Inputs(
            self.ids[np.arange(offsets[-1]) + shift],
            offsets,
            self.vectors[rows],
            self.languages[rows],
        )


def language_column(frame: pd.DataFrame, known: Sequence[str]) -> list[str]:
    """The language of each row of `frame` (text, [language]): as told where known, else by script."""
    texts = frame["text"].tolist()
    told = frame["language"].tolist() if "language" in frame else [None] * len(texts)
    found = [
        tongue if tongue in known else language_of(text)
        for text, tongue in zip(texts, told, strict=True)
    ]
    return [tongue if tongue in known else known[0] for tongue in found]


def read_texts(
    texts: Sequence[str], languages: Sequence[str], vectors: np.ndarray, reading: Reading
) -> Inputs:
    """Arrays of `texts` (n,) in `languages` (n,), with the encoder's `vectors` (n, width)."""
    values, offsets = hashed_ngrams(texts, reading.grams)
    index = {tongue: at for at, tongue in enumerate(reading.languages)}
    return Inputs(
        bucket_ids(values, reading.grams.buckets),
        offsets,
        np.asarray(vectors, dtype=np.float32),
        np.fromiter((index[tongue] for tongue in languages), np.int64, len(languages)),
    )


class Network(nn.Module):
    """Logits (n, 3) of texts; those of labels that the language never has are minus infinity.

    buckets: of n-grams. width: of the encoder's vectors. hidden: of the net over them. allowed (languages, 3).
    """

    def __init__(self, buckets: int, width: int, hidden: int, allowed: np.ndarray) -> None:
        super().__init__()
        languages = len(allowed)
        self.wide = nn.EmbeddingBag(buckets, len(LABELS), mode="sum", include_last_offset=True)
        nn.init.zeros_(self.wide.weight)
        self.meaning = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0.2), nn.Linear(hidden, len(LABELS))
        )
        self.straight = nn.Linear(width, len(LABELS), bias=False)
        self.bias = nn.Embedding(languages, len(LABELS))
        nn.init.zeros_(self.bias.weight)
        self.register_buffer("weights", torch.ones(languages, buckets))
        self.register_buffer("temperature", torch.ones(languages))
        self.register_buffer("allowed", torch.from_numpy(np.asarray(allowed, dtype=bool)))

    def forward(
        self,
        ids: torch.Tensor,
        offsets: torch.Tensor,
        vectors: torch.Tensor,
        languages: torch.Tensor,
    ) -> torch.Tensor:
        owner = torch.repeat_interleave(torch.arange(len(languages)), offsets.diff())
        weight = self.weights[languages[owner], ids]
        square = torch.zeros(len(languages)).index_add_(0, owner, weight * weight)
        weight = weight / square.sqrt().clamp(min=1e-6)[owner]
        logits = self.wide(ids, offsets, per_sample_weights=weight) + self.bias(languages)
        encoded = (vectors != 0).any(1, keepdim=True)
        logits = logits + (self.meaning(vectors) + self.straight(vectors)) * encoded
        return logits.masked_fill(~self.allowed[languages], -torch.inf)

    def probabilities(self, inputs: Inputs) -> torch.Tensor:
        """(n, 3), each row's sum 1."""
        ids, offsets, vectors, languages = inputs.tensors()
        logits = self(ids, offsets, vectors, languages)
        return (logits / self.temperature[languages][:, None]).softmax(1)


class Sentiment:
    """Negative, neutral or positive, with probabilities. Reads any text, in any of its languages."""

    def __init__(self, reading: Reading, network: Network, encoder: TextEncoder) -> None:
        self.reading, self.network, self.encoder = reading, network.eval(), encoder

    def inputs(self, frame: pd.DataFrame) -> Inputs:
        """Arrays of `frame` (text, [language])."""
        texts = frame["text"].tolist()
        languages = language_column(frame, self.reading.languages)
        vectors = np.zeros((len(texts), self.encoder.width), dtype=np.float32)
        encoded = [at for at, tongue in enumerate(languages) if tongue in self.reading.encoded]
        vectors[encoded] = self.encoder.encode([texts[at] for at in encoded], ENCODER_BATCH)
        return read_texts(texts, languages, vectors, self.reading)

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """One line a line of `frame` (text, [language]: en, zh; by script where absent or another).

        Returns language, label, confidence (the label's probability), negative, neutral, positive (probabilities).
        """
        inputs = self.inputs(frame)
        table = predict_inputs(self.network, inputs)
        names = np.asarray(self.reading.languages, dtype=object)
        table.insert(0, "language", names[inputs.languages])
        return table.set_axis(frame.index)

    def to_bundle(self) -> Bundle:
        """Weights, n-gram weights and temperatures as tensors, the encoder as a member."""
        reading = asdict(self.reading)
        tensors = {name: value.numpy() for name, value in self.network.state_dict().items()}
        config = {**reading, "hidden": self.network.meaning[0].out_features}
        return Bundle("sentiment", config, tensors, {}, {"encoder": self.encoder.to_bundle()})

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Sentiment":
        """The model that `to_bundle` gave."""
        config = bundle.config
        reading = Reading(
            Grams(**config["grams"]),
            tuple(config["languages"]),
            tuple(tuple(row) for row in config["labels"]),
            tuple(config["encoded"]),
        )
        encoder = TextEncoder.from_bundle(bundle.members["encoder"])
        network = Network(
            reading.grams.buckets, encoder.width, config["hidden"], np.asarray(reading.labels)
        )
        network.load_state_dict(
            {name: torch.from_numpy(value) for name, value in bundle.tensors.items()}
        )
        return cls(reading, network, encoder)


@torch.inference_mode()
def predict_inputs(network: Network, inputs: Inputs) -> pd.DataFrame:
    """label, confidence and the three probabilities of each text."""
    parts = [
        network.probabilities(inputs.rows(np.arange(at, min(at + BATCH, len(inputs))))).numpy()
        for at in range(0, len(inputs), BATCH)
    ]
    chances = np.concatenate(parts) if parts else np.zeros((0, len(LABELS)), np.float32)
    best = chances.argmax(1) if len(chances) else np.zeros(0, np.int64)
    table = pd.DataFrame(chances.astype(np.float64), columns=list(LABELS))
    table.insert(0, "label", np.asarray(LABELS, dtype=object)[best])
    table.insert(1, "confidence", chances[np.arange(len(best)), best].astype(np.float64))
    return table

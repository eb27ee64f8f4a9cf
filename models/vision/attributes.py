"""Product attributes from title and picture: one head a field and source, pooled where both are there.

Each source answers with calibrated probabilities of its own, so that a row needs just one of them. Where both
answer, a field's probabilities are their weighted geometric mean, normalised (a logarithmic opinion pool); the
weights are chosen on validation. Source: Genest and Zidek (1986), Combining probability distributions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from models.bundle import Bundle
from models.encoders.image import ImageEncoder
from models.encoders.text import TextEncoder
from models.vision.head import Head, log_softmax
from models.vision.recognition import seen

TITLE, PICTURE = "title", "picture"
SOURCES = {TITLE: "title", PICTURE: "bytes"}
"""Source to the column that holds it."""
HASHED_WIDTH = 512
FLOOR = -14.0
"""A log probability below this counts as this: one source alone can't rule a value out."""
EVEN = 2.0
"""How strongly weights are drawn to a half each, in nats for a distance of 1: few rows tell little."""


def title_features(encoder: TextEncoder, titles: Sequence[str]) -> np.ndarray:
    """What a head is given of titles, (n, d + 512) float32."""
    return beside_ngrams(encoder.encode(titles), titles)


def beside_ngrams(vectors: np.ndarray, titles: Sequence[str]) -> np.ndarray:
    """The encoder's vectors (n, d) of titles with hashed n-grams beside them, float32."""
    hashed = TextEncoder.hashing(HASHED_WIDTH).encode(titles)
    return np.concatenate([vectors.astype(np.float32), hashed], axis=1)


def present(frame: pd.DataFrame, source: str) -> np.ndarray:
    """Positions of the rows whose title or picture is there, ascending; empty cells of any kind are not."""
    if SOURCES[source] not in frame.columns:
        return np.zeros(0, dtype=np.int64)
    cells = frame[SOURCES[source]]
    return np.flatnonzero([isinstance(cell, str | bytes) and len(cell) > 0 for cell in cells])


def pool(logs: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Log probabilities (n, c) of the weighted geometric mean of each source's, given as logs (n, c)."""
    parts = [w * np.maximum(found, FLOOR) for found, w in zip(logs, weights, strict=True)]
    return log_softmax(np.sum(parts, axis=0))


def pool_weights(title: np.ndarray, picture: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The weights of both sources that make labels (n,) likeliest, from their log probabilities (n, c).

    They lie between 0 and 1.5, in steps of 0.1, and are drawn to a half each, which they are without any row.
    """
    here = np.arange(len(labels))
    steps = np.arange(16) / 10
    pairs = [(float(a), float(b)) for a in steps for b in steps]
    costs = [
        EVEN * ((a - 0.5) ** 2 + (b - 0.5) ** 2)
        - pool((title, picture), (a, b))[here, labels].sum()
        for a, b in pairs
    ]
    return pairs[int(np.argmin(costs))]


@dataclass(frozen=True)
class Attributes:
    """classes: field to its values. heads: (source, field) to the head; a source need not know every field.

    weights: field to those of title and picture where both answer.
    """

    classes: Mapping[str, list[str]]
    heads: Mapping[tuple[str, str], Head]
    weights: Mapping[str, tuple[float, float]]
    text: TextEncoder
    image: ImageEncoder
    kind: ClassVar[str] = "attributes"

    def probabilities(self, frame: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Field to probabilities (n, classes) and whether any source that knows it is there (n,).

        frame: `title` and, or, `bytes`; cells may be empty.
        """
        rows = {source: present(frame, source) for source in SOURCES}
        logits = {
            (source, field): head.logits(vectors)
            for source in SOURCES
            if len(rows[source])
            for vectors in [self._vectors(frame, source, rows[source])]
            for (of, field), head in self.heads.items()
            if of == source
        }
        found = {}
        for field, values in self.classes.items():
            parts = [source for source in SOURCES if (source, field) in logits]
            spoke = {source: np.isin(np.arange(len(frame)), rows[source]) for source in parts}
            logs = np.zeros((len(parts), len(frame), len(values)))
            for at, source in enumerate(parts):
                logs[at, rows[source]] = log_softmax(logits[source, field])
            answer = logs.sum(axis=0)
            if len(parts) == len(SOURCES):
                both = np.logical_and.reduce(list(spoke.values()))
                answer[both] = pool(logs[:, both], self.weights[field])
            anyone = np.logical_or.reduce([*spoke.values(), np.zeros(len(frame), bool)])
            found[field] = np.exp(log_softmax(answer)), anyone
        return found

    def _vectors(self, frame: pd.DataFrame, source: str, rows: np.ndarray) -> np.ndarray:
        cells = frame[SOURCES[source]].iloc[rows].tolist()
        return title_features(self.text, cells) if source == TITLE else seen(self.image, cells)

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """`title` and, or, `bytes` to each field's value and `<field>_confidence`.

        Where nothing is there that the field is read from, the value is None and the confidence 0.
        """
        columns = {}
        for field, (found, spoke) in self.probabilities(frame).items():
            values = np.asarray(self.classes[field], dtype=object)[found.argmax(1)]
            values[~spoke] = None
            columns[field] = values
            columns[f"{field}_confidence"] = np.where(spoke, found.max(1), 0.0)
        return pd.DataFrame(columns)

    def to_bundle(self) -> Bundle:
        tensors = {}
        for (source, field), head in self.heads.items():
            tensors |= head.tensors(f"{source}/{field}/")
        config = {
            "fields": list(self.classes),
            "heads": [list(key) for key in self.heads],
            "weights": {field: list(pair) for field, pair in self.weights.items()},
        }
        members = {"text": self.text.to_bundle(), "image": self.image.to_bundle()}
        return Bundle(self.kind, config, tensors, dict(self.classes), members)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Attributes":
        config = bundle.config
        return cls(
            {field: bundle.vocabulary[field] for field in config["fields"]},
            {
                (source, field): Head.from_tensors(bundle.tensors, f"{source}/{field}/")
                for source, field in config["heads"]
            },
            {field: (pair[0], pair[1]) for field, pair in config["weights"].items()},
            TextEncoder.from_bundle(bundle.members["text"]),
            ImageEncoder.from_bundle(bundle.members["image"]),
        )

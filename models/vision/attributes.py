"""Product attributes from title and picture: one head a field and source, fused by their confidence.

Each source answers with calibrated probabilities where it is there; a field's answer is their product, normalised (a
product of experts). Source: Hinton (2002), Training products of experts by minimizing contrastive divergence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from models.bundle import Bundle
from models.encoders.image import ImageEncoder
from models.encoders.text import TextEncoder
from models.vision.head import Head, softmax
from models.vision.recognition import pixels, seen

TITLE, PICTURE = "title", "picture"
HASHED_WIDTH = 512
FLOOR = 1e-6


def title_features(vectors: np.ndarray, titles: Sequence[str]) -> np.ndarray:
    """What a head is given of titles: the encoder's vectors (n, d) beside hashed n-grams, float32."""
    hashed = TextEncoder.hashing(HASHED_WIDTH).encode(list(titles))
    return np.concatenate([vectors.astype(np.float32), hashed], axis=1)


def picture_features(vectors: np.ndarray, pictures: Sequence[bytes]) -> np.ndarray:
    """What a head is given of pictures: the encoder's vectors (n, d) beside pixel features, float32."""
    return np.concatenate([vectors.astype(np.float32), pixels(pictures)], axis=1)


@dataclass(frozen=True)
class Attributes:
    """classes: field to its values. heads: (source, field) to the head; a source need not know every field."""

    classes: Mapping[str, list[str]]
    heads: Mapping[tuple[str, str], Head]
    text: TextEncoder
    image: ImageEncoder
    kind: ClassVar[str] = "attributes"

    def probabilities(self, frame: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Field to probabilities (n, classes) and whether any source spoke (n,).

        frame: `title` and, or, `bytes`; cells may be empty.
        """
        there = {name: self._present(frame, name) for name in (TITLE, PICTURE)}
        vectors = {name: self._vectors(frame, name, rows) for name, rows in there.items()}
        found = {}
        for field, values in self.classes.items():
            logs = np.zeros((len(frame), len(values)))
            spoke = np.zeros(len(frame), dtype=bool)
            for source, rows in there.items():
                head = self.heads.get((source, field))
                if head is None or not len(rows):
                    continue
                logs[rows] += np.log(np.maximum(softmax(head.logits(vectors[source])), FLOOR))
                spoke[rows] = True
            found[field] = softmax(logs), spoke
        return found

    def _present(self, frame: pd.DataFrame, source: str) -> np.ndarray:
        column = {TITLE: "title", PICTURE: "bytes"}[source]
        if column not in frame.columns:
            return np.zeros(0, dtype=int)
        return np.flatnonzero(
            [isinstance(cell, str | bytes) and bool(cell) for cell in frame[column]]
        )

    def _vectors(self, frame: pd.DataFrame, source: str, rows: np.ndarray) -> np.ndarray | None:
        if not len(rows):
            return None
        if source == TITLE:
            titles = frame["title"].iloc[rows].tolist()
            return title_features(self.text.encode(titles), titles)
        return seen(self.image, frame["bytes"].iloc[rows].tolist())

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """For each field its value (None where no source spoke) and `<field>_confidence`."""
        columns = {}
        for field, (found, spoke) in self.probabilities(frame).items():
            best = found.argmax(1)
            values = np.asarray(self.classes[field], dtype=object)[best]
            values[~spoke] = None
            columns[field] = values
            columns[f"{field}_confidence"] = np.where(spoke, found.max(1), 0.0)
        return pd.DataFrame(columns)

    def to_bundle(self) -> Bundle:
        tensors = {}
        for (source, field), head in self.heads.items():
            tensors |= head.tensors(f"{source}/{field}/")
        return Bundle(
            self.kind,
            {"heads": [list(key) for key in self.heads]},
            tensors,
            dict(self.classes),
            {"text": self.text.to_bundle(), "image": self.image.to_bundle()},
        )

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Attributes":
        return cls(
            bundle.vocabulary,
            {
                (source, field): Head.from_tensors(bundle.tensors, f"{source}/{field}/")
                for source, field in bundle.config["heads"]
            },
            TextEncoder.from_bundle(bundle.members["text"]),
            ImageEncoder.from_bundle(bundle.members["image"]),
        )

"""Recognition of product pictures: a frozen encoder and pixel features, a trained head, calibrated confidence."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from models.bundle import Bundle
from models.encoders.image import ImageEncoder
from models.vision.head import Head, softmax

TOP = 5
BATCH = 64


def seen(encoder: ImageEncoder, pictures: Sequence[bytes]) -> np.ndarray:
    """What a head is given of pictures, (n, d) float32. Raises `Undecodable` for the first that can't be read."""
    return beside_pixels(encoder, encoder.encode(pictures, BATCH), pictures)


def beside_pixels(
    encoder: ImageEncoder, vectors: np.ndarray, pictures: Sequence[bytes]
) -> np.ndarray:
    """The encoder's vectors (n, d) of pictures with what they are as pixels beside them, float32.

    Frozen features lose fine outlines and colours that tell products apart.
    """
    vectors = vectors.astype(np.float32)
    return np.concatenate([vectors, pixels(pictures)], axis=1) if encoder.learned else vectors


def pixels(pictures: Sequence[bytes]) -> np.ndarray:
    """Pixel features alone, (n, p) float32."""
    return ImageEncoder.pixels().encode(pictures, BATCH)


@dataclass(frozen=True)
class Recognition:
    """classes: names in the order of the head's outputs."""

    classes: list[str]
    head: Head
    encoder: ImageEncoder
    kind: ClassVar[str] = "recognition"

    def probabilities(self, pictures: Sequence[bytes]) -> np.ndarray:
        """(n, classes) float32."""
        return softmax(self.head.logits(seen(self.encoder, pictures)))

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """`bytes` to label, confidence and top (JSON: the five likeliest labels with their probability)."""
        found = self.probabilities(frame["bytes"].tolist())
        order = np.argsort(-found, axis=1, kind="stable")[:, :TOP]
        best = np.take_along_axis(found, order, axis=1)
        top = [
            json.dumps(
                [[self.classes[at], round(float(p), 4)] for at, p in zip(row, ps, strict=True)]
            )
            for row, ps in zip(order, best, strict=True)
        ]
        labels = np.asarray(self.classes, dtype=object)[order[:, 0]]
        return pd.DataFrame({"label": labels, "confidence": best[:, 0].astype(float), "top": top})

    def to_bundle(self) -> Bundle:
        return Bundle(
            self.kind,
            {},
            self.head.tensors(),
            {"classes": self.classes},
            {"encoder": self.encoder.to_bundle()},
        )

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Recognition":
        return cls(
            bundle.vocabulary["classes"],
            Head.from_tensors(bundle.tensors),
            ImageEncoder.from_bundle(bundle.members["encoder"]),
        )

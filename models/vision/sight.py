"""What a classifier is given of pictures: an encoder's vectors, and what they are as pixels and colours beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from models.bundle import Bundle
from models.encoders.image import ImageEncoder, pixel_features
from models.vision.colours import colour_features

BATCH = 64
BESIDE: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "pixels": pixel_features,
    "colours": colour_features,
}
"""Features without weights, of pictures (n, s, s, 3) uint8. Frozen encoders lose fine outlines and colours."""


@dataclass(frozen=True)
class Sight:
    """beside: names of `BESIDE`. mirrored: whether a vector is the mean over a picture and its mirror image."""

    encoder: ImageEncoder
    beside: tuple[str, ...] = ()
    mirrored: bool = False
    kind: ClassVar[str] = "sight"

    @property
    def size(self) -> int:
        """Pixels a side of the pictures that are looked at."""
        return self.encoder.size

    def ends(self, width: int) -> list[int]:
        """Where the parts of a vector of that width end: the encoder's layers, then what stands beside them."""
        return sorted({*(one.stop for one in self.encoder.parts), width})

    def vectors(self, pictures: Sequence[bytes]) -> np.ndarray:
        """(n, d) float32. Raises `Undecodable` for the first that can't be read."""
        parts = [
            self.see(self.encoder.decode(pictures[start : start + BATCH], start))
            for start in range(0, len(pictures), BATCH)
        ]
        return np.concatenate(parts) if parts else self.see(blank(self.size))[:0]

    def see(self, pictures: np.ndarray, encoded: np.ndarray | None = None) -> np.ndarray:
        """(n, d) float32 of decoded pictures (n, size, size, 3) uint8; a block at a time.

        encoded: what the encoder gives of them (n, e), where that is known.
        """
        parts = [
            self.complete(
                self._encoded(block) if encoded is None else encoded[start : start + BATCH], block
            )
            for start in range(0, len(pictures), BATCH)
            for block in [np.asarray(pictures[start : start + BATCH])]
        ]
        return np.concatenate(parts) if parts else self.see(blank(self.size))[:0]

    def complete(self, vectors: np.ndarray, pictures: np.ndarray) -> np.ndarray:
        """The encoder's vectors (n, e) of decoded pictures with the features beside them, float32."""
        parts = [BESIDE[name](pictures) for name in self.beside]
        return np.concatenate([vectors.astype(np.float32), *parts], axis=1)

    def _encoded(self, pictures: np.ndarray) -> np.ndarray:
        found = self.encoder.encode_arrays(pictures)
        if self.mirrored:
            other = self.encoder.encode_arrays(np.ascontiguousarray(pictures[:, :, ::-1]))
            found = (found + other) / 2
        return found

    def to_bundle(self) -> Bundle:
        config = {"beside": list(self.beside), "mirrored": self.mirrored}
        return Bundle(self.kind, config, members={"encoder": self.encoder.to_bundle()})

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Sight":
        encoder = ImageEncoder.from_bundle(bundle.members["encoder"])
        return cls(encoder, tuple(bundle.config["beside"]), bundle.config["mirrored"])


def pixels(pictures: Sequence[bytes]) -> np.ndarray:
    """Pixel features alone, (n, p) float32."""
    return ImageEncoder.pixels().encode(pictures, BATCH)


def blank(size: int) -> np.ndarray:
    """One black picture."""
    return np.zeros((1, size, size, 3), np.uint8)

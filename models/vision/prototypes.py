"""Classes as the mean direction of their examples: who is a stranger to all, and classes taught from a few pictures.

Source: Snell, Swersky and Zemel (2017), Prototypical networks for few-shot learning; Mensink et al. (2013),
Distance-based image classification: generalizing to new classes at near-zero cost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from models.vision.families import unit
from models.vision.head import softmax
from models.vision.linear import standard

TENSORS = ("mean", "scale", "centres", "warmth")
WARMTHS = np.geomspace(0.01, 0.5, 30)


@dataclass(frozen=True)
class Prototypes:
    """mean, scale: (d,) of the inputs. centres (c, d), of length 1. warmth (1,): what cosines are divided by."""

    mean: np.ndarray
    scale: np.ndarray
    centres: np.ndarray
    warmth: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray, labels: np.ndarray, classes: int) -> "Prototypes":
        """From vectors (n, d) with labels (n,); each class has one at least.

        The warmth makes each row's label likeliest by centres that do not hold the row.
        """
        mean, scale = standard(vectors, np.arange(len(vectors)))
        seen = unit(((vectors - mean) * scale).astype(np.float32))
        sums = np.zeros((classes, vectors.shape[1]), np.float32)
        np.add.at(sums, labels, seen)
        centres = unit(sums)
        cosines = seen @ centres.T
        here = np.arange(len(labels))
        cosines[here, labels] = np.einsum("nd,nd->n", seen, unit(sums[labels] - seen))
        costs = [-np.log(softmax(cosines / t)[here, labels] + 1e-12).mean() for t in WARMTHS]
        warmth = np.array([WARMTHS[int(np.argmin(costs))]], np.float32)
        return cls(mean.astype(np.float32), scale, centres, warmth)

    def cosines(self, vectors: np.ndarray) -> np.ndarray:
        """Of vectors (n, d) and each class: (n, c)."""
        return unit(((vectors - self.mean) * self.scale).astype(np.float32)) @ self.centres.T

    def strangeness(self, vectors: np.ndarray) -> np.ndarray:
        """How far vectors (n, d) are from every class: (n,), 0 (just like one) to 2."""
        return 1.0 - self.cosines(vectors).max(axis=1)

    def shares(self, vectors: np.ndarray) -> np.ndarray:
        """Probabilities (n, c) by nearness alone."""
        return softmax(self.cosines(vectors) / self.warmth)

    def with_class(self, vectors: np.ndarray) -> "Prototypes":
        """With one class more, after the others, from its examples (k, d). Raises `ValueError` for none."""
        if not len(vectors):
            raise ValueError("a class needs one example at least")
        seen = unit(((vectors - self.mean) * self.scale).astype(np.float32))
        centre = unit(seen.mean(0, keepdims=True))
        return replace(self, centres=np.concatenate([self.centres, centre]))

    def tensors(self, prefix: str) -> dict[str, np.ndarray]:
        """Arrays for a bundle."""
        return {prefix + name: np.asarray(getattr(self, name), np.float32) for name in TENSORS}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], prefix: str) -> "Prototypes | None":
        """What `tensors` gave; None where a bundle has none."""
        if prefix + TENSORS[0] not in tensors:
            return None
        return cls(**{name: tensors[prefix + name] for name in TENSORS})

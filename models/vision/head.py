"""A small classifier over vectors, at inference: standardise, one hidden layer, softmax at a temperature."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

TENSORS = ("mean", "scale", "w1", "b1", "w2", "b2", "temperature")
TEMPERATURES = np.geomspace(0.3, 4.0, 60)


@dataclass(frozen=True)
class Head:
    """mean, scale: (d,) of the inputs. w1 (d, h), b1 (h,), w2 (h, c), b2 (c,). temperature: (1,)."""

    mean: np.ndarray
    scale: np.ndarray
    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray
    temperature: np.ndarray

    def logits(self, vectors: np.ndarray) -> np.ndarray:
        """(n, d) to (n, c) float32, the temperature applied."""
        seen = (vectors - self.mean) * self.scale
        hidden = seen @ self.w1 + self.b1
        # GELU in its tanh form, as torch computes it with approximate="tanh".
        inner = np.sqrt(2.0 / np.pi) * (hidden + 0.044715 * hidden**3)
        hidden = 0.5 * hidden * (1.0 + np.tanh(inner))
        return ((hidden @ self.w2 + self.b2) / self.temperature).astype(np.float32)

    def tensors(self, prefix: str = "") -> dict[str, np.ndarray]:
        """Arrays for a bundle."""
        return {prefix + name: np.asarray(getattr(self, name), np.float32) for name in TENSORS}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], prefix: str = "") -> "Head":
        """The head that `tensors` gave."""
        return cls(**{name: tensors[prefix + name] for name in TENSORS})


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithms of `softmax`."""
    lowered = logits - logits.max(axis=-1, keepdims=True)
    return lowered - np.log(np.exp(lowered).sum(axis=-1, keepdims=True))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Rows that sum to 1."""
    return np.exp(log_softmax(logits))


def calibrated(head: Head, vectors: np.ndarray, labels: np.ndarray) -> Head:
    """The head at the temperature that makes the labels (n,) of vectors (n, d) likeliest; -1: not known.

    Source: Guo et al. (2017), On calibration of modern neural networks.
    """
    known = labels >= 0
    if not known.any():
        return head
    plain = replace(head, temperature=np.ones(1, np.float32))
    logits, truth = plain.logits(vectors[known]), labels[known]
    here = np.arange(len(truth))
    surprises = [-log_softmax(logits / t)[here, truth].mean() for t in TEMPERATURES]
    best = TEMPERATURES[int(np.argmin(surprises))]
    return replace(head, temperature=np.array([best], np.float32))


def macro_f1(truth: np.ndarray, answers: np.ndarray) -> float:
    """Mean over the classes in `truth` of the harmonic mean of precision and recall. truth, answers: (n,).

    >>> macro_f1(np.array(["a", "a", "b"]), np.array(["a", "b", "b"])).__round__(4)
    0.6667
    """
    scores = []
    for name in np.unique(truth):
        both = np.sum((truth == name) & (answers == name))
        scores.append(2 * both / (np.sum(truth == name) + np.sum(answers == name)))
    return float(np.mean(scores))


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over equally filled bins.

    confidence, right: (n,). Source: Naeini et al. (2015), Obtaining well calibrated probabilities; with bins of
    equal count, as Nixon et al. (2019), Measuring calibration in deep learning, advise.
    """
    order = np.argsort(confidence, kind="stable")
    gaps = [
        len(part) * abs(float(confidence[part].mean()) - float(right[part].mean()))
        for part in np.array_split(order, bins)
        if len(part)
    ]
    return sum(gaps) / max(len(confidence), 1)

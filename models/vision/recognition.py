"""Recognition of product pictures: one or more trained sights, pooled; calibrated confidence."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy.special import entr

from models.bundle import Bundle
from models.vision.head import Head, log_softmax, softmax
from models.vision.kinship import STRANGERS, drawn, looks
from models.vision.linear import Linear
from models.vision.prototypes import Prototypes
from models.vision.sight import BATCH, Sight

TOP = 5
ALL_KNOWN = 2.0
"""A limit of strangeness that no picture exceeds."""
FEW = 2
"""With fewer pictures a class, in the mean, none can be held out: each stands for its class as it is."""
MIXED = 2 / 3
"""Of the learned classes' `spread`, that pictures have at least which are taken for a mixture of them."""
NONE = 1e-12
"""A probability that stands for none."""
APART, COOLEST, WARMEST = 0.45, 0.5, 2.5
"""See `Linear.without_hubs`: of logits in deviations, where each class is known by one picture and nothing can be held out."""
Classifier = Head | Linear


def spread(shares: np.ndarray) -> float:
    """How many classes these shares (classes,) are worth: the exponential of their entropy.

    >>> round(spread(np.array([0.5, 0.5, 0.0])), 6)
    2.0
    """
    return float(np.exp(entr(shares).sum()))


def classifier(tensors: Mapping[str, np.ndarray], prefix: str = "") -> Classifier:
    """The head or linear classifier that `tensors` of either gave."""
    kind = Head if f"{prefix}w1" in tensors else Linear
    return kind.from_tensors(tensors, prefix)


@dataclass(frozen=True)
class Expert:
    """One way to look at a picture and the classifier of what is seen. weight: of its opinion."""

    sight: Sight
    head: Classifier
    weight: float = 1.0


@dataclass(frozen=True)
class Recognition:
    """classes: names in the order of the classifiers' outputs. prior: (classes,) shares, for what can't be seen.

    The experts' probabilities are joined by their weighted geometric mean, normalised (a logarithmic opinion pool).
    All experts look at pictures of the same size. prototypes: of what the first expert's sight gives, one a class; the
    last classes are known by these alone where there are more than the experts know (see `with_class`). limit: of the
    strangeness of a picture of these classes; what is stranger is none of them. kin (2,): see `kinship.fit_kin`.
    """

    classes: list[str]
    experts: tuple[Expert, ...]
    prior: np.ndarray
    prototypes: Prototypes | None = None
    limit: float = ALL_KNOWN
    kin: np.ndarray = field(default_factory=lambda: STRANGERS)
    kind: ClassVar[str] = "recognition"

    @property
    def size(self) -> int:
        """Pixels a side of the pictures that are looked at."""
        return self.experts[0].sight.size

    @property
    def probes(self) -> bool:
        """Whether a probe of a frozen network is all that it has: the only kind that can be `aligned`."""
        first, *others = (one.head for one in self.experts)
        return not others and isinstance(first, Linear) and first.standardises

    def of_arrays(self, pictures: np.ndarray) -> np.ndarray:
        """Probabilities (n, classes) float32 of decoded pictures (n, size, size, 3) uint8."""
        return self._shares(self._seen(pictures))

    def together(self, blocks: Iterable[np.ndarray]) -> np.ndarray:
        """As `of_arrays` of all pictures of `blocks`, each (b, size, size, 3) uint8, which speak for one another (see `kinship.drawn`).

        What is told of a picture then depends on what else is asked. What the sights give of all stands in memory.
        """
        seen, shares = [], [np.zeros((0, len(self.classes)), np.float32)]
        for block in blocks:
            views = self._seen(block)
            seen.append(views)
            shares.append(self._shares(views))
        found = np.concatenate(shares)
        if not len(found):
            return found
        whole = [np.concatenate(views) for views in zip(*seen, strict=True)]
        return np.exp(drawn(np.log(np.maximum(found, NONE)), looks(whole), self.kin))

    def strangeness(self, pictures: np.ndarray) -> np.ndarray:
        """How far decoded pictures (n, size, size, 3) uint8 are from every class: (n,), 0 (just like one) to 2.

        "None of these" is what is stranger than `limit`. Raises `ValueError` without prototypes.
        """
        return self._prototypes().strangeness(self.experts[0].sight.see(pictures))

    @property
    def sights(self) -> list[Sight]:
        """Of the experts, each once."""
        return list({id(one.sight): one.sight for one in self.experts}.values())

    @property
    def _places(self) -> list[int]:
        """Of each expert's sight among `sights`."""
        order = [id(sight) for sight in self.sights]
        return [order.index(id(one.sight)) for one in self.experts]

    def _seen(self, pictures: np.ndarray) -> list[np.ndarray]:
        """What each of `sights` gives of decoded pictures, each (n, d)."""
        return [sight.see(pictures) for sight in self.sights]

    def _shares(self, seen: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities (n, classes) float32 by what `sights` give."""
        logs = [
            expert.weight * log_softmax(expert.head.logits(seen[place]))
            for expert, place in zip(self.experts, self._places, strict=True)
        ]
        found = softmax(np.sum(logs, axis=0))
        if found.shape[1] == len(self.classes):
            return found
        taught = self._prototypes().shares(seen[0])[:, found.shape[1] :]
        return np.concatenate([found * (1 - taught.sum(1, keepdims=True)), taught], axis=1)

    def aligned(self, pictures: np.ndarray, learned: int) -> "Recognition":
        """A recogniser for pictures like these (n, size, size, 3) uint8, such as photos where it learned from a catalogue.

        learned: pictures that it learned from. A probe of a frozen network, where it is alone, standardises what it sees
        by these pictures, no longer by those it learned from. That takes the difference of the two for one of cameras and
        grounds, not of classes: these must be a mixture of the classes. They are taken for one where what is told of
        them spreads over the classes nearly as what was learned does (`MIXED`).
        With fewer than `FEW` learned pictures a class this can't be told, and is believed; there no class is held to be
        likelier than another, either. Raises `ValueError` for fewer than two pictures.
        """
        if len(pictures) < 2:
            raise ValueError("one picture alone does not tell how pictures differ")
        expert = self.experts[0]
        if not self.probes or not isinstance(expert.head, Linear):
            return self
        seen = expert.sight.see(pictures)
        head = expert.head.among(seen)
        if learned < FEW * len(self.classes):
            head = head.without_hubs(seen, APART, COOLEST, WARMEST)
        elif spread(softmax(expert.head.logits(seen)).mean(0)) < MIXED * spread(self.prior):
            return self
        return replace(self, experts=(replace(expert, head=head),))

    def with_class(self, name: str, pictures: np.ndarray) -> "Recognition":
        """A recogniser of one class more, from a few pictures (k, size, size, 3) uint8, without training.

        How likely the new class is tells its prototype; the experts share the rest. Raises `ValueError` for a class
        that is known, for no picture, and without prototypes.
        """
        if name in self.classes:
            raise ValueError(f"the class {name!r} is known")
        prototypes = self._prototypes().with_class(self.experts[0].sight.see(pictures))
        prior = np.append(self.prior, np.float32(0.0))
        return replace(self, classes=[*self.classes, name], prior=prior, prototypes=prototypes)

    def _prototypes(self) -> Prototypes:
        if self.prototypes is None:
            raise ValueError("this recogniser was made without prototypes")
        return self.prototypes

    def told(self, pictures: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (n, classes) float32, and whether each picture shows one of the classes (n,).

        Raises `Undecodable` for the first that can't be read.
        """
        encoder = self.experts[0].sight.encoder
        shares = [np.zeros((0, len(self.classes)), np.float32)]
        known = [np.zeros(0, bool)]
        for start in range(0, len(pictures), BATCH):
            seen = self._seen(encoder.decode(pictures[start : start + BATCH], start))
            shares.append(self._shares(seen))
            if self.limit < ALL_KNOWN:
                known.append(self._prototypes().strangeness(seen[0]) <= self.limit)
            else:
                known.append(np.ones(len(seen[0]), bool))
        return np.concatenate(shares), np.concatenate(known)

    def ranked(self, found: np.ndarray, count: int) -> list[list[tuple[str, float]]]:
        """For probabilities (n, classes) the `count` likeliest labels with theirs, best first."""
        order = np.argsort(-found, axis=1, kind="stable")[:, :count]
        best = np.take_along_axis(found, order, axis=1)
        return [
            [(self.classes[at], float(p)) for at, p in zip(row, ps, strict=True)]
            for row, ps in zip(order, best, strict=True)
        ]

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """`bytes` to label, confidence, known and top (JSON: the five likeliest labels with their probability).

        known: whether the picture shows one of the classes at all; label and confidence are told either way.
        """
        shares, known = self.told(frame["bytes"].tolist())
        top = self.ranked(shares, TOP)
        return pd.DataFrame(
            {
                "label": np.asarray([row[0][0] for row in top], dtype=object),
                "confidence": np.asarray([row[0][1] for row in top], dtype=float),
                "known": known,
                "top": [json.dumps([[name, round(p, 4)] for name, p in row]) for row in top],
            }
        )

    def to_bundle(self) -> Bundle:
        tensors = {"prior": np.asarray(self.prior, np.float32), "kin": np.asarray(self.kin)}
        for at, expert in enumerate(self.experts):
            tensors |= expert.head.tensors(f"{at}/")
        if self.prototypes is not None:
            tensors |= self.prototypes.tensors("prototypes/")
        members = {f"sight-{at}": sight.to_bundle() for at, sight in enumerate(self.sights)}
        config = {
            "weights": [expert.weight for expert in self.experts],
            "sights": self._places,
            "limit": self.limit,
        }
        return Bundle(self.kind, config, tensors, {"classes": self.classes}, members)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Recognition":
        places = bundle.config["sights"]
        sights = [Sight.from_bundle(bundle.members[f"sight-{at}"]) for at in range(max(places) + 1)]
        experts = [
            Expert(sights[place], classifier(bundle.tensors, f"{at}/"), weight)
            for at, (place, weight) in enumerate(zip(places, bundle.config["weights"], strict=True))
        ]
        prototypes = Prototypes.from_tensors(bundle.tensors, "prototypes/")
        return cls(
            bundle.vocabulary["classes"],
            tuple(experts),
            bundle.tensors["prior"],
            prototypes,
            bundle.config["limit"],
            bundle.tensors["kin"],
        )

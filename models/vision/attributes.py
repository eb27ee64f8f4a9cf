"""Product attributes from title, picture and pack: several views of a product, each with a classifier a field, pooled.

A view answers where all that it looks at is there, so that a row needs just one source. Where several answer, a
field's probabilities are their weighted geometric mean, normalised (a logarithmic opinion pool); the weights are
learned on held-out rows, apart for rows with a title, with a picture, and with both, and for each of these with text
that was read on the pack.
Source: Genest and Zidek (1986), Combining probability distributions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pandas as pd

from models.bundle import Bundle
from models.encoders.text import TextEncoder
from models.vision.head import log_softmax
from models.vision.recognition import Classifier, classifier
from models.vision.sight import BATCH, Sight

TITLE, PICTURE, PACK = "title", "picture", "pack"
SOURCES = {TITLE: "title", PICTURE: "bytes", PACK: "pack_text"}
"""Source to the column that holds it."""
SITUATIONS = ((TITLE,), (PICTURE,), (TITLE, PICTURE))
"""Which sources a row may have where nothing was read on packs."""
PACKED = ((PACK,), *((*sources, PACK) for sources in SITUATIONS))
"""Those with text on the pack."""
FLOOR = -14.0
"""A log probability below this counts as this: one view alone can't rule a value out."""
EVEN = 2.0
"""How strongly weights are drawn to equal shares, in nats for a distance of 1: few rows tell little."""


@dataclass(frozen=True)
class Reading:
    """What a classifier is given of titles, or texts on packs: an encoder's vectors with `grams` hashed n-grams beside them."""

    encoder: TextEncoder
    grams: int

    def vectors(self, titles: Sequence[str]) -> np.ndarray:
        """(n, d + grams) float32."""
        return self.complete(self.encoder.encode(titles), titles)

    def complete(self, vectors: np.ndarray, titles: Sequence[str]) -> np.ndarray:
        """The encoder's vectors (n, d) of titles with the n-grams beside them, float32."""
        hashed = TextEncoder.hashing(self.grams).encode(titles)
        return np.concatenate([vectors.astype(np.float32), hashed], axis=1)


def present(frame: pd.DataFrame, source: str) -> np.ndarray:
    """Positions of the rows whose `source` is there, ascending; empty cells of any kind are not."""
    if SOURCES[source] not in frame.columns:
        return np.zeros(0, dtype=np.int64)
    cells = frame[SOURCES[source]]
    return np.flatnonzero([isinstance(cell, str | bytes) and len(cell) > 0 for cell in cells])


def pool(logs: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Log probabilities (n, c) of the weighted geometric mean of each view's, given as logs (n, c)."""
    parts = [w * np.maximum(found, FLOOR) for found, w in zip(logs, weights, strict=True)]
    return log_softmax(np.sum(parts, axis=0))


def pool_weights(
    logs: Sequence[np.ndarray],
    labels: np.ndarray,
    drawn: Sequence[float] | None = None,
    rounds: int = 6,
) -> list[float]:
    """The weights of all views that make labels (n,) likeliest, from their log probabilities (n, c).

    They lie between 0 and 2, in steps of 0.05, and are drawn to `drawn`, which they are without any row: equal shares,
    where it does not say otherwise. One weight after the other is chosen, until none changes.
    """
    here = np.arange(len(labels))
    first = [1.0 / len(logs)] * len(logs) if drawn is None else list(drawn)
    weights = list(first)

    def cost(tried: Sequence[float]) -> float:
        pull = EVEN * sum((weight - one) ** 2 for weight, one in zip(tried, first, strict=True))
        return pull - float(pool(logs, tried)[here, labels].sum())

    for _ in range(rounds):
        before = list(weights)
        for at in range(len(weights)):
            steps = [first[at], *(np.arange(41) / 20).tolist()]
            tried = [[*weights[:at], step, *weights[at + 1 :]] for step in steps]
            weights = tried[int(np.argmin([cost(one) for one in tried]))]
        if weights == before:
            break
    return [round(weight, 6) for weight in weights]


@dataclass(frozen=True)
class View:
    """sources: what must be there. sight, reading: of those sources. heads: field to its classifier.

    The classifier's input is what the sight gives, then what the reading gives: of the title, or of the text on the pack.
    """

    sources: tuple[str, ...]
    heads: Mapping[str, Classifier]
    sight: Sight | None = None
    reading: Reading | None = None

    @property
    def read(self) -> str:
        """The source that `reading` reads."""
        return PACK if PACK in self.sources else TITLE


@dataclass(frozen=True)
class Attributes:
    """classes: field to its values. weights: field and situation to the weight of each view, 0 for those that it lacks.

    prior: field to the share of each value, for rows that have nothing.
    """

    classes: Mapping[str, list[str]]
    views: tuple[View, ...]
    weights: Mapping[str, Mapping[str, Sequence[float]]]
    prior: Mapping[str, np.ndarray] = field(default_factory=dict)
    kind: ClassVar[str] = "attributes"

    @property
    def size(self) -> int:
        """Pixels a side of the pictures that are looked at; 0 where none is."""
        return next((view.sight.size for view in self.views if view.sight is not None), 0)

    @property
    def packs(self) -> bool:
        """Whether it heeds text on packs."""
        return any(PACK in view.sources for view in self.views)

    def probabilities(self, frame: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Field to probabilities (n, classes) and whether any view that knows it could answer (n,).

        frame: `title` and, or, `bytes`, and `pack_text` where text was read on packs; cells may be empty. Raises
        `Undecodable` for a picture that can't be read.
        """
        pictured = present(frame, PICTURE)
        if not len(pictured) or not self.size:
            return self.of_parts(frame, np.zeros((0, 1, 1, 3), np.uint8), pictured[:0])
        sight = next(view.sight for view in self.views if view.sight is not None)
        cells = frame[SOURCES[PICTURE]]
        blocks = []
        for start in range(0, len(frame), BATCH):
            part = frame.iloc[start : start + BATCH]
            rows = present(part, PICTURE)
            chosen = cells.iloc[start + rows].tolist()
            blocks.append(self.of_parts(part, sight.encoder.decode(chosen, start), rows))
        return {
            name: (
                np.concatenate([block[name][0] for block in blocks]),
                np.concatenate([block[name][1] for block in blocks]),
            )
            for name in self.classes
        }

    def of_parts(
        self, frame: pd.DataFrame, pictures: np.ndarray, pictured: np.ndarray
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """As `probabilities`, for decoded pictures (p, size, size, 3) uint8 of the rows `pictured` (p,)."""
        rows = {TITLE: present(frame, TITLE), PICTURE: pictured}
        if self.packs:
            rows[PACK] = present(frame, PACK)
        count = len(frame)
        there = {source: np.isin(np.arange(count), at) for source, at in rows.items()}
        seen: dict[tuple[str, int], np.ndarray] = {}
        logs: list[dict[str, np.ndarray]] = []
        for view in self.views:
            able = np.logical_and.reduce([there[source] for source in view.sources])
            parts = []
            if able.any() and view.sight is not None:
                key = PICTURE, id(view.sight)
                if key not in seen:
                    seen[key] = view.sight.see(pictures)
                parts.append(seen[key][np.searchsorted(pictured, np.flatnonzero(able))])
            if able.any() and view.reading is not None:
                key = view.read, id(view.reading)
                if key not in seen:
                    texts = frame[SOURCES[view.read]].iloc[rows[view.read]].tolist()
                    seen[key] = view.reading.vectors(texts)
                parts.append(seen[key][np.searchsorted(rows[view.read], np.flatnonzero(able))])
            vectors = np.concatenate(parts, axis=1) if parts else None
            logs.append(
                {}
                if vectors is None
                else {name: log_softmax(head.logits(vectors)) for name, head in view.heads.items()}
            )
        return {name: self._field(name, count, there, logs) for name in self.classes}

    def _field(
        self,
        name: str,
        count: int,
        there: Mapping[str, np.ndarray],
        logs: Sequence[Mapping[str, np.ndarray]],
    ) -> tuple[np.ndarray, np.ndarray]:
        values = self.classes[name]
        shares = self.prior.get(name, np.full(len(values), 1.0 / len(values)))
        found = np.tile(np.asarray(shares, np.float64), (count, 1))
        anyone = np.zeros(count, bool)
        for situation in SITUATIONS + (PACKED if self.packs else ()):
            these = np.logical_and.reduce(
                [have == (one in situation) for one, have in there.items()]
            )
            able = [
                at
                for at, view in enumerate(self.views)
                if name in view.heads and set(view.sources) <= set(situation)
            ]
            if not these.any() or not able:
                continue
            chosen = []
            for at in able:
                mine = np.logical_and.reduce([there[one] for one in self.views[at].sources])
                chosen.append(logs[at][name][these[mine]])
            weights = self.weights[name]["+".join(situation)]
            found[these] = np.exp(pool(chosen, [weights[at] for at in able]))
            anyone |= these
        return found, anyone

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """`title` and, or, `bytes`, and `pack_text` where it is known, to each field's value and `<field>_confidence`.

        Where nothing is there that the field is read from, the value is None and the confidence 0.
        """
        columns = {}
        for name, (found, spoke) in self.probabilities(frame).items():
            values = np.asarray(self.classes[name], dtype=object)[found.argmax(1)]
            values[~spoke] = None
            columns[name] = values
            columns[f"{name}_confidence"] = np.where(spoke, found.max(1), 0.0)
        return pd.DataFrame(columns)

    def to_bundle(self) -> Bundle:
        tensors = {
            f"prior/{at}": np.asarray(self.prior[name], np.float32)
            for at, name in enumerate(self.classes)
            if name in self.prior
        }
        members: dict[str, Sight | TextEncoder] = {}
        views = []
        for at, view in enumerate(self.views):
            for place, name in enumerate(self.classes):
                if name in view.heads:
                    tensors |= view.heads[name].tensors(f"{at}/{place}/")
            entry = {"sources": list(view.sources), "fields": list(view.heads), "grams": 0}
            if view.sight is not None:
                entry["sight"] = self._member(members, "sight", view.sight)
            if view.reading is not None:
                entry["text"] = self._member(members, "text", view.reading.encoder)
                entry["grams"] = view.reading.grams
            views.append(entry)
        config = {
            "fields": list(self.classes),
            "views": views,
            "weights": {
                name: {situation: list(found) for situation, found in of.items()}
                for name, of in self.weights.items()
            },
        }
        bundles = {name: one.to_bundle() for name, one in members.items()}
        return Bundle(self.kind, config, tensors, dict(self.classes), bundles)

    @staticmethod
    def _member(
        members: dict[str, Sight | TextEncoder], kind: str, one: Sight | TextEncoder
    ) -> str:
        """The name under which `one` is kept; views that share it share the name."""
        for name, other in members.items():
            if other is one:
                return name
        name = f"{kind}-{len(members)}"
        members[name] = one
        return name

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Attributes":
        config = bundle.config
        places = {name: at for at, name in enumerate(config["fields"])}
        sights = {
            name: Sight.from_bundle(one)
            for name, one in bundle.members.items()
            if name.startswith("sight")
        }
        readings: dict[tuple[str, int], Reading] = {}
        views = []
        for at, entry in enumerate(config["views"]):
            reading = None
            if "text" in entry:
                key = entry["text"], entry["grams"]
                if key not in readings:
                    encoder = TextEncoder.from_bundle(bundle.members[entry["text"]])
                    readings[key] = Reading(encoder, entry["grams"])
                reading = readings[key]
            heads = {
                name: classifier(bundle.tensors, f"{at}/{places[name]}/")
                for name in entry["fields"]
            }
            views.append(
                View(tuple(entry["sources"]), heads, sights.get(entry.get("sight")), reading)
            )
        prior = {
            name: bundle.tensors[f"prior/{at}"]
            for name, at in places.items()
            if f"prior/{at}" in bundle.tensors
        }
        classes = {name: bundle.vocabulary[name] for name in config["fields"]}
        return cls(classes, tuple(views), config["weights"], prior)

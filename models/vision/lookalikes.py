"""Search by look: nearest pictures by features of several layers and colours.

Nobody says which pictures show the same. Pairs that find one another first are taken for it, and the features are turned so
that what such pairs differ in counts little.
"""

from dataclasses import dataclass, replace

import numpy as np

from models.vision.colours import HISTOGRAM
from models.vision.families import unit
from models.vision.index import Agreement, Index
from models.vision.settings import LookalikesSettings
from models.vision.sight import Sight
from models.vision.whitening import SAMPLE, Directions, Whitening

BASIS = 800
"""Directions of most spread in which pairs of look-alikes are looked at."""
PAIRED = 10_000
"""Pictures among which pairs are sought, at most."""


def towards_neighbours(vectors: np.ndarray, gallery: Index, count: int, power: float) -> np.ndarray:
    """Each of vectors (n, d) drawn to the mean of its `count` nearest of gallery, weighted by cosine ** power.

    Source: Radenović, Tolias and Chum (2019), Fine-tuning CNN image retrieval with no human annotation (alpha query
    expansion).
    """
    parts = []
    start = 0
    for place, score in gallery.nearest(vectors, count):
        weight = score.clip(0) ** power
        near = np.einsum("nk,nkd->nd", weight, gallery.take(place))
        parts.append(unit(near + vectors[start : start + len(place)]))
        start += len(place)
    return np.concatenate(parts) if parts else vectors


def mutual(gallery: Index, count: int) -> np.ndarray:
    """Pairs of rows (2, p), each once, of which each is among the `count` nearest others of the other."""
    total = len(gallery)
    rows = np.arange(total)
    found = []
    start = 0
    for place, _ in gallery.nearest(gallery.take(rows), count + 1):
        own = rows[start : start + len(place), None]
        start += len(place)
        # Where many are the same, a row may not be among its own nearest.
        other = (place != own) & (np.cumsum(place != own, axis=1) <= count)
        found.append((own * total + place)[other])
    near = np.concatenate(found) if found else np.zeros(0, np.int64)
    first, second = np.divmod(near, max(total, 1))
    both = (first < second) & np.isin(second * total + first, near)
    return np.stack([first[both], second[both]])


@dataclass(frozen=True)
class Lookalikes:
    """A gallery's pictures as vectors of length 1 (n, w), and how others become alike.

    shapes: by which neighbours are found; drawn: these, drawn to their neighbours; target: what is searched.
    mean, scale (d,): standardise the encoder's part of what the sight gives.
    """

    sight: Sight
    settings: LookalikesSettings
    mean: np.ndarray
    scale: np.ndarray
    whitening: Whitening
    shapes: Index
    drawn: Index
    target: Index

    @classmethod
    def of(
        cls, vectors: np.ndarray, sight: Sight, settings: LookalikesSettings, reach: int, seed: int
    ) -> "Lookalikes":
        """From what the sight gives (n, d) of the gallery's pictures. reach: look-alikes that will be asked for, at most."""
        parts = sight.encoder.parts
        encoded = vectors[:, : parts[-1].stop].astype(np.float32)
        mean = encoded.sum(0) / max(len(encoded), 1)
        deviation = np.sqrt(((encoded - mean) ** 2).sum(0) / max(len(encoded), 1))
        # Each layer has the same say, whatever its width.
        widths = np.concatenate(
            [np.full(one.stop - one.start, one.stop - one.start) for one in parts]
        )
        scale = (1.0 / ((deviation + 1e-2) * np.sqrt(widths))).astype(np.float32)
        width = min(settings.width, max(len(encoded) - 1, 1))
        rows = np.random.default_rng(seed).permutation(len(encoded))[:SAMPLE]
        standard = (encoded[rows] - mean) * scale
        directions = Directions.of(standard, max(width, min(BASIS, len(rows) - 1)), seed)
        none = Index(np.zeros((0, width), np.float32))
        whitening = directions.evened(width, settings.shrink)
        found = cls(sight, settings, mean, scale, whitening, none, none, none)
        if len(vectors) >= settings.enough:
            some, count = vectors[rows[:PAIRED]], settings.paired
            for _ in range(settings.rounds):
                pairs = mutual(found.gathered(some, count + 1, seed).target, count)
                learned = directions.paired(standard[:PAIRED], pairs, width, settings.loose)
                found = replace(found, whitening=learned)
        return found.gathered(vectors, reach, seed)

    def gathered(self, vectors: np.ndarray, reach: int, seed: int) -> "Lookalikes":
        """With a gallery of what the sight gives (n, d). reach: as of `of`."""
        near, least = self.settings.neighbours, self.settings.indexed
        shapes, colours = self.placed(vectors)
        found = replace(self, shapes=Index.of(shapes, least, near, seed))
        once = found.draw(shapes, found.shapes)
        found = replace(found, drawn=Index.of(once, least, near, seed))
        target = found.beside(once, shapes, colours)
        return replace(found, target=Index.of(target, least, reach, seed))

    def placed(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the sight gives (n, d) as shapes and as colours, vectors of length 1."""
        width = len(self.mean)
        shapes = self.whitening((vectors[:, :width].astype(np.float32) - self.mean) * self.scale)
        return shapes, unit(vectors[:, width : width + HISTOGRAM].astype(np.float32))

    def draw(self, shapes: np.ndarray, gallery: Index) -> np.ndarray:
        """Shapes drawn to their neighbours in a gallery, as the settings say."""
        if not self.settings.neighbours or not len(gallery) or not len(shapes):
            return shapes
        return towards_neighbours(shapes, gallery, self.settings.neighbours, self.settings.power)

    def beside(self, once: np.ndarray, shapes: np.ndarray, colours: np.ndarray) -> np.ndarray:
        """Vectors of length 1 whose cosines tell who looks alike: shapes drawn twice, colours, shapes as they are.

        once: shapes, drawn to their neighbours.
        """
        drawn = self.draw(once, self.drawn)
        weighted = [drawn, self.settings.colours * colours, self.settings.own * shapes]
        return unit(np.concatenate(weighted, axis=1).astype(np.float32))

    def sought(self, pictures: np.ndarray) -> np.ndarray:
        """The vectors (q, v) of length 1 by which decoded pictures (q, size, size, 3) uint8 find their look-alikes."""
        if not len(pictures):
            return self.target.vectors[:0]
        shapes, colours = self.placed(self.sight.see(pictures))
        return self.beside(self.draw(shapes, self.shapes), shapes, colours)

    def nearest(
        self, sought: np.ndarray, count: int, agreement: Agreement | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """For what `sought` gives (q, v) the places and scores (q, count) of the nearest pictures, best first.

        agreement: as of `index.nearest`. How alike two are does not depend on it.
        """
        count = min(count, len(self.target))
        if not count or not len(sought):
            return np.zeros((len(sought), 0), np.int64), np.zeros((len(sought), 0), np.float32)
        found = list(self.target.nearest(sought, count, agreement))
        return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])

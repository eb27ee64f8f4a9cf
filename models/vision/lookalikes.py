"""Search by look: nearest pictures by whitened features of several layers and colours, exact, in blocks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from models.vision.agreement import NOBODY
from models.vision.colours import HISTOGRAM
from models.vision.families import unit
from models.vision.settings import LookalikesSettings
from models.vision.sight import Sight
from models.vision.whitening import Whitening

BLOCK = 512


Agreement = tuple[np.ndarray, np.ndarray]
"""Numbers of the asked (q,) and of the gallery (n,), see `agreement.groups`: an asked one finds those of its own number."""


def nearest(
    asked: np.ndarray, gallery: np.ndarray, count: int, agreement: Agreement | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each of asked (q, d) the places and scores (cosines) of its `count` nearest of gallery (n, d), best first.

    Vectors are of length 1. Ties go to the earlier row. A block of asked rows at a time: memory is a block's scores.
    With an agreement only those are found that agree; where they are fewer than `count`, the last places are `NOBODY`
    and their scores -inf.
    """
    count = min(count, len(gallery))
    for start in range(0, len(asked), BLOCK):
        scores = asked[start : start + BLOCK] @ gallery.T
        if agreement is not None:
            own = agreement[0][start : start + BLOCK, None]
            scores[(own != agreement[1]) | (own == NOBODY)] = -np.inf
        part = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        part.sort(axis=1)
        found = np.take_along_axis(scores, part, axis=1)
        order = np.argsort(-found, axis=1, kind="stable")
        places, found = (np.take_along_axis(one, order, axis=1) for one in (part, found))
        yield np.where(np.isneginf(found), NOBODY, places), found


def towards_neighbours(
    vectors: np.ndarray, gallery: np.ndarray, count: int, power: float
) -> np.ndarray:
    """Each of vectors (n, d) drawn to the mean of its `count` nearest of gallery, weighted by cosine ** power.

    Source: Radenović, Tolias and Chum (2019), Fine-tuning CNN image retrieval with no human annotation (alpha query
    expansion).
    """
    parts = []
    start = 0
    for place, score in nearest(vectors, gallery, count):
        weight = score.clip(0) ** power
        near = np.einsum("nk,nkd->nd", weight, gallery[place])
        parts.append(unit(near + vectors[start : start + len(place)]))
        start += len(place)
    return np.concatenate(parts) if parts else vectors


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
    shapes: np.ndarray
    drawn: np.ndarray
    target: np.ndarray

    @classmethod
    def of(
        cls, vectors: np.ndarray, sight: Sight, settings: LookalikesSettings, seed: int
    ) -> "Lookalikes":
        """From what the sight gives (n, d) of the gallery's pictures."""
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
        whitening = Whitening.of((encoded - mean) * scale, width, settings.shrink, seed)
        none = np.zeros((0, width), np.float32)
        bare = cls(sight, settings, mean, scale, whitening, none, none, none)
        shapes, colours = bare.placed(vectors)
        found = replace(bare, shapes=shapes, drawn=bare.draw(shapes, shapes))
        return replace(found, target=found.joined(shapes, colours))

    def placed(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the sight gives (n, d) as shapes and as colours, vectors of length 1."""
        width = len(self.mean)
        shapes = self.whitening((vectors[:, :width].astype(np.float32) - self.mean) * self.scale)
        return shapes, unit(vectors[:, width : width + HISTOGRAM].astype(np.float32))

    def draw(self, shapes: np.ndarray, gallery: np.ndarray) -> np.ndarray:
        """Shapes drawn to their neighbours in a gallery, as the settings say."""
        if not self.settings.neighbours or not len(gallery) or not len(shapes):
            return shapes
        return towards_neighbours(shapes, gallery, self.settings.neighbours, self.settings.power)

    def joined(self, shapes: np.ndarray, colours: np.ndarray) -> np.ndarray:
        """Vectors of length 1 whose cosines tell who looks alike: shapes drawn twice, colours, shapes as they are."""
        drawn = self.draw(self.draw(shapes, self.shapes), self.drawn)
        weighted = [drawn, self.settings.colours * colours, self.settings.own * shapes]
        return unit(np.concatenate(weighted, axis=1).astype(np.float32))

    def nearest(
        self, pictures: np.ndarray, count: int, agreement: Agreement | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """For decoded pictures (q, size, size, 3) uint8 the places and scores (q, count) of the nearest, best first.

        agreement: as of the function `nearest`. How alike two are does not depend on it.
        """
        count = min(count, len(self.target))
        if not count or not len(pictures):
            return np.zeros((len(pictures), 0), np.int64), np.zeros((len(pictures), 0), np.float32)
        asked = self.joined(*self.placed(self.sight.see(pictures)))
        found = list(nearest(asked, self.target, count, agreement))
        return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])

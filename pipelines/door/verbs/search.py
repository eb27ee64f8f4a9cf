"""`search`: the pictures of a gallery that look most like each asked one, all or those that agree in columns."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from models.vision.settings import LookalikesSettings
from pipelines.door.sight import image_encoder
from pipelines.door.verb import Asked, File, Option, Verb
from pipelines.harness import BadConfig
from pipelines.training.seeing import SightParams

if TYPE_CHECKING:
    import numpy as np

    from models.vision.index import Agreement
    from models.vision.lookalikes import Lookalikes
    from models.vision.sight import Sight
    from pipelines.door.pictures import Listing

SECTION = "door-search"
MEASURED = 512
"""Asked pictures, at least, whose neighbours are sought exactly, too, where they are sought in an index."""


class DoorSearchParams(SightParams):
    """looks: how pictures become alike."""

    looks: LookalikesSettings


@dataclass(frozen=True)
class Filter:
    """What neighbours must agree in. same: columns whose cell must be the asked one's. where: column to value."""

    same: tuple[str, ...]
    where: Mapping[str, str]

    @classmethod
    def of(cls, asked: Asked) -> "Filter":
        """Raises `BadConfig` for an option that can't be read."""
        where = {}
        for word in _words(asked.options["where"]):
            name, _, value = word.partition("=")
            if not name or not value:
                raise BadConfig(f"--where {word}: write a column and its value, such as colour=red")
            if name in where:
                raise BadConfig(f"--where names {name!r} twice; a cell has one value")
            where[name] = value
        return cls(tuple(_words(asked.options["same"])), where)

    @property
    def columns(self) -> list[str]:
        """Of the gallery, each once."""
        return list(dict.fromkeys([*self.same, *self.where]))

    def allowed(self, listing: "Listing") -> "np.ndarray":
        """Which rows of the gallery have the values of `where` (n,)."""
        import numpy as np

        found = np.ones(len(listing), bool)
        for name, value in self.where.items():
            found &= np.asarray(listing.column(name), dtype=object) == value
        return found

    def agreement(self, queries: "Listing", gallery: "Listing") -> "Agreement | None":
        """Who finds whom by the cells; None where everybody finds all."""
        import numpy as np

        from models.vision.agreement import NOBODY, groups

        if not self.columns:
            return None
        cells = [
            np.asarray([*queries.column(name), *gallery.column(name)], dtype=object)
            for name in self.same
        ]
        found = groups(cells, len(queries) + len(gallery))
        others = np.where(self.allowed(gallery), found[len(queries) :], NOBODY)
        return found[: len(queries)], others


def _words(text: str) -> list[str]:
    """The parts of a text between commas; one that has a comma stands in double quotes."""
    return [word.strip() for word in next(csv.reader([text]), []) if word.strip()]


@dataclass(frozen=True)
class Gallery:
    """What can be found: the rows whose pictures could be read, in the file's order."""

    lookalikes: "Lookalikes"
    listing: "Listing"


def fit(asked: Asked) -> Gallery:
    import numpy as np

    from models.vision.lookalikes import Lookalikes
    from models.vision.sight import Sight
    from pipelines.door import pictures

    params = asked.params(SECTION, DoorSearchParams)
    wanted = Filter.of(asked)
    listing = pictures.listed(asked.files["gallery"], present=wanted.columns)
    # What the asked rows lack is told before anything is looked at.
    pictures.listed(asked.files["queries"], present=wanted.same)
    sight = Sight(image_encoder(params, listing, asked), ("colours",), mirrored=True)
    vectors, good = seen(listing, sight, asked)
    asked.say(f"{int(good.sum())} pictures can be found")
    kept = np.flatnonzero(good)
    found = listing.take(kept)
    if wanted.where:
        asked.say(f"{int(wanted.allowed(found).sum())} of them have the values of --where")
    # One more than asked: a picture of the gallery is not its own look-alike.
    reach = asked.options["k"] + 1
    lookalikes = Lookalikes.of(vectors[kept], sight, params.looks, reach, asked.seed)
    if cells := lookalikes.target.cells:
        count = len(cells.centres)
        asked.say(f"they stand in {count} cells of an index, {cells.looked} are looked at for each")
    return Gallery(lookalikes, found)


def seen(listing: "Listing", sight: "Sight", asked: Asked) -> tuple["np.ndarray", "np.ndarray"]:
    """What `sight` gives of all pictures (n, d) float16, and which could be read (n,)."""
    import numpy as np

    from pipelines.door import pictures

    parts, fine = [], []
    for block, good in pictures.blocks(listing, sight.size, asked.say):
        parts.append(sight.see(block).astype(np.float16))
        fine.append(good)
    return np.concatenate(parts), np.concatenate(fine)


def predict(gallery: Gallery, asked: Asked) -> Iterator[pa.RecordBatch]:
    import numpy as np

    from models.vision.agreement import NOBODY
    from pipelines.door import pictures

    wanted = Filter.of(asked)
    listing = pictures.listed(asked.files["queries"], present=wanted.same)
    agreement = wanted.agreement(listing, gallery.listing)
    count = asked.options["k"]
    names = gallery.listing.ids
    here = {
        (one, path): at
        for at, (one, path) in enumerate(zip(names, gallery.listing.paths, strict=True))
    }
    at = 0
    target = gallery.lookalikes.target
    approximate = not target.exact and agreement is None
    every = max(len(listing) // MEASURED, 1)
    recalls: list[tuple[int, float]] = []
    for block, good in pictures.blocks(listing, gallery.lookalikes.sight.size, asked.say):
        rows = np.flatnonzero(good)
        agreed = agreement and (agreement[0][at + rows], agreement[1])
        sought = gallery.lookalikes.sought(block[rows])
        places, scores = gallery.lookalikes.nearest(sought, count + 1, agreed)
        if approximate:
            some = sought[(at + rows) % every == 0]
            recalls.append((len(some), target.recall(some, count + 1)))
        found: list[list[tuple[str, float]]] = [[] for _ in range(len(block))]
        for row, near, score in zip(rows, places, scores, strict=True):
            own = here.get((listing.ids[at + row], listing.paths[at + row]), NOBODY)
            named = [
                (names[place], float(value))
                for place, value in zip(near, score, strict=True)
                if place not in (own, NOBODY)
            ]
            found[row] = named[:count]
        yield pa.record_batch(
            {
                "id": pa.array(listing.ids[at : at + len(block)], pa.string()),
                "neighbours": pictures.pairs(found, ("id", "score")),
            }
        )
        at += len(block)
    if measured := sum(rows for rows, _ in recalls):
        asked.figures["recall"] = round(sum(n * share for n, share in recalls) / measured, 4)


VERB = Verb(
    summary="Find the pictures of a gallery that look most like each asked one.",
    files=(
        File(
            "gallery",
            "id, path (relative to the file's folder, or absolute), and the columns that --same and --where name",
        ),
        File("queries", "id, path, and the columns that --same names"),
    ),
    writes="id, neighbours ([[id, score], …] best first; a gallery picture is not its own)",
    fit=fit,
    predict=predict,
    options=(
        Option("k", "neighbours of each", int, 50),
        Option(
            "same",
            "columns such as category,colour: a neighbour's cell must be the asked row's own; empty cells agree with none. "
            "Who agrees with fewer than k has fewer neighbours",
            str,
            "",
        ),
        Option(
            "where",
            "values such as colour=red,size=M: a neighbour's cell must be that. A value with a comma in double quotes: "
            '"brand=A, B"',
            str,
            "",
        ),
    ),
)

"""`search`: the pictures of a gallery that look most like each asked one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from models.vision.settings import LookalikesSettings
from pipelines.door.verb import Asked, File, Option, Verb
from pipelines.seeing import SightParams

if TYPE_CHECKING:
    import numpy as np

    from models.vision.lookalikes import Lookalikes
    from models.vision.sight import Sight
    from pipelines.door.pictures import Listing

SECTION = "door-search"


class DoorSearchParams(SightParams):
    """looks: how pictures become alike."""

    looks: LookalikesSettings


@dataclass(frozen=True)
class Gallery:
    """What can be found: ids and paths of the pictures that could be read, in the file's order."""

    lookalikes: "Lookalikes"
    ids: list[str]
    paths: list[Path]


def fit(asked: Asked) -> Gallery:
    import numpy as np

    from models.vision.lookalikes import Lookalikes
    from models.vision.sight import Sight
    from pipelines.door import pictures

    params = asked.params(SECTION, DoorSearchParams)
    listing = pictures.listed(asked.files["gallery"])
    sight = Sight(pictures.image_encoder(params, listing, asked), ("colours",), mirrored=True)
    vectors, good = seen(listing, sight, asked)
    asked.say(f"{int(good.sum())} pictures can be found")
    kept = np.flatnonzero(good)
    return Gallery(
        Lookalikes.of(vectors[kept], sight, params.looks, asked.seed),
        [listing.ids[at] for at in kept],
        [listing.paths[at] for at in kept],
    )


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

    from pipelines.door import pictures

    listing = pictures.listed(asked.files["queries"])
    count = asked.options["k"]
    here = {
        (one, path): at
        for at, (one, path) in enumerate(zip(gallery.ids, gallery.paths, strict=True))
    }
    at = 0
    for block, good in pictures.blocks(listing, gallery.lookalikes.sight.size, asked.say):
        rows = np.flatnonzero(good)
        # One more than asked: a picture of the gallery is not its own look-alike.
        places, scores = gallery.lookalikes.nearest(block[rows], count + 1)
        found: list[list[tuple[str, float]]] = [[] for _ in range(len(block))]
        for row, near, score in zip(rows, places, scores, strict=True):
            own = here.get((listing.ids[at + row], listing.paths[at + row]), -1)
            named = [
                (gallery.ids[place], float(value))
                for place, value in zip(near, score, strict=True)
                if place != own
            ]
            found[row] = named[:count]
        yield pa.record_batch(
            {
                "id": pa.array(listing.ids[at : at + len(block)], pa.string()),
                "neighbours": pictures.pairs(found, ("id", "score")),
            }
        )
        at += len(block)


VERB = Verb(
    summary="Find the pictures of a gallery that look most like each asked one.",
    files=(
        File("gallery", "id, path (relative to the file's folder, or absolute)"),
        File("queries", "id, path"),
    ),
    writes="id, neighbours ([[id, score], …] best first; a gallery picture is not its own)",
    fit=fit,
    predict=predict,
    options=(Option("k", "neighbours of each", int, 50),),
)

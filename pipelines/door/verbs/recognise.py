"""`recognise`: the class of each picture, learned from labelled ones."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from models.vision.settings import RecognitionSettings
from pipelines.door.sight import asked_pictures, image_encoder
from pipelines.door.verb import Asked, File, Option, Verb
from pipelines.harness import BadData
from pipelines.training.seeing import SightParams
from pipelines.training.trained import TrainedParams

if TYPE_CHECKING:
    from models.vision.hierarchy import Hierarchy
    from models.vision.recognition import Recognition
    from pipelines.door.pictures import Listing

SECTION = "door-recognise"
LEAST_ASKED, MOST_ASKED = 32, 512
"""Asked pictures that tell how cameras differ."""
TOGETHER = 4096
"""Asked pictures that speak for one another: the vectors of so many, in the file's order, stand in memory at a time."""


class DoorRecogniseParams(SightParams, TrainedParams):
    """learning: how the recogniser is fitted. top: labels that are listed."""

    learning: RecognitionSettings
    top: int


@dataclass(frozen=True)
class Taught:
    """pictures: how many the model learned from. above: the coarser classes, where they are asked for."""

    model: "Recognition"
    pictures: int
    above: "Hierarchy | None"


def fit(asked: Asked) -> Taught:
    import numpy as np

    from models.training.fitting import Course
    from models.vision.hierarchy import Hierarchy
    from models.vision.recognition_training import fit as fit_recognition
    from pipelines.door import pictures

    params = asked.params(SECTION, DoorRecogniseParams)
    field, coarse = asked.options["field"], asked.options["coarse"]
    present = [coarse] if coarse else []
    listing = pictures.listed(asked.files["train"], {field: pa.string()}, present)
    parents = parents_of(listing, field, coarse) if coarse else {}
    encoder = image_encoder(params, listing, asked)
    with tempfile.TemporaryDirectory() as scratch:
        seen, good = pictures.gathered(listing, encoder.size, asked.say, Path(scratch))
        labels = np.asarray(listing.column(field), dtype=object)
        kept = np.flatnonzero(good & (labels != ""))
        if not len(kept):
            raise BadData(
                f"{listing.source}: no row has both a picture that can be read and a value in {field!r}"
            )
        asked.say(f"looking at pictures of {encoder.size} pixels a side")
        model = fit_recognition(
            seen if len(kept) == len(seen) else seen[kept],
            labels[kept].tolist(),
            encoder,
            params.learning,
            asked.seed,
            Course(asked.say, devices=params.devices),
        )
    above = Hierarchy.of([parents[name] for name in model.classes]) if coarse else None
    return Taught(model, len(kept), above)


def parents_of(listing: "Listing", field: str, coarse: str) -> dict[str, str]:
    """Each class to its coarser one. Raises `BadData` for a class with two, or a row of a class without any."""
    first: dict[str, tuple[str, int]] = {}
    cells = zip(listing.column(field), listing.column(coarse), strict=True)
    for row, (name, value) in enumerate(cells, start=1):
        if not name:
            continue
        where = f"{listing.source}, column {coarse}, row {row}"
        if not value:
            raise BadData(f"{where}: there is no value for the class {name!r}; fill it in")
        known, earlier = first.setdefault(name, (value, row))
        if known != value:
            raise BadData(
                f"{where}: the class {name!r} is of {value!r}, but of {known!r} in row {earlier}; "
                "write the same in all rows of a class"
            )
    return {name: value for name, (value, _) in first.items()}


def aligned(taught: Taught, listing: "Listing", asked: Asked) -> "Recognition":
    """The model, made for pictures like the asked ones where it learned from few a class."""
    import numpy as np

    from pipelines.door import pictures

    model = taught.model
    if not model.probes:
        return model
    some = list(pictures.blocks(listing.sample(MOST_ASKED), model.size, lambda text: None))
    seen = np.concatenate([block[good] for block, good in some]) if some else np.zeros(0)
    if len(seen) < LEAST_ASKED:
        return model
    found = model.aligned(seen, taught.pictures)
    if found is not model:
        asked.say(f"few pictures a class: {len(seen)} of the asked ones tell how cameras differ")
    return found


def predict(taught: Taught, asked: Asked) -> Iterator[pa.RecordBatch]:
    import numpy as np

    from pipelines.door import pictures

    top = asked.params(SECTION, DoorRecogniseParams).top
    listing = pictures.listed(asked.files["test"])
    model = aligned(taught, listing, asked)
    coming = pictures.blocks(listing, model.size, asked.say)
    at = 0
    while at < max(len(listing), 1):
        fine: list[np.ndarray] = []

        def readable(fine: list[np.ndarray] = fine) -> Iterator[np.ndarray]:
            for seen, good in islice(coming, TOGETHER // pictures.BLOCK):
                fine.append(good)
                yield seen[good]

        told = model.together(readable())
        good = np.concatenate(fine)
        found = np.tile(model.prior, (len(good), 1))
        found[good] = told
        ranked = model.ranked(found, top)
        columns = {
            "id": pa.array(listing.ids[at : at + len(good)], pa.string()),
            "pred": [row[0][0] for row in ranked],
            "conf": [round(row[0][1], 6) for row in ranked],
            "topk": pictures.pairs(ranked, ("label", "probability")),
        }
        if taught.above is not None:
            names, shares = taught.above.told(found)
            columns |= {"coarse": pa.array(names, pa.string()), "coarse_conf": shares.round(6)}
        yield pa.record_batch(columns)
        at += max(len(good), 1)


VERB = Verb(
    summary="Recognise what pictures show, by labels that a file shows.",
    files=(
        File(
            "train",
            "id, path (relative to the file's folder, or absolute), <field> (the label), and the column that --coarse names",
        ),
        File("test", "id, path"),
    ),
    writes="id, pred (the label), conf (its probability), topk ([[label, probability], …] best first); with --coarse also "
    "coarse (the likeliest coarser class) and coarse_conf (its probability: the sum of those of its labels)",
    fit=fit,
    predict=predict,
    asks=asked_pictures,
    options=(
        Option("field", "the column of train that holds the label"),
        Option(
            "coarse",
            "a column of train with coarser classes, the same in all rows of a label: told beside the label, for where that is "
            "unsure",
            str,
            "",
        ),
    ),
)

"""`attributes`: fields of products from picture, title and pack, learned from a catalogue that knows some."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from models.vision.settings import AttributesSettings
from pipelines.door.sight import asked_pictures, image_encoder
from pipelines.door.verb import Asked, File, Option, Verb
from pipelines.harness import BadConfig, BadData
from pipelines.training.seeing import SightParams
from pipelines.training.trained import TrainedParams

if TYPE_CHECKING:
    import numpy as np

    from models.vision.attributes import Attributes
    from models.vision.packs import Reader
    from pipelines.door.pictures import Listing

SECTION = "door-attributes"
BLOCK = 64


class DoorAttributesParams(SightParams, TrainedParams):
    """text: see `pipelines.packaged.encoders`. learning: how the model is fitted."""

    text: str
    learning: AttributesSettings


def fit(asked: Asked) -> "Attributes":
    import numpy as np

    from models.training.fitting import Course
    from models.vision.attributes_training import Rows
    from models.vision.attributes_training import fit as fit_attributes
    from pipelines.door import pictures
    from pipelines.packaged import unpacked
    from pipelines.packaged.encoders import text_encoder

    params = asked.params(SECTION, DoorAttributesParams)
    listing = pictures.listed(asked.files["train"])
    values = {name: listing.column(name) for name in fields_of(asked, listing)}
    if not any(cell for cells in values.values() for cell in cells):
        raise BadData(f"{listing.source}: no cell of {', '.join(values)} is filled")
    image = image_encoder(params, listing, asked)
    text = text_encoder(
        params.text, unpacked.folder("text", asked) if params.text == "package" else None
    )
    with tempfile.TemporaryDirectory() as scratch:
        seen, good = pictures.gathered(listing, image.size, asked.say, Path(scratch))
        rows = Rows(
            listing.column("title"),
            seen if good.all() else seen[good],
            np.flatnonzero(good),
            values,
            packs=read(asked, listing, good) if asked.options["packs"] else (),
        )
        if not len(rows.pictured) and not any(rows.titles):
            raise BadData(f"{listing.source}: no row has a picture that can be read, or a title")
        course = Course(asked.say, devices=params.devices)
        return fit_attributes(rows, image, text, params.learning, asked.seed, course)


def fields_of(asked: Asked, listing: "Listing") -> list[str]:
    """The asked columns. Raises `BadConfig` for none or one twice, `BadData` for one that the file lacks."""
    fields = [name.strip() for name in asked.options["fields"].split(",") if name.strip()]
    if not fields or len(set(fields)) != len(fields):
        raise BadConfig(f"--fields {asked.options['fields']!r}: name each column once, such as a,b")
    for name in fields:
        if name not in listing.table.column_names:
            known = ", ".join(listing.table.column_names)
            raise BadData(f"{listing.source}: column {name!r} is missing; the file has: {known}")
    return fields


def read(asked: Asked, listing: "Listing", good: "np.ndarray") -> list[str]:
    """The text on the pack of each row of the listing (n,), empty where the picture is not `good` (n,)."""
    from models.vision.packs import COARSE, Reader

    reader = Reader(asked.threads, COARSE)
    found: list[str] = []
    for start in range(0, len(listing), BLOCK):
        asked.say(f"{start:,} of {len(listing):,} packs are read")
        found += words(reader, listing, start, good[start : start + BLOCK])
    return found


def words(reader: "Reader", listing: "Listing", start: int, good: "np.ndarray") -> list[str]:
    """The texts on the packs of the rows from `start` on, as many as `good` (b,) has."""
    from pipelines.door import pictures

    return [
        reader.words(pictures.content(listing.paths[start + at])).text if fine else ""
        for at, fine in enumerate(good.tolist())
    ]


def predict(model: "Attributes", asked: Asked) -> Iterator[pa.RecordBatch]:
    import numpy as np
    import pandas as pd

    from models.vision.packs import COARSE, Reader
    from pipelines.door import pictures

    listing = pictures.listed(asked.files["test"])
    titles = listing.column("title")
    reader = Reader(asked.threads, COARSE) if model.packs else None
    at = 0
    for seen, good in pictures.blocks(listing, model.size or 32, asked.say):
        frame = pd.DataFrame({"title": titles[at : at + len(seen)]})
        if reader is not None:
            frame["pack_text"] = words(reader, listing, at, good)
        pictured = np.flatnonzero(good) if model.size else np.zeros(0, np.int64)
        found = model.of_parts(frame, seen[pictured], pictured)
        best = {name: shares.argmax(1) for name, (shares, _) in found.items()}
        columns: dict[str, list[pa.Array]] = {"pred": [], "conf": []}
        for name, (shares, _) in found.items():
            known = model.classes[name]
            columns["pred"].append(
                pa.array([known[one] if known else None for one in best[name]], pa.string())
            )
            columns["conf"].append(
                pa.array(shares.max(1).round(6) if known else np.zeros(len(seen)), pa.float64())
            )
        names = list(found)
        yield pa.record_batch(
            {
                "id": pa.array(listing.ids[at : at + len(seen)], pa.string()),
                "pred": pa.StructArray.from_arrays(columns["pred"], names),
                "conf": pa.StructArray.from_arrays(columns["conf"], names),
            }
        )
        at += len(seen)


VERB = Verb(
    summary="Fill in fields of products from picture, title and pack, by products whose fields a file shows.",
    files=(
        File(
            "train",
            "id, path (relative to the file's folder, or absolute), [title], <fields> (a column each; cells may be empty)",
        ),
        File("test", "id, path, [title]"),
    ),
    writes="id, pred {field: value}, conf {field: its probability}",
    fit=fit,
    predict=predict,
    asks=asked_pictures,
    options=(
        Option("fields", "the columns of train to learn, such as a,b,c"),
        Option("packs", "read the text on packs, too: it takes part of a second a picture", bool),
    ),
)

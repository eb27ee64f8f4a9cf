"""`extract`: values of fields as titles write them, learned from titles whose values are marked."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from models.language.settings import TaggerSettings
from pipelines.door.verb import Asked, File, Verb
from pipelines.harness import BadData, Params

if TYPE_CHECKING:
    from models.language.extraction import Extraction, Title

SECTION = "door-extract"
BLOCK = 256


class DoorExtractParams(Params):
    """text: see `pipelines.packaged.encoders`; empty: none."""

    text: str
    tagger: TaggerSettings


def fit(asked: Asked) -> "Extraction":
    from models.language.extraction import States
    from models.language.extraction_training import fit as fit_extraction
    from models.training.fitting import spoken
    from pipelines.packaged import unpacked
    from pipelines.packaged.encoders import text_encoder

    params = asked.params(SECTION, DoorExtractParams)
    ids, titles, values = read_rows(asked, "train", True)
    if not any(found for found in values):
        raise BadData(f"{asked.files['train']}, column values: no title has a value")
    encoder = None
    if params.text:
        folder = unpacked.folder("text", asked) if params.text == "package" else None
        encoder = text_encoder(params.text, folder)
    asked.say(f"{len(titles)} titles")
    return fit_extraction(
        titles, values, States(encoder), params.tagger, asked.seed, spoken(asked.say)
    )


def read_rows(
    asked: Asked, flag: str, taught: bool
) -> tuple[list[str], list["Title"], list[dict[str, list[str]]]]:
    """Ids, titles and the values of each; a title without `fields` is asked all that its category has in train."""
    from models.language.extraction import Title
    from pipelines.door import files

    path = asked.files[flag]
    needed = {"title": pa.string()} | ({} if taught else {"id": pa.string()})
    marked = ["values"] if taught else []
    table = files.read(path, needed, {"category": pa.string()}, marked)
    names = table.column_names
    count = table.num_rows

    def column(name: str) -> list[Any]:
        return table[name].to_pylist() if name in names else [None] * count

    values = [
        _values(path, row, cell)
        for row, cell in enumerate(column("values") if taught else [None] * count, start=1)
    ]
    titles = []
    for row, (title, category, fields) in enumerate(
        zip(column("title"), column("category"), column("fields"), strict=True), start=1
    ):
        titles.append(Title(title, category or "", _fields(path, row, fields)))
    return [str(one) for one in column("id")], titles, values


def _fields(path: Any, row: int, cell: Any) -> tuple[str, ...]:
    """The names in a list, or in a text with commas."""
    if cell is None:
        return ()
    names = cell if isinstance(cell, list) else str(cell).split(",")
    if not all(isinstance(name, str) for name in names):
        raise BadData(f"{path}, column fields, row {row}: {cell!r} is no list of names")
    return tuple(name.strip() for name in names if name.strip())


def _values(path: Any, row: int, cell: Any) -> dict[str, list[str]]:
    """Field to its values as written; a single text counts as one value."""
    if cell is None:
        return {}
    try:
        found = json.loads(cell) if isinstance(cell, str) else dict(cell)
        named = {
            str(name): [one] if isinstance(one, str) else [str(value) for value in one or []]
            for name, one in found.items()
        }
    except (ValueError, TypeError, AttributeError):
        raise BadData(
            f"{path}, column values, row {row}: {cell!r} is no object of field to list of values"
        ) from None
    return {name: found for name, found in named.items() if found}


def predict(model: "Extraction", asked: Asked) -> Iterator[pa.RecordBatch]:
    ids, titles, _ = read_rows(asked, "test", False)
    fields = sorted({name for title in titles for name in title.fields} | set(model.fields))
    for start in range(0, max(len(ids), 1), BLOCK):
        found = model.read(titles[start : start + BLOCK])
        columns = [
            pa.array([row[name][0] if name in row else None for row in found], pa.string())
            for name in fields
        ]
        sure = [
            pa.array(
                [round(row[name][1], 6) if name in row else None for row in found], pa.float64()
            )
            for name in fields
        ]
        yield pa.record_batch(
            {
                "id": pa.array(ids[start : start + BLOCK], pa.string()),
                "pred": pa.StructArray.from_arrays(columns, fields),
                "conf": pa.StructArray.from_arrays(sure, fields),
            }
        )


VERB = Verb(
    summary="Find values of fields in titles, as written, by titles whose values a file shows.",
    files=(
        File(
            "train",
            "id, title, [category], [fields (those that the category knows: a list, or a text with commas)], values "
            "({field: [as written in the title]}, or its JSON)",
        ),
        File("test", "id, title, [category], [fields]"),
    ),
    writes="id, pred {field: the value as written; absent where there is none}, conf {field: its probability}",
    fit=fit,
    predict=predict,
    asks=lambda asked: read_rows(asked, "test", False),
)

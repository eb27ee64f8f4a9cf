"""What a verb writes, by the suffix of the file: JSON lines, CSV or Parquet.

A cell may hold more than a text or a number. Parquet takes it as it is. A structure is an object in JSON lines, without its
null members, and a structure in a list is the list of its values: `[["red", 0.9], ["blue", 0.1]]`. CSV has the same as the
text of one cell.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from pipelines.door import separated
from pipelines.door.files import form
from pipelines.harness import BadConfig, Bug


class Writer(Protocol):
    """Takes batches, one after the other, until it is closed."""

    def write_batch(self, batch: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...


def writable(path: Path) -> None:
    """Raise `BadConfig` where the file could not be written at the end: its suffix, its folder."""
    form(path)
    if path.is_dir():
        raise BadConfig(f"{path}: this is a folder; name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _partial(path).touch()
        _partial(path).unlink()
    except OSError as error:
        raise BadConfig(f"{path}: it can't be written ({error.strerror}); name another") from None


def write(path: Path, batches: Iterable[pa.RecordBatch]) -> int:
    """Write all batches, of which there is one at least, beside `path`, and give them its name at the end.

    Returns the number of rows. Raises as `writable` does.
    """
    writable(path)
    make = WRITERS[form(path)]
    partial = _partial(path)
    rows = 0
    writer: Writer | None = None
    try:
        for batch in batches:
            if writer is None:
                writer = make(partial, batch.schema, separated.delimiter(path))
            writer.write_batch(batch)
            rows += batch.num_rows
        if writer is None:
            raise Bug(f"{path}: no batch came, so that its columns are not known")
        writer.close()
        writer = None
        partial.replace(path)
    finally:
        if writer is not None:
            writer.close()
        partial.unlink(missing_ok=True)
    return rows


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


class Lines:
    """Writes JSON lines; null cells are left out."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("w", encoding="utf-8")

    def write_batch(self, batch: pa.RecordBatch) -> None:
        spell = _speller(pa.struct(list(batch.schema)))
        self.file.writelines(_text(spell(row)) + "\n" for row in batch.to_pylist())

    def close(self) -> None:
        self.file.close()


class Separated:
    """Writes CSV; what a cell can't hold is its JSON."""

    def __init__(self, path: Path, schema: pa.Schema, delimiter: str) -> None:
        self.schema = pa.schema(
            [
                field.with_type(pa.string()) if pa.types.is_nested(field.type) else field
                for field in schema
            ]
        )
        self.writer = pyarrow.csv.CSVWriter(
            path, self.schema, write_options=pyarrow.csv.WriteOptions(delimiter=delimiter)
        )

    def write_batch(self, batch: pa.RecordBatch) -> None:
        columns = [
            _spelled(column) if pa.types.is_nested(column.type) else column
            for column in batch.columns
        ]
        self.writer.write_batch(pa.record_batch(columns, schema=self.schema))

    def close(self) -> None:
        self.writer.close()


WRITERS: dict[str, Callable[[Path, pa.Schema, str], Writer]] = {
    "lines": lambda path, schema, delimiter: Lines(path),
    "csv": Separated,
    "parquet": lambda path, schema, delimiter: pq.ParquetWriter(path, schema),
}


def _spelled(column: pa.Array) -> pa.Array:
    spell = _speller(column.type)
    values = [None if value is None else _text(spell(value)) for value in column.to_pylist()]
    return pa.array(values, pa.string())


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _speller(kind: pa.DataType) -> Callable[[Any], Any]:
    """How a value of a type, none of them null, is given to JSON."""
    if pa.types.is_struct(kind):
        members = {field.name: _speller(field.type) for field in kind}
        return lambda value: {
            name: spell(value[name]) for name, spell in members.items() if value[name] is not None
        }
    if pa.types.is_list(kind):
        spell = _speller(kind.value_type)
        if pa.types.is_struct(kind.value_type):
            spell = _row_speller(kind.value_type)
        return lambda value: [None if one is None else spell(one) for one in value]
    return lambda value: value


def _row_speller(kind: pa.StructType) -> Callable[[Any], Any]:
    spells = [(field.name, _speller(field.type)) for field in kind]
    return lambda value: [
        None if value[name] is None else spell(value[name]) for name, spell in spells
    ]

"""Plain files by their suffix: Parquet, CSV (.csv, .tsv), JSON lines (.jsonl, .ndjson, .json)."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from pipelines.harness import BadConfig, BadData

SUFFIXES = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".json": "lines",
}


def form(path: Path) -> str:
    """`parquet`, `csv` or `lines`. Raises `BadConfig` for another suffix."""
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise BadConfig(f"{path}: the suffix is none of {', '.join(SUFFIXES)}")
    return found


def read(
    path: Path, required: Mapping[str, pa.DataType], optional: Mapping[str, pa.DataType] = {}
) -> pa.Table:
    """The file's table; the named columns come in the given types, others as they are.

    Cells of CSV are texts unless a type is asked for, so that ids keep their leading zeros; an empty cell is null
    where a number is asked for and an empty text otherwise.
    Raises `BadData` for an unreadable file, a required column that is absent, empty or not of its type.
    """
    kind = form(path)
    if not path.is_file():
        raise BadData(f"{path}: there is no such file")
    try:
        table = {"parquet": pq.read_table, "csv": _csv, "lines": _lines}[kind](path)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadData(f"{path}: {str(error).splitlines()[0]}") from None
    for name in required:
        if name not in table.column_names:
            raise BadData(
                f"{path}: column {name!r} is missing; the file has: {', '.join(table.column_names)}"
            )
    for name, wanted in {**required, **optional}.items():
        if name in table.column_names:
            place = table.column_names.index(name)
            table = table.set_column(place, name, _cast(path, name, table[name], wanted))
    for name in required:
        if table[name].null_count:
            row = pc.index(pc.is_null(table[name]), True).as_py() + 1
            raise BadData(f"{path}, column {name}, row {row}: there is no value; fill it in")
    return table


def _csv(path: Path) -> pa.Table:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open("rb") as file:
        head = file.readline().decode("utf-8-sig", "replace")
    names = next(iter(_split(head, delimiter)), [])
    return pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )


def _split(line: str, delimiter: str) -> Iterable[list[str]]:
    import csv

    return csv.reader([line], delimiter=delimiter)


def _lines(path: Path) -> pa.Table:
    """Objects by line; a key that a line lacks is null. Values of mixed make are told by row."""
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for at, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise BadData(f"{path}, row {at}: this is no JSON ({error})") from None
            if not isinstance(row, dict):
                raise BadData(f"{path}, row {at}: a JSON object is needed, such as {{...}}")
            rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: _column(path, name, [row.get(name) for row in rows]) for name in names})


def _column(path: Path, name: str, values: list[Any]) -> pa.Array:
    """Texts, numbers or lists as they are; objects (whose keys differ from row to row) as their JSON text."""
    makes = {type(value) for value in values if value is not None}
    if dict in makes:
        values = [
            None if value is None else json.dumps(value, ensure_ascii=False) for value in values
        ]
    elif str in makes and makes & {int, float, bool}:
        values = [value if value is None else str(value) for value in values]
    try:
        return pa.array(values)
    except UnicodeEncodeError:
        # Half of a pair of surrogates is no sign that UTF-8 has.
        return pa.array(
            [
                value if value is None else value.encode("utf-8", "replace").decode()
                for value in values
            ]
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise BadData(
            f"{path}, column {name}: values of different makes ({', '.join(sorted(m.__name__ for m in makes))})"
        ) from None


def _cast(path: Path, name: str, column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    """The column in the wanted type, or the first row that can't be."""
    if column.type == wanted:
        return column
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) and not pa.types.is_string(wanted):
        column = pc.if_else(pc.equal(pc.utf8_trim_whitespace(column), ""), None, column)
    try:
        return column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        for row, value in enumerate(column, start=1):
            try:
                pa.scalar(value.as_py(), column.type).cast(wanted)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                raise BadData(
                    f"{path}, column {name}, row {row}: {value.as_py()!r} is no {wanted}"
                ) from None
        raise


def write(path: Path, batches: Iterable[pa.RecordBatch]) -> int:
    """Write all batches beside `path` and give them its name at the end; the number of rows.

    JSON lines leave out null cells. Raises `BadConfig` for an unknown suffix, before anything is computed.
    """
    kind = form(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    rows = 0
    try:
        if kind == "lines":
            with partial.open("w", encoding="utf-8") as file:
                for batch in batches:
                    rows += batch.num_rows
                    file.writelines(
                        json.dumps(_whole(row), ensure_ascii=False) + "\n"
                        for row in batch.to_pylist()
                    )
        else:
            rows = _tables(kind, partial, batches)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return rows


def _tables(kind: str, path: Path, batches: Iterable[pa.RecordBatch]) -> int:
    rows, writer = 0, None
    try:
        for batch in batches:
            if writer is None:
                make = pq.ParquetWriter if kind == "parquet" else pyarrow.csv.CSVWriter
                writer = make(path, batch.schema)
            writer.write_batch(batch)
            rows += batch.num_rows
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        path.touch()
    return rows


def _whole(value: Any) -> Any:
    """A row without its null cells; Arrow's lists of pairs (a map) as an object."""
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items() if one is not None}
    if isinstance(value, list) and value and all(isinstance(one, tuple) for one in value):
        return {key: _whole(one) for key, one in value}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return value

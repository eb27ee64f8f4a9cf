"""Plain files by their suffix: Parquet, CSV (.csv, .tsv), JSON lines (.jsonl, .ndjson, .json).

Rows are counted from 1; the header of CSV and empty lines are none.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.door import json_lines, separated
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


def there(path: Path) -> None:
    """Raise `BadConfig` for a suffix that is unknown, `BadData` for a file that is not there."""
    form(path)
    if not path.is_file():
        raise BadData(f"{path}: there is no such file")


def read(
    path: Path,
    required: Mapping[str, pa.DataType | None],
    optional: Mapping[str, pa.DataType] = {},
    present: Collection[str] = (),
) -> pa.Table:
    """The file's table; the named columns come in the given types (None: as it is), others as they are.

    required: there, and every cell filled. present: there, cells may be empty. Cells of CSV are texts unless a type is
    asked for, so that ids keep their leading zeros; an empty cell is null where a number is asked for and an empty text
    otherwise. Whole numbers in a column of texts are their digits. JSON lines without a row have the named columns.
    Raises `BadData` for an unreadable file, a required column that is absent, empty or not of its type.
    """
    there(path)
    try:
        table = {"parquet": _parquet, "csv": separated.read, "lines": json_lines.read}[form(path)](
            path
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadData(f"{path}: {str(error).splitlines()[0]}") from None
    wanted = {**required, **optional}
    if form(path) == "lines" and not len(table):
        names = dict.fromkeys([*required, *present])
        table = pa.table({name: pa.array([], wanted.get(name) or pa.string()) for name in names})
    names = table.column_names
    for name in (*required, *present):
        if name not in names:
            raise BadData(f"{path}: column {name!r} is missing; the file has: {', '.join(names)}")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadData(f"{path}: there are two columns {twice!r}; name each once")
    for name, kind in wanted.items():
        if name in names and kind is not None:
            table = table.set_column(names.index(name), name, cast(path, name, table[name], kind))
    for name in required:
        if table[name].null_count:
            row = pc.index(pc.is_null(table[name]), True).as_py() + 1
            raise BadData(f"{path}, column {name}, row {row}: there is no value; fill it in")
    return table


def _parquet(path: Path) -> pa.Table:
    """Texts as one type, however their lengths are written."""
    table = pq.read_table(path)
    for at, field in enumerate(table.schema):
        if pa.types.is_large_string(field.type) or pa.types.is_string_view(field.type):
            table = table.set_column(at, field.name, table.column(at).cast(pa.string()))
    return table


def cast(path: Path, name: str, column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    """The column in the wanted type. Raises `BadData` naming the first row that can't be."""
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

"""CSV (.csv) and tab-separated (.tsv) files, in UTF-8: every cell a text."""

import codecs
import contextlib
import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from pipelines.harness import BadData

BLOCK = 1 << 24
"""Bytes read at a time: no cell is longer."""


def delimiter(path: Path) -> str:
    """What stands between cells, by the suffix."""
    return "\t" if path.suffix.lower() == ".tsv" else ","


def read(path: Path) -> pa.Table:
    """The file's table. Raises `BadData` naming the row of a ragged one, row and column of what is no UTF-8."""
    names = next(_records(path), [])
    for at, name in enumerate(names, start=1):
        if not _is_utf8(name):
            raise BadData(f"{path}, header, column {at}: this is not UTF-8; save the file as UTF-8")
    try:
        return pyarrow.csv.read_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(block_size=BLOCK),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter(path), newlines_in_values=True
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={_text(name): pa.string() for name in names},
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        _tell(path, [_text(name) for name in names])
        raise


def _records(path: Path) -> Iterator[list[str]]:
    """The file's records, header first, each byte a sign: what delimits and quotes is the same in UTF-8."""
    with path.open("rb") as file:
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        signs = io.TextIOWrapper(file, encoding="latin-1", newline="")
        with contextlib.suppress(csv.Error):
            for record in csv.reader(signs, delimiter=delimiter(path)):
                if record:
                    yield record


def _text(cell: str) -> str:
    return cell.encode("latin-1").decode()


def _is_utf8(cell: str) -> bool:
    try:
        _text(cell)
    except UnicodeDecodeError:
        return False
    return True


def _tell(path: Path, names: list[str]) -> None:
    """Raise `BadData` for the first row that has other cells than the header, or a cell that is not UTF-8."""
    records = _records(path)
    next(records, None)
    for row, record in enumerate(records, start=1):
        if len(record) != len(names):
            raise BadData(
                f"{path}, row {row}: {len(record)} cells where the header has {len(names)}; "
                f"{'fill in what is missing' if len(record) < len(names) else 'quote cells that hold the delimiter'}"
            )
        for name, cell in zip(names, record, strict=True):
            if not _is_utf8(cell):
                raise BadData(
                    f"{path}, column {name}, row {row}: this is not UTF-8; save the file as UTF-8"
                )

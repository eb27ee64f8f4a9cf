"""Small tables that a person keeps in the project's folder, as CSV: read whole, refused by row."""

import csv
from collections.abc import Sequence
from pathlib import Path

from pipelines.harness import BadData


def read_rows(path: Path, columns: Sequence[str], filled: Sequence[str]) -> list[list[str]]:
    """The cells of each row; nothing where there is no file. filled: columns whose cells may not be empty.

    Raises `BadData` with the row (from 1) and what to do.
    """
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    if not rows or tuple(rows[0]) != tuple(columns):
        found = ", ".join(rows[0]) if rows else "none"
        raise BadData(f"{path}: the columns must be {', '.join(columns)}; found: {found}")
    for row, cells in enumerate(rows[1:], start=1):
        if len(cells) != len(columns):
            raise BadData(f"{path}, row {row}: {len(cells)} cells: write {len(columns)}")
        for name, cell in zip(columns, cells, strict=True):
            if name in filled and not cell:
                raise BadData(f"{path}, row {row}, column {name}: empty: fill it or drop the row")
    return rows[1:]

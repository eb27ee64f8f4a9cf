"""JSON lines, in UTF-8: an object a line, read in blocks, so that memory is that of the table."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.harness import BadData

BLOCK = 1 << 22
"""Bytes of lines that are Python's objects at a time."""
NUMBERS = {int, float, bool}
MAKES = {str: "a text", int: "a number", float: "a number", bool: "true or false", list: "a list"}

Makes = dict[str, dict[type, int]]
"""Of each column the makes of its values, and the first row of each."""


def read(path: Path) -> pa.Table:
    """The file's table; a key that a line lacks is null.

    Objects, whose keys differ from row to row, come as their JSON text, and numbers as texts where the column has texts,
    too: what a column holds is known at the end. Where a later block makes another thing of it, all is read again.
    Raises `BadData` for a line that is no object or not UTF-8, and for values of makes that don't go together.
    """
    makes: Makes = {}
    tables: list[pa.Table] = []
    stale = True
    while stale:
        tables, stale, row = [], False, 1
        for rows in _blocks(path):
            before = {name: _kind(set(found)) for name, found in makes.items()}
            _gather(makes, rows, row)
            _together(path, makes)
            # A column that no earlier block had is null there, whatever it is.
            stale |= any(_kind(set(makes[name])) != kind for name, kind in before.items())
            if not stale:
                tables.append(_table(path, makes, rows, row))
            row += len(rows)
    try:
        return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise BadData(f"{path}: lists of different makes ({str(error).splitlines()[0]})") from None


def _blocks(path: Path) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    size, at = 0, 0
    with path.open("rb") as file:
        for line in file:
            text = line.removeprefix(b"\xef\xbb\xbf").strip() if at == 0 else line.strip()
            if not text:
                continue
            at += 1
            rows.append(_object(path, at, text))
            size += len(text)
            if size >= BLOCK:
                yield rows
                rows, size = [], 0
    if rows:
        yield rows


def _object(path: Path, row: int, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line.decode())
    except UnicodeDecodeError:
        raise BadData(
            f"{path}{_where(line)}, row {row}: this is not UTF-8; save the file as UTF-8"
        ) from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadData(f"{path}, row {row}: this is no JSON ({error})") from None
    if not isinstance(found, dict):
        raise BadData(f"{path}, row {row}: a JSON object is needed, such as {{...}}")
    return found


def _where(line: bytes) -> str:
    """The column of a line whose value is not UTF-8, as a part of a message; nothing where no JSON tells it."""
    try:
        found = json.loads(line.decode("latin-1"))
    except json.JSONDecodeError:
        return ""
    for name, value in found.items() if isinstance(found, dict) else ():
        try:
            json.dumps(value, ensure_ascii=False).encode("latin-1").decode()
        except UnicodeDecodeError:
            return f", column {name}"
        except UnicodeEncodeError:
            continue
    return ""


def _kind(makes: set[type]) -> str:
    """How a column of these makes is kept: `objects` as JSON, `texts`, or as it is."""
    if dict in makes:
        return "objects"
    return "texts" if str in makes and makes & NUMBERS else ""


def _gather(makes: Makes, rows: list[dict[str, Any]], start: int) -> None:
    """Add the makes of these rows, the first of which is row `start` of the file."""
    for row, cells in enumerate(rows, start):
        for name, value in cells.items():
            found = makes.setdefault(name, {})
            if value is not None:
                found.setdefault(type(value), row)


def _together(path: Path, makes: Makes) -> None:
    """Raise `BadData` for a column whose values can't be of one type."""
    for name, rows in makes.items():
        found = set(rows)
        if len(found) < 2 or _kind(found) == "objects" or found == {int, float}:
            continue
        if list in found or str not in found:
            first, *_, last = rows
            raise BadData(
                f"{path}, column {name}, row {rows[last]}: {MAKES[last]}, but row {rows[first]} has {MAKES[first]}; "
                "write all in one way"
            )


def _table(path: Path, makes: Makes, rows: list[dict[str, Any]], start: int) -> pa.Table:
    return pa.table(
        {
            name: _column(path, name, [row.get(name) for row in rows], _kind(set(found)), start)
            for name, found in makes.items()
        }
    )


def _column(path: Path, name: str, values: list[Any], kind: str, start: int) -> pa.Array:
    if kind:
        spell = str if kind == "texts" else _spelled
        values = [None if value is None else spell(value) for value in values]
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
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        raise _strange(path, name, values, start) from None


def _spelled(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _strange(path: Path, name: str, values: list[Any], start: int) -> BadData:
    """Names the first value that does not go with those before it."""
    known: Any = None
    for row, value in enumerate(values, start):
        try:
            pa.array([known, value])
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            return BadData(
                f"{path}, column {name}, row {row}: {value!r} does not go with the values before it; write all in one "
                "way, and numbers of more than 64 bits as texts"
            )
        known = value or known
    return BadData(f"{path}, column {name}: values of different makes")

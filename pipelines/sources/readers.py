"""Tables as their files have them, by format: every cell as text where the file has no types of its own.

CSV, JSON lines and Parquet are streamed by the engine. What it can't read (other encodings, feeds, archives, queries,
sequences) is first written, streaming too, as one of these three into the folder of the run, which is removed at the end.
"""

import ast
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import engine
from pipelines.harness import BadData
from pipelines.sources import files
from pipelines.sources.shop import Part

SUFFIXES = {
    "csv": (".csv", ".tsv", ".txt", ".tab", ".inter", ".item", ".user"),
    "jsonl": (".jsonl", ".json", ".ndjson"),
    "parquet": (".parquet", ".pq"),
    "feed": (".xml",),
    "map": (".json",),
    "sequences": (".txt",),
    "archive": (".zip", ".tar", ".tgz"),
}
"""What of a folder a format reads."""
LOOKED_AT = 1000
"""Lines of JSON that tell which fields there are."""
LAST_MOMENT = 978_220_800
"""Where only the order of events is known: the moment of each user's last one, 2000-12-31, in seconds since 1970."""
APART, COUNTED = 28, 13
"""Days between two events of a user there, and how many of the last ones lie so; older ones lie a day apart."""


@dataclass(frozen=True)
class Raw:
    """Files of equal columns. files: as the engine reads them, to where they come from. open: some as one table."""

    files: dict[Path, Path]
    columns: list[str]
    open: Callable[[Iterable[Path]], ibis.Table]
    nested: bool = False
    """Whether a column `a.b` may be the field b of the column a."""


def find(part: Part, root: Path) -> list[Path]:
    """The files of a part, in order. Raises `MissingResource` for files that are not there."""
    return files.find(root, part.files, SUFFIXES.get(part.format, ()))


def read(
    connection: Any,
    part: Part,
    root: Path,
    spill: Path,
    chosen: list[Path] | None = None,
    fields: Iterable[str] = (),
) -> list[Raw]:
    """What the files of a part hold, one `Raw` for each set of columns.

    spill: a folder for what has to be rewritten. chosen: some of the files; None: all. fields: those that JSON is known to
    have besides. Raises `MissingResource` for files that are not there, `BadData`
    for those that are not what `format` says.
    """
    if part.format == "sql":
        from pipelines.sources.sql import as_parquet

        target = as_parquet(part.url, part.query, spill / "query.parquet", root)
        return parquet(connection, {target: Path(part.query)})
    found = find(part, root) if chosen is None else chosen
    if part.format in ("archive", "pictures"):
        from pipelines.sources.pictures import as_parquet as pack

        target = pack(found, part, root, spill / "pictures.parquet")
        return parquet(connection, {target: found[0].parent})
    if part.format == "parquet":
        return parquet(connection, {path: path for path in found})
    copies = {
        _readable(path, part, spill / f"{at:06d}.{_written(part)}"): path
        for at, path in enumerate(found)
    }
    if part.format in ("csv", "sequences"):
        return delimited(connection, copies, part)
    return json_lines(connection, copies, fields)


def _written(part: Part) -> str:
    return "csv" if part.format in ("csv", "sequences") else "jsonl"


def _readable(path: Path, part: Part, target: Path) -> Path:
    """The file as CSV or JSON lines in UTF-8: itself where it is, else rewritten as `target`."""
    encoding = files.encoding_of(path, part.encoding)
    if part.format == "feed":
        from pipelines.sources.feed import products

        return _write_json(products(path), target)
    if part.format == "map":
        return _write_json(pairs(path, encoding), target)
    if part.format == "sequences":
        return _write_sequences(path, encoding, target)
    if part.loose:
        return _write_json(literals(path, encoding), target)
    return files.as_utf8(path, encoding, target)


def _write_json(rows: Iterable[dict[str, Any]], target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return target


def literals(path: Path, encoding: str) -> Iterator[dict[str, Any]]:
    """The dictionaries of a file that has one a line, as Python prints them.

    Raises `BadData` naming the line that is none; nothing is evaluated but literals.
    """
    for number, line in enumerate(files.lines_of(path, encoding), 1):
        try:
            row = ast.literal_eval(line)
            if not isinstance(row, dict):
                raise ValueError("no dictionary")
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise BadData(f"{path}, line {number}: {error}: correct it or take it out") from None
        yield row


def pairs(path: Path, encoding: str) -> Iterator[dict[str, Any]]:
    """The entries of one JSON object, as `key` and `value`; it is held in memory."""
    try:
        found = json.loads("".join(files.decoded(path, encoding)).lstrip("\ufeff"))
    except ValueError as error:
        raise BadData(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadData(f"{path}: not one JSON object of keys and values: look at its format")
    for key, value in found.items():
        yield {"key": key, "value": value}


def _write_sequences(path: Path, encoding: str, target: Path) -> Path:
    """Lines `user item item …`, in order of time, as CSV of user, item, place and a made moment.

    The moments say what came before what, and nothing else. All users end at the same one, and events lie as far apart
    as the split's windows are long, so that test holds everyone's last event, validation the one before, training the rest.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", newline="") as file:
        file.write("user,item,place,moment\n")
        for number, line in enumerate(files.lines_of(path, encoding), 1):
            user, *items = line.split() or [""]
            if not items or '"' in line or "," in line:
                raise BadData(
                    f"{path}, line {number}: not `user item item …` between spaces: correct it"
                )
            for place, item in enumerate(items):
                later = len(items) - 1 - place
                days = APART * min(later, COUNTED) + max(later - COUNTED, 0)
                file.write(f"{user},{item},{place},{LAST_MOMENT - days * 86_400}\n")
    return target


def delimited(connection: Any, copies: dict[Path, Path], part: Part) -> list[Raw]:
    """CSV and its like: names from each file's first record, all cells as text."""
    plain = part.format == "sequences"
    delimiter, quote = ("," if plain else part.delimiter), ('"' if plain else part.quote)
    groups: dict[tuple[str, ...], dict[Path, Path]] = {}
    for copy, path in copies.items():
        names = tuple(files.header(copy, "utf-8", delimiter, quote))
        groups.setdefault(names, {})[copy] = path

    def opener(names: tuple[str, ...]) -> Callable[[Iterable[Path]], ibis.Table]:
        def open_files(paths: Iterable[Path]) -> ibis.Table:
            return engine.read_delimited(connection, paths, names, delimiter, quote)

        return open_files

    return [Raw(found, list(names), opener(names)) for names, found in groups.items()]


def json_lines(connection: Any, copies: dict[Path, Path], known: Iterable[str]) -> list[Raw]:
    """JSON lines, or one list of objects a file: all fields that are known or the first lines have, as text."""
    fields = dict.fromkeys(known)
    shapes = set()
    for copy, path in copies.items():
        listed = _is_list(copy)
        shapes.add(listed)
        if not listed:
            for number, line in enumerate(islice(files.lines_of(copy, "utf-8"), LOOKED_AT), 1):
                fields.update(dict.fromkeys(_fields(line, path, number)))
    if len(shapes) > 1:
        raise BadData("JSON lines and JSON lists are mixed: name them as parts of their own")
    listed = shapes == {True}
    if listed:
        fields |= dict.fromkeys(engine.read_json(connection, copies, [], listed).columns)

    def open_files(paths: Iterable[Path]) -> ibis.Table:
        return engine.read_json(connection, paths, fields, listed)

    return [Raw(copies, list(fields), open_files, nested=True)]


def _is_list(path: Path) -> bool:
    with files.open_bytes(path) as stream:
        return stream.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def _fields(line: str, path: Path, number: int) -> list[str]:
    if not line.strip():
        return []
    try:
        row = json.loads(line.lstrip("\ufeff"))
    except ValueError as error:
        raise BadData(
            f"{path}, line {number}: not JSON: {error}. Correct the line; dictionaries as Python prints them are read "
            "with `loose: true`"
        ) from None
    if not isinstance(row, dict):
        raise BadData(f"{path}, line {number}: no JSON object: one object a line is asked for")
    return list(row)


def parquet(connection: Any, copies: dict[Path, Path]) -> list[Raw]:
    """Parquet: with the types that the files have."""
    groups: dict[tuple[tuple[str, str], ...], dict[Path, Path]] = {}
    for copy, path in copies.items():
        try:
            schema = pq.read_schema(copy)
        except (pa.ArrowInvalid, OSError) as error:
            raise BadData(f"{path} is no Parquet file: {error}. Write it again") from None
        key = tuple((field.name, str(field.type)) for field in schema)
        groups.setdefault(key, {})[copy] = path

    def open_files(paths: Iterable[Path]) -> ibis.Table:
        return engine.read_parquet(connection, paths)

    return [Raw(found, [name for name, _ in key], open_files) for key, found in groups.items()]


def complaint(error: Exception, raw: Raw) -> str:
    """What the engine said about a file, in one line, under the name that the user knows."""
    text = str(error).partition("LINE 1:")[0]
    for copy, path in raw.files.items():
        text = text.replace(str(copy), str(path))
    kept = [line.strip() for line in text.splitlines() if line.strip()]
    where = next((line for line in kept if line.startswith("file = ")), "")
    kept = [line for line in kept if " = " not in line and not line.startswith(("*", "Possible"))]
    return f"{where.removeprefix('file = ')}: {' '.join(kept)}".removeprefix(": ")


def refuse(error: Exception, raws: list[Raw]) -> BadData:
    """The failure of reading as one that names file, row and cure."""
    raw = next((raw for raw in raws if any(str(copy) in str(error) for copy in raw.files)), raws[0])
    names = ", ".join(str(path) for path in raw.files.values())[:300]
    return BadData(
        f"{complaint(error, raw)}\nread from: {names}\nhow to fix it: correct the line, or what `shop` in params.yaml "
        "says of the file: its delimiter, quote and encoding"
    )

"""What files are, by their content: format, encoding, delimiter, columns and their first rows."""

import csv
import functools
import json
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from pipelines.harness import BadData, MissingResource, VitrineError
from pipelines.sources import files, readers
from pipelines.sources.pictures import LABEL, PICTURES, wanted
from pipelines.sources.shop import Part

HEAD = 1 << 20
ROWS = 20_000
"""Rows that are looked at."""
DELIMITERS = ("\t", ";", ",", "|")
CJK = re.compile("[\u4e00-\u9fff]+")
MOST_OF_A_CLASS = 256
"""Bytes of a file that names a picture's class."""
FEW_KEYS = 20
"""One JSON object with fewer keys is a row, no table."""


@dataclass(frozen=True)
class Look:
    """Files of one kind. part: how they are read, without a mapping. rows: the first of them, as Arrow has them."""

    part: Part
    columns: list[str]
    rows: pa.Table
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its paths, for people."""
        return ", ".join(self.part.files) or self.part.query

    def texts(self, column: str) -> list[str]:
        """The cells of a column that are not empty, as text."""
        values = self.rows.column(column).to_pylist()
        return [str(value).strip() for value in values if value is not None and str(value).strip()]

    def column(self, name: str) -> str:
        """The column of this name as its files write it, whatever the case."""
        return next(column for column in self.columns if column.lower() == name.lower())

    def typed(self, column: str) -> pa.DataType:
        return self.rows.schema.field(column).type


@dataclass(frozen=True)
class Unusable:
    """Files that can't be used, and why."""

    name: str
    why: str


def look(connection: Any, paths: list[str], spill: Path) -> tuple[list[Look], list[Unusable]]:
    """What lies at `paths`: files of a folder with equal format and columns are taken together.

    Raises `MissingResource` for a path where nothing is.
    """
    looks: list[Look] = []
    refused: list[Unusable] = []
    for at, (pattern, found) in enumerate(_groups(paths)):
        try:
            part, notes = _part(pattern, found)
            looks.append(_look(connection, part, found, spill / f"look-{at}", notes))
        except VitrineError as error:
            refused.append(Unusable(pattern, str(error)))
    return looks, refused


def _groups(paths: list[str]) -> list[tuple[str, list[Path]]]:
    """(what to name in `files`, its files): folders are taken apart into files, parts and pictures."""
    groups: list[tuple[str, list[Path]]] = []
    for path in paths:
        place = Path(path)
        if "://" in path:
            raise MissingResource(
                f"{path}: databases are not looked at; name them in params.yaml (docs/sources.md)"
            )
        if not place.exists():
            raise MissingResource(f"{path}: nothing is there")
        if place.is_file():
            groups.append((path, [place]))
            continue
        inside = [file for file in files.find(Path(), [path])]
        pictures = [file for file in inside if file.suffix.lower() in PICTURES]
        if pictures:
            tops = {file.relative_to(place).parts[0] for file in pictures}
            deep = len(tops) == 1 and (place / next(iter(tops))).is_dir()
            groups.append((str(place / next(iter(tops))) if deep else path, pictures))
        by_folder: dict[tuple[Path, str], list[Path]] = {}
        for file in inside:
            if file.suffix.lower() not in PICTURES:
                by_folder.setdefault((file.parent, files.kind(file)), []).append(file)
        for (folder, _), members in by_folder.items():
            groups += _apart(folder, members)
    return groups


def _apart(folder: Path, members: list[Path]) -> list[tuple[str, list[Path]]]:
    """Parts of one table (names that differ in their numbers alone) under one glob, other files by themselves."""
    alike: dict[str, list[Path]] = {}
    for file in members:
        alike.setdefault(re.sub(r"\d+", "*", file.name), []).append(file)
    found: list[tuple[str, list[Path]]] = []
    for name, same in alike.items():
        if len(same) > 1:
            found.append((str(folder / re.sub(r"\*(?:[-_.]?\*)*", "*", name)), same))
        else:
            found.append((str(same[0]), same))
    return found


def _part(pattern: str, found: list[Path]) -> tuple[Part, list[str]]:
    """How files are read; with words on what that was seen by. Raises `BadData` where nothing reads them."""
    path = found[0]
    kind = files.kind(path)
    if path.suffix.lower() in PICTURES:
        return Part(format="pictures", files=[pattern]), [f"{len(found):,} pictures"]
    if kind in (".parquet", ".pq"):
        return Part(format="parquet", files=[pattern]), []
    if kind in readers.SUFFIXES["archive"]:
        return Part(format="archive", files=[pattern]), []
    if kind == ".xml":
        return Part(format="feed", files=[pattern]), []
    if kind not in (*readers.SUFFIXES["csv"], *readers.SUFFIXES["jsonl"]):
        raise BadData(f"nothing reads files that end in {kind or 'nothing'}")
    encoding, notes = guess_encoding(path)
    head = _head(path, encoding)
    if kind in readers.SUFFIXES["jsonl"]:
        part, more = _json_part(pattern, path, head, encoding)
        return part, notes + more
    lines = [line for line in head.splitlines()[:50] if line.strip()]
    if _sequences(lines):
        notes.append(
            "lines of a user and a varying number of items: sequences, their order is the time"
        )
        return Part(format="sequences", files=[pattern], encoding=encoding), notes
    delimiter = guess_delimiter(lines)
    plain = ":token" in lines[0] if lines else False
    return Part(
        format="csv",
        files=[pattern],
        encoding=encoding,
        delimiter=delimiter,
        quote="" if plain else '"',
    ), notes


def _head(path: Path, encoding: str) -> str:
    return next(files.decoded(path, encoding), "").lstrip("\ufeff")


def guess_encoding(path: Path) -> tuple[str, list[str]]:
    """The encoding by mark, else UTF-8 where it decodes, else GB18030 where that gives Chinese, else CP1252."""
    marked = files.encoding_of(path, "") if _marked(path) else ""
    if marked:
        return marked, [f"its byte order mark tells {marked}"]
    with files.open_bytes(path) as stream:
        head = stream.read(HEAD)
    cut = head[: head.rfind(b"\n") + 1] or head
    try:
        cut.decode("utf-8")
        return "utf-8", []
    except UnicodeDecodeError:
        pass
    try:
        chinese = CJK.findall(cut.decode("gb18030"))
    except UnicodeDecodeError:
        chinese = []
    # Western letters read so give single signs among Latin ones, Chinese gives runs of them.
    if sum(len(run) for run in chinese if len(run) > 1) > 0.8 * sum(map(len, chinese)):
        return "gb18030", ["not UTF-8, and Chinese as GB18030"]
    return "cp1252", [
        "not UTF-8: taken as CP1252 (Western Europe); see whether its letters are right"
    ]


def _marked(path: Path) -> bool:
    with files.open_bytes(path) as stream:
        head = stream.read(4)
    return any(head.startswith(mark) for mark, _ in files.MARKS)


def guess_delimiter(lines: list[str]) -> str:
    """The delimiter that splits the header into most columns."""
    if not lines:
        return ","
    counts = {mark: len(next(csv.reader([lines[0]], delimiter=mark))) for mark in DELIMITERS}
    return max(DELIMITERS, key=lambda mark: counts[mark]) if max(counts.values()) > 1 else ","


def _sequences(lines: list[str]) -> bool:
    words = [line.split() for line in lines]
    return (
        len(words) > 1
        and all(len(row) >= 2 for row in words)
        and len({len(row) for row in words}) > 2
        and all(re.fullmatch(r"[\w-]+", word) for row in words for word in row)
    )


def _json_part(pattern: str, path: Path, head: str, encoding: str) -> tuple[Part, list[str]]:
    first, _, rest = head.partition("\n")
    if head.lstrip().startswith("["):
        return Part(format="jsonl", files=[pattern], encoding=encoding), []
    try:
        row = json.loads(first)
        if rest.strip() or len(row) < FEW_KEYS:
            return Part(format="jsonl", files=[pattern], encoding=encoding), []
    except ValueError:
        if re.match(r"\s*\{\s*u?'", first):
            note = ["dictionaries as Python prints them"]
            return Part(format="jsonl", files=[pattern], encoding=encoding, loose=True), note
    return Part(format="map", files=[pattern], encoding=encoding), [
        "one JSON object of keys and values"
    ]


def _look(connection: Any, part: Part, found: list[Path], spill: Path, notes: list[str]) -> Look:
    if part.format in ("archive", "pictures"):
        classes: dict[str, str] = {}
        names = [str(path) for path in found]
        if part.format == "archive":
            names, classes = archive_names(found)
        if not names:
            raise BadData("no picture is inside: JPEG, PNG and WebP are read")
        rows = pa.table(
            {
                "path": names,
                "stem": [Path(name).stem for name in names],
                "folder": [Path(name).parent.name for name in names],
                "cls": [classes.get(str(Path(name).with_suffix("")), "") for name in names],
            }
        )
        return Look(part, ["path", "stem", "folder", "cls", "bytes"], rows, notes)
    raws = readers.read(connection, part, Path(), spill)
    if len(raws) > 1:
        notes = [*notes, f"{len(raws)} sets of columns among its files"]
    rows = raws[0].open(raws[0].files).limit(ROWS).to_pyarrow()
    if not rows.num_rows:
        raise BadData("it has no rows")
    return Look(part, raws[0].columns, rows, notes)


def archive_names(found: list[Path]) -> tuple[list[str], dict[str, str]]:
    """The names of the pictures in archives, at most `ROWS`, and the class that a file beside one tells.

    The class is by the name without its suffix.
    """
    names: list[str] = []
    classes: dict[str, str] = {}
    for path in found:
        for name, start in _members(path):
            if not wanted(path, name):
                continue
            if name.lower().endswith(LABEL):
                classes[str(Path(name).with_suffix(""))] = (
                    start().decode("utf-8", "replace").strip()
                )
            else:
                names.append(name)
        if len(names) >= ROWS:
            break
    return names[:ROWS], classes


def _members(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """The names in one archive, and what gives the first bytes of each. Raises `BadData` for a damaged tar."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            for info in packed.infolist():
                if not info.is_dir():
                    yield info.filename, functools.partial(_start, packed.open, info)
        return
    try:
        with tarfile.open(path, "r|*") as tar:
            for entry in tar:
                if entry.isreg():
                    yield entry.name, functools.partial(_start, tar.extractfile, entry)
    except tarfile.TarError as error:
        raise BadData(f"no readable archive: {error}") from None


def _start(open_member: Callable[[Any], IO[bytes] | None], member: Any) -> bytes:
    file = open_member(member)
    return file.read(MOST_OF_A_CLASS) if file else b""


def overlap(keys: list[str], others: set[str]) -> float:
    """The share of distinct `keys` that are among `others`."""
    distinct = set(keys)
    return len(distinct & others) / len(distinct) if distinct else 0.0


def commonest(values: list[str], most: int) -> list[str]:
    """The commonest values, the most common first."""
    return [value for value, _ in Counter(values).most_common(most)]

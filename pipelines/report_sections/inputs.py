"""What the sections read: files that may be absent, rows picked by hash, texts cut to a length."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.harness.graph import folder_of


class Absent(Exception):
    """An input of a section is not there; the text says which and which stage writes it."""


class Off(Absent):
    """The shop does not have what the input is made of; the text is the reason."""


@dataclass(frozen=True)
class Choice:
    """How much the page shows. users, rows: examples a section; length: characters of a quoted text."""

    seed: int
    users: int
    rows: int
    length: int

    def pick(self, keys: Iterable[str], count: int) -> list[str]:
        """`count` of `keys` that nobody chose: those whose hash with the seed comes first.

        >>> Choice(1, 1, 1, 1).pick(["b", "a"], 2) == Choice(1, 1, 1, 1).pick(["a", "b"], 2)
        True
        """
        return sorted(set(keys), key=self._rank)[:count]

    def _rank(self, key: str) -> tuple[str, str]:
        return hashlib.sha256(f"{self.seed}:{key}".encode()).hexdigest(), key

    def cut(self, text: str) -> str:
        """As `cut` does, to this page's length."""
        return cut(str(text), self.length)


def cut(text: str, length: int) -> str:
    """`text` on one line, cut at a space where it is longer than `length` characters.

    >>> cut("a good\\nscreen", 8)
    'a good …'
    """
    line = " ".join(text.split())
    if len(line) <= length:
        return line
    head = line[:length]
    space = head.rfind(" ")
    return (head[:space] if space > length // 2 else head).rstrip() + " …"


class Inputs:
    """Stage outputs by their path under `data/`.

    find: the file's place, or None where it is not written; raises `Off` where the shop has nothing to make it of.
    decisions: (capability, manifest hash) to the journal's line on that bundle. instances: of a stage, by their names.
    """

    def __init__(
        self,
        find: Callable[[str], Path | None],
        decisions: Mapping[tuple[str, str], Mapping[str, Any]] | None = None,
        instances: Callable[[str], list[str]] | None = None,
    ) -> None:
        self._find = find
        self._instances = instances
        self.decisions = decisions or {}

    def parts(self, stage: str, name: str) -> list[str]:
        """What all instances of a `foreach` stage wrote under this name, in their order. Raises `Absent` for none."""
        found = self._instances(stage) if self._instances else []
        if not found:
            raise Absent(f"data/{stage} has no parts.")
        return [f"{folder_of(one)}/{name}" for one in found]

    def path(self, name: str) -> Path:
        """Raises `Absent` where no stage has written `name`."""
        found = self._find(name)
        if found is None:
            raise Absent(f"data/{name} has not been written in this run.")
        return found

    def document(self, name: str) -> dict[str, Any]:
        """A JSON file. Raises `Absent`."""
        return json.loads(self.path(name).read_text(encoding="utf-8"))

    def columns(self, name: str) -> list[str]:
        """Names of a Parquet file's columns. Raises `Absent`."""
        return pq.read_schema(self.path(name)).names

    def note(self, name: str, key: str) -> str | None:
        """What a Parquet file's metadata say of `key`. Raises `Absent`."""
        found = (pq.read_schema(self.path(name)).metadata or {}).get(key.encode())
        return found.decode() if found is not None else None

    def table(
        self,
        name: str,
        need: tuple[str, ...] = (),
        like: tuple[str, ...] = (),
        among: tuple[str, list[str]] | None = None,
    ) -> pd.DataFrame:
        """Columns of a Parquet file: all of `need`, those of `like` that it has, or every one when both are empty.

        among: a column of text and its wanted values, so that a large table is not read as a whole.
        Raises `Absent` where the file or a needed column is not there.
        """
        has = self.columns(name)
        short = [column for column in need if column not in has]
        if short:
            raise Absent(f"data/{name} has no column {', '.join(short)}.")
        chosen = [*need, *(column for column in like if column in has)] if need or like else None
        where = None
        if among:
            where = pc.field(among[0]).isin(pa.array(among[1], pa.string()))
        return pq.read_table(self.path(name), columns=chosen, filters=where).to_pandas()

    def values(self, name: str, column: str) -> list[str]:
        """The different values of one column, sorted, read one row group at a time."""
        if column not in self.columns(name):
            raise Absent(f"data/{name} has no column {column}.")
        seen: set[str] = set()
        with pq.ParquetFile(self.path(name)) as file:
            for at in range(file.num_row_groups):
                seen.update(file.read_row_group(at, [column]).column(0).unique().to_pylist())
        return sorted(value for value in seen if value is not None)

"""Pictures that a file lists by id and path: read and decoded block by block, in bounded memory."""

import contextlib
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from models.encoders.decoding import Undecodable, decode
from pipelines.door import files
from pipelines.training import pictures

MAX_BYTES = 64 * 1024 * 1024
"""A larger file is not read."""
BLOCK = 64
TOLD = 20
"""So many bad pictures are told one by one; the rest are counted."""


@dataclass(frozen=True)
class Listing:
    """The rows of one file. paths: absolute, whether or not something is there."""

    source: Path
    table: pa.Table
    ids: list[str]
    paths: list[Path]

    def __len__(self) -> int:
        return len(self.ids)

    def sample(self, count: int) -> "Listing":
        """At most `count` of the rows, evenly chosen."""
        return self.take(
            np.unique(np.linspace(0, max(len(self) - 1, 0), count).astype(int))[: len(self)]
        )

    def take(self, rows: np.ndarray) -> "Listing":
        """The rows at these places, in their order."""
        return Listing(
            self.source,
            self.table.take(rows),
            [self.ids[at] for at in rows],
            [self.paths[at] for at in rows],
        )

    def column(self, name: str) -> list[str]:
        """The column's cells as texts; an empty text where the cell or the column is not there."""
        if name not in self.table.column_names:
            return [""] * len(self)
        texts = files.cast(self.source, name, self.table[name], pa.string())
        return [cell or "" for cell in texts.to_pylist()]


def listed(
    path: Path, required: Mapping[str, pa.DataType] = {}, present: Collection[str] = ()
) -> Listing:
    """The file's pictures. Paths are relative to the file's folder, or absolute. Raises `BadData`.

    required, present: as of `files.read`.
    """
    known = {"id": pa.string(), "path": pa.string(), **required}
    table = files.read(path, known, present=present)
    folder = path.resolve().parent
    paths = [folder / cell for cell in table["path"].to_pylist()]
    return Listing(path, table, table["id"].to_pylist(), paths)


def content(path: Path) -> bytes:
    """The file's bytes. Raises `Undecodable` for what is no plain file, or is too large."""
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise Undecodable("no plain file")
        if state.st_size > MAX_BYTES:
            raise Undecodable(f"{state.st_size:,} bytes, more than {MAX_BYTES:,}")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, Undecodable):
            raise
        raise Undecodable(str(error)) from None


def blocks(
    listing: Listing, size: int, say: Callable[[str], None], block: int = BLOCK
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures as (b, size, size, 3) uint8 and which of them could be read (b,), in the listing's order.

    What can't be read is black, and told by `say`. The next block is decoded while one is worked on. A listing without a
    row is one block without a picture.
    """
    told = Told(listing, say)

    def load(start: int) -> tuple[np.ndarray, np.ndarray]:
        paths = listing.paths[start : start + block]
        found = np.zeros((len(paths), size, size, 3), np.uint8)
        good = np.ones(len(paths), bool)
        for at, path in enumerate(paths):
            try:
                found[at] = decode(content(path), size)
            except Undecodable as error:
                good[at] = False
                told.add(start + at, str(error))
        return found, good

    starts = range(0, max(len(listing), 1), block)
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(load, 0)
        for start in starts:
            ready = coming.result()
            if start + block < len(listing):
                coming = ahead.submit(load, start + block)
            yield ready
    told.close()


class Told:
    """Tells what could not be read: the first few with their cause, then the number."""

    def __init__(self, listing: Listing, say: Callable[[str], None]) -> None:
        self.listing, self.say, self.count = listing, say, 0

    def add(self, row: int, cause: str) -> None:
        self.count += 1
        if self.count <= TOLD:
            name = f"{self.listing.source}, row {row + 1}, id {self.listing.ids[row]}"
            self.say(f"{name}: the picture can't be read ({cause})")

    def close(self) -> None:
        if self.count > TOLD:
            self.say(f"{self.listing.source}: {self.count:,} pictures can't be read in all")


def gathered(
    listing: Listing, size: int, say: Callable[[str], None], folder: Path
) -> tuple[np.ndarray, np.ndarray]:
    """All pictures as (n, size, size, 3) uint8 in a file of `folder`, mapped into memory, and which are good (n,)."""
    count = len(listing)
    shape = (max(count, 1), size, size, 3)
    kept = np.memmap(folder / f"{listing.source.stem}-{size}.uint8", np.uint8, "w+", shape=shape)
    good = np.zeros(count, bool)
    at = 0
    for found, fine in blocks(listing, size, say):
        kept[at : at + len(found)] = found
        good[at : at + len(found)] = fine
        at += len(found)
    return kept[:count], good


def pairs(rows: Sequence[Sequence[tuple[str, float]]], names: tuple[str, str]) -> pa.Array:
    """Lists of {text, number} by these names; the numbers rounded to six places."""
    flat = [pair for row in rows for pair in row]
    texts = pa.array([text for text, _ in flat], pa.string())
    numbers = pa.array([round(float(number), 6) for _, number in flat], pa.float64())
    ends = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    return pa.ListArray.from_arrays(
        pa.array(ends), pa.StructArray.from_arrays([texts, numbers], names)
    )


def usual_side(listing: Listing) -> int:
    """As `pictures.usual_side`, of evenly chosen pictures of a file."""

    def readable() -> Iterator[bytes]:
        for path in listing.sample(pictures.SAMPLE).paths:
            with contextlib.suppress(Undecodable):
                yield content(path)

    return pictures.usual_side(readable())

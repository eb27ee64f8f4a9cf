"""Lists that are being made, kept a block of users a file, so that a run that was cut off goes on where it stopped.

A block appears under its name when it is whole. The folder is named by a hash of all that the lists are made of, their
code included: a run of anything else begins anew. It goes when the lists are complete.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.harness.state import State

STALE_SECONDS = 7 * 86_400
"""After which nobody takes up what was cut off."""
PIPELINES = Path(__file__).parents[1]
CODE = (
    "history/event_files.py",
    "lists/*.py",
    "own_tables/exclusions.py",
    "recommend.py",
    "../models/recommenders/*.py",
)


@dataclass(frozen=True)
class Parts:
    """The blocks that are done, by the place of their first user."""

    folder: Path

    def _path(self, at: int) -> Path:
        return self.folder / f"{at:09d}.parquet"

    def __contains__(self, at: int) -> bool:
        return self._path(at).exists()

    def read(self, at: int) -> pa.Table:
        """The lists of one block."""
        return pq.read_table(self._path(at))

    def write(self, at: int, lists: pa.Table) -> None:
        """Keep the lists of one block."""
        partial = self.folder / f".{at}.{os.getpid()}"
        pq.write_table(lists, partial)
        partial.replace(self._path(at))


@contextmanager
def parts(state: State, words: Iterable[str], files: Iterable[Path]) -> Iterator[Parts]:
    """Of the lists that are made of these: words (the champion, the rules) and files. They go when the block ends well."""
    home = state.home / "parts"
    folder = home / identity(words, files)
    folder.mkdir(parents=True, exist_ok=True)
    for other in home.iterdir():
        if other != folder and other.stat().st_mtime < time.time() - STALE_SECONDS:
            shutil.rmtree(other, ignore_errors=True)
    yield Parts(folder)
    shutil.rmtree(folder)


def identity(words: Iterable[str], files: Iterable[Path]) -> str:
    """SHA-256 over words and the bytes of files, in their order, and over the code that makes lists."""
    found = hashlib.sha256()
    for word in words:
        found.update(hashlib.sha256(word.encode()).digest())
    code = [path for pattern in CODE for path in sorted(PIPELINES.glob(pattern))]
    for path in [*files, *code]:
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()[:32]

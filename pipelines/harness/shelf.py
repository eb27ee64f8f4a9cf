"""What a stage made of parts of its input, kept for later runs, so that only new or changed parts cost them work.

Each thing lies in a folder of `.vitrine/shelf/<stage>/`, named by all that it was made of: the content of what was read,
the settings, the code of the stage and the libraries that write. `note.json` tells the hash of each file of it, and is
there only once they all are. Files are links to those that the stage put out, so that they take no room of their own
where DVC leaves these in their place. What a stage makes must not depend on the shelf: it may be removed at any time.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipelines.harness.stage import Run

NOTE = "note.json"
WRITERS = ("pyarrow", "duckdb", "ibis-framework", "pandas", "great_expectations")
"""Libraries of which another version may write other bytes, or judge otherwise."""
DIGITS = 32


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashed(*about: Any) -> str:
    """One name for values that JSON can write."""
    text = json.dumps(about, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def code_hash(run: Run) -> str:
    """One hash over the code that the stage's deps name."""
    digest = hashlib.sha256()
    for dep in sorted(
        dep for dep in run.node.deps if Path(dep).parts[0] in ("pipelines", "models")
    ):
        place = run.root / dep
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            if path.is_file():
                digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Kept:
    """One thing of the shelf. note: what was noted about it."""

    folder: Path
    note: dict[str, Any]

    def file(self, name: str) -> Path:
        """Where a file of it lies."""
        return self.folder / name


class Shelf:
    """The things of one stage. Under its lock alone: no two runs have it at a time."""

    def __init__(self, run: Run) -> None:
        self._home = run.state.shelf / run.name
        self._way = hashed(code_hash(run), [version(name) for name in WRITERS])
        self._used: set[Path] = set()

    def name(self, kind: str, *about: Any) -> str:
        """The name of what is made of `about`, by the code and the libraries as they are."""
        return f"{kind}-{hashed(self._way, *about)}"

    def find(self, name: str) -> Kept | None:
        """What is kept under a name; None where nothing is, or a file of it was touched or damaged."""
        folder = self._home / name
        try:
            about = json.loads((folder / NOTE).read_bytes())
            whole = all(
                file_hash(folder / file) == digest for file, digest in about["files"].items()
            )
        except (OSError, ValueError, KeyError):
            return None
        if not whole:
            return None
        self._used.add(folder)
        return Kept(folder, about["note"])

    def like(self, name: str) -> Iterator[Kept]:
        """All that is kept under names that go on as `name` does, after a dash."""
        for folder in sorted(self._home.glob(f"{name}-*")):
            found = self.find(folder.name)
            if found:
                yield found

    def put(self, name: str, files: Mapping[str, Path], note: dict[str, Any]) -> Kept:
        """Keep files (each by its name there) and a note under a name; nothing of these files may change any more."""
        folder = self._home / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file, path in files.items():
            link(path, folder / file)
        about = {
            "files": {file: file_hash(folder / file) for file in sorted(files)},
            "note": note,
        }
        partial = folder / f".{NOTE}.partial"
        partial.write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
        partial.replace(folder / NOTE)
        self._used.add(folder)
        return Kept(folder, note)

    def leave(self, kept: Kept) -> None:
        """Have `tidy` remove what was found, but is of no use to a later run."""
        self._used.discard(kept.folder)

    def tidy(self) -> None:
        """Remove what this run neither found nor put, or left."""
        for folder in self._home.glob("*"):
            if folder not in self._used:
                shutil.rmtree(folder, ignore_errors=True)


def link(path: Path, target: Path) -> None:
    """`path` under another name too, without a copy where both lie on one disk that can link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)

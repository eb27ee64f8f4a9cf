"""Absence: what a shop does not have, written where it would have been, so that it travels down the graph by itself.

In the place of an out stands a placeholder that says why: an empty Parquet whose schema's metadata tell it, a folder
that holds only `absent.json`, or a JSON file with `status` "off" and `why`. No placeholder has the columns of what it
stands for: who reads it without asking fails, rather than take it for an empty table.
"""

import json
from pathlib import Path

from pipelines.harness.errors import Bug, MissingResource

KEY = b"vitrine.absent"
NOTE = "absent.json"
OFF = "off"
SIZE = 16_384
"""Bytes that no placeholder exceeds: a larger file is not opened."""
LONGEST = 1_000
"""Letters of a reason that are kept."""


class Absent(Exception):
    """An input that the shop does not have; the text is the reason."""


def write_placeholder(path: Path, why: str) -> None:
    """Write the placeholder of an out, by its suffix: .parquet, .json, or none for a folder.

    Raises `Bug` for an out that none of these can stand for, and where no reason is given.
    """
    why = why.strip()[:LONGEST]
    if not why:
        raise Bug(f"{path.name} is to be absent without a reason")
    note = json.dumps({"status": OFF, "why": why}, ensure_ascii=False, indent=1) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.suffix:
        path.mkdir(exist_ok=True)
        (path / NOTE).write_text(note, encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(note, encoding="utf-8")
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([("absent", pa.string())], metadata={KEY: why.encode()})
        pq.write_table(schema.empty_table(), path)
    else:
        raise Bug(f"nothing can stand for {path.name}: its stage must be able to go on")


def absence(path: Path) -> str | None:
    """Why the file or folder is absent; None where it is there (or nothing is, not even a placeholder)."""
    if path.is_dir():
        return absence(path / NOTE) or absence(path / "metrics.json")
    if not path.is_file() or path.stat().st_size > SIZE:
        return None
    if path.suffix == ".json":
        try:
            note = json.loads(path.read_bytes())
        except ValueError:  # what is broken is for its reader to refuse
            return None
        return note["why"] if isinstance(note, dict) and note.get("status") == OFF else None
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            why = (pq.read_schema(path).metadata or {}).get(KEY)
        except pa.ArrowInvalid:
            return None
        return why.decode() if why else None
    return None


def lacking(path: Path) -> str | None:
    """Why nothing can be read there: the shop does not have it, or no stage made it yet; None where it can."""
    return absence(path) if path.exists() else "it has not been made"


def made(path: Path, stage: str) -> Path:
    """`path`, which `stage` leaves, for who reads it outside of the graph. Raises `MissingResource` where nothing can be read."""
    why = lacking(path)
    if why:
        raise MissingResource(f"{path}: {why}; run `dvc repro {stage}`")
    return path

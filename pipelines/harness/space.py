"""A full disk: known by its error, however that came wrapped, and told with the path and the bytes."""

import errno
import re
import shutil
from pathlib import Path

from pipelines.harness.errors import VitrineError

NUMBERS = (errno.ENOSPC, errno.EDQUOT)
WORDS = re.compile(
    r"No space left on device|Disk quota exceeded|database or disk is full|'max_temp_directory_size' setting"
)
"""How libraries that have no error number say it: safetensors and DVC, a quota, SQLite, DuckDB's spill."""
DATABASE = "database or disk is full"
PATH = re.compile(r"""['"](/[^'"\\]+)""")


def full(error: BaseException | None) -> BaseException | None:
    """The error behind `error` that says that a disk is full, or None.

    An error of our own speaks of data and settings in its text, so that only what caused it is read.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in NUMBERS:
            return error
        if not isinstance(error, VitrineError) and WORDS.search(str(error)):
            return error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def place(error: BaseException, written: Path, database: Path) -> Path:
    """Where the disk is full: the file that the error names, the last path in its text, or what was written to.

    database: of SQLite, whose errors name no file.
    """
    if isinstance(error, OSError) and isinstance(error.filename, str | Path):
        return Path(error.filename)
    found = PATH.findall(str(error))
    if found:
        return Path(found[-1])
    return database if DATABASE in str(error) else written


def told(where: Path, written: int, needed: int) -> str:
    """What a person reads: the path, what is free there, and the bytes that were written and are needed.

    What is free did not suffice (some writers take back what they began), so that more than that is needed.
    """
    there = next(path for path in (where.absolute(), *where.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    return (
        f"no space left for {where}: {free:,} bytes free after {written:,} bytes written; "
        f"at least {max(needed, free + 1):,} bytes are needed. Nothing half-written was kept: free the space, then start again"
    )


def size(folder: Path) -> int:
    """Bytes of all files below a folder; 0 where it is not there."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

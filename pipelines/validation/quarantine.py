"""The lines about rows that break a rule, on their way to `quarantine.parquet`: on the disk, where all engines read them."""

from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import engine

SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("row", pa.int64()),
        ("column", pa.string()),
        ("value", pa.string()),
        ("rule", pa.string()),
    ]
)
ORDER = ["file", "row", "column", "rule"]
"""It names each line."""


class Quarantine:
    """Lines of `SCHEMA` in files of a folder that every executor sees; none of them stays in memory."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._files: list[Path] = []
        self._writer: pq.ParquetWriter | None = None
        # So that there is always a table to read.
        self.add(SCHEMA.empty_table())

    def add(self, lines: pa.Table) -> None:
        """Put lines beside those that are there."""
        if self._writer is None:
            self._files.append(self.folder / f"{len(self._files):04d}.parquet")
            self._writer = pq.ParquetWriter(self._files[-1], SCHEMA)
        self._writer.write_table(lines)

    @property
    def files(self) -> list[Path]:
        """Whole files of all lines so far."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        return list(self._files)

    def table(self, connection: Any) -> ibis.Table:
        """All lines so far."""
        return engine.read_parquet(connection, self.files)

    def of(self, file: str) -> pa.Table:
        """The lines about the rows of one file."""
        found = [pq.read_table(path, filters=[("file", "=", file)]) for path in self.files]
        return pa.concat_tables(found)

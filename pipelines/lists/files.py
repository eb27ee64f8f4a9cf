"""Files of lists: their columns, how they are written, and how several of them are read and counted as one."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.tables import Interactions

NAME = "lists.parquet"
AGAIN, BECAUSE, POPULAR, CATALOGUE = "again", "because", "popular", "catalogue"
REASONS = (AGAIN, BECAUSE, POPULAR, CATALOGUE)
GROUP_ROWS = 131_072
SCHEMA = pa.schema(
    {
        Interactions.USER: pa.string(),
        "rank": pa.int32(),
        Interactions.ITEM: pa.string(),
        "score": pa.float32(),
        "reason": pa.string(),
        "reason_item_id": pa.string(),
    }
)
"""rank: from 1. score: the champion's, empty where the list was filled without it.

reason: `again` (the user's own purchases of the item raised it most), `because` (those of `reason_item_id` did),
`popular` (nothing of the user's raised it; it sells well), `catalogue` (it fills the list; nobody bought it yet).
"""


def write(tables: Iterable[pa.Table], path: Path) -> None:
    """Write tables of `SCHEMA` as one file, a row group at a time: the bytes tell nothing of how the rows were cut."""
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        waiting = SCHEMA.empty_table()
        for table in tables:
            waiting = pa.concat_tables([waiting, table])
            while len(waiting) >= GROUP_ROWS:
                writer.write_table(waiting.slice(0, GROUP_ROWS).combine_chunks())
                waiting = waiting.slice(GROUP_ROWS)
        if len(waiting):
            writer.write_table(waiting.combine_chunks())


def read(files: Iterable[Path]) -> Iterator[pa.Table]:
    """The rows of files, one after the other, a row group at a time."""
    for path in files:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group)


@dataclass
class Tally:
    """Counts lists of `k` places as they go by.

    users: with a list. full: with all places. items: all that is on lists. reasons: rows of each.
    """

    k: int
    rows: int = 0
    users: int = 0
    full: int = 0
    items: set[str] = field(default_factory=set)
    reasons: Counter[str] = field(default_factory=Counter)

    def watch(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The same tables, counted."""
        for table in tables:
            rank = table["rank"].to_numpy()
            self.rows += len(table)
            self.users += int((rank == 1).sum())
            self.full += int((rank == self.k).sum())
            self.items.update(table[Interactions.ITEM].unique().to_pylist())
            for entry in table["reason"].value_counts().to_pylist():
                self.reasons[entry["values"]] += entry["counts"]
            yield table

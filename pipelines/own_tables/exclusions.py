"""What lists may not hold: a small table that somebody keeps.

`exclusions.csv`, in the project's folder, holds one product a row:

| column | what |
|---|---|
| item_id | the product |
| user_id | whose lists it is kept off; empty: everybody's |
| why | in words |

A product or a user that the shop doesn't know changes nothing: it may come back.
"""

from dataclasses import dataclass
from pathlib import Path

from pipelines.own_tables import read_rows

FILE = "exclusions.csv"
COLUMNS = ("item_id", "user_id", "why")


@dataclass(frozen=True)
class Exclusions:
    """everybody: ids of items that are on no list. pairs: (user, item) ids."""

    everybody: frozenset[str] = frozenset()
    pairs: tuple[tuple[str, str], ...] = ()


def read(path: Path) -> Exclusions:
    """What the file holds; nothing where there is none. Raises `BadData` with the row and what to do."""
    rows = read_rows(path, COLUMNS, COLUMNS[:1])
    return Exclusions(
        frozenset(item for item, user, _ in rows if not user),
        tuple((user, item) for item, user, _ in rows if user),
    )

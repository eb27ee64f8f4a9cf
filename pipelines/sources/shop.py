"""What `shop` in `params.yaml` says: which files hold each table of a shop, and how their columns become ours.

A table is a list of parts, each a set of files of one kind with the mapping of their columns. A table that is not
named is one that the shop does not have. What each key does is told in `docs/sources.md`.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from pipelines.harness import Params
from pipelines.harness.params import read_params, section

Format = Literal[
    "parquet", "csv", "jsonl", "map", "sequences", "feed", "archive", "pictures", "sql"
]


class Take(Params):
    """Where a canonical column's cells come from, where that is more than the name of one column.

    column: one column, or several that are joined. list: the cell is a JSON list, whose entries are joined.
    pattern: the part of the cell that this regular expression (its first group, where it has one) matches.
    html: tags are taken away. values: what a cell becomes; `*` stands for any other; "" leaves it empty. hash: the MD5 of the cells.
    """

    column: str | list[str]
    join: str = " "
    list: bool = False
    pattern: str = ""
    values: dict[str, str] = Field(default_factory=dict)
    hash: bool = False
    html: bool = False


class When(Params):
    """How times are written: epochs in `unit`, or by `formats` (as strptime has them), else ISO 8601.

    zone: where clocks and days without an offset are told (an IANA name).
    """

    unit: Literal["", "s", "ms", "us", "ns"] = ""
    formats: list[str] = Field(default_factory=list)
    zone: str = "UTC"


class LeaveOut(Params):
    """Rows to leave out: those whose cell is one of `values` ("" is an empty one), or matches `pattern`."""

    column: str
    values: list[str] = Field(default_factory=list)
    pattern: str = ""


class Part(Params):
    """Files of one kind, or one query, that give rows of one table."""

    format: Format
    files: list[str] = Field(default_factory=list)
    """Paths, folders or globs; of the project where they are relative."""
    url: str = ""
    query: str = ""
    columns: dict[str, str | Take] = Field(default_factory=dict)
    """Ours to theirs; of products and users any further column is kept under the name given here."""
    constants: dict[str, str] = Field(default_factory=dict)
    time: When = When()
    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    loose: bool = False
    """JSON lines as Python prints dictionaries (single quotes)."""
    decimal: Literal[".", ","] = "."
    thousands: str = ""
    empty: list[str] = Field(default_factory=list)
    """Cells that mean "nothing is known", besides empty ones."""
    unreadable: Literal["refuse", "empty"] = "refuse"
    """What a cell becomes that is not of its column's type."""
    distinct: bool = False
    """Rows that are equal in all columns are one."""
    leave_out: list[LeaveOut] = Field(default_factory=list)


class ShopParams(Params):
    """The section `shop`: empty for the profile's own data."""

    interactions: list[Part] = Field(default_factory=list)
    products: list[Part] = Field(default_factory=list)
    users: list[Part] = Field(default_factory=list)
    images: list[Part] = Field(default_factory=list)
    picture_labels: list[Part] = Field(default_factory=list)
    """image_key and label of the pictures, where another file than theirs tells them."""
    reviews: list[Part] = Field(default_factory=list)
    questions: list[Part] = Field(default_factory=list)
    bots_above: int = 0
    """Who views or fills carts more often within one minute is a program and is left out; 0: no such rule."""
    memory_gb: float = 2.0
    source: str = "own shop"
    licence: str = "own"

    def parts(self, table: str) -> list[Part]:
        """The parts of one table; none where the shop does not have it."""
        found: list[Part] = getattr(self, table)
        return found


OFFERS = {
    "shop": ("interactions", "products", "users"),
    "pictures": ("images",),
    "reviews": ("reviews", "questions"),
    "reviews-zh": (),
}
"""The tables of a shop that each ingest stage reads; reviews of all languages are read by one."""
STAGES = {
    "interactions": "ingest-shop",
    "products": "ingest-shop",
    "users": "ingest-shop",
    "images": "ingest-pictures",
    "picture_labels": "ingest-pictures",
    "reviews": "ingest-reviews",
    "questions": "ingest-reviews",
}


def own_shop(root: Path) -> ShopParams | None:
    """The section `shop`; None where it is empty. Raises `BadConfig` for unknown keys."""
    document = read_params(root)
    if not document.get("shop"):
        return None
    return section(document, "shop", ShopParams)

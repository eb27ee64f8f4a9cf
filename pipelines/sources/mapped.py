"""A table of a shop's own files as the mappings give it, before anything is left out of it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis

from pipelines import engine
from pipelines.harness import BadData
from pipelines.sources import readers
from pipelines.sources.columns import Mapping, check_zone, contract_of
from pipelines.sources.readers import Raw
from pipelines.sources.shop import ShopParams


@dataclass(frozen=True)
class Mapped:
    """A table as the mappings give it, and how many rows each of them leaves out."""

    table: ibis.Table
    left_out: dict[str, int]


def mapped(connection: Any, shop: ShopParams, name: str, root: Path, spill: Path) -> Mapped:
    """One canonical table of all its parts, as they are; but for pictures kept by the engine, so that each
    file is read once.

    Raises `BadData` for cells that can't be read, with their files and rows.
    """
    parts = shop.parts(name)
    ways: list[tuple[Mapping, list[Raw]]] = []
    tables: list[ibis.Table] = []
    left_out: dict[str, int] = {}
    for at, part in enumerate(parts):
        place = f"shop.{name}[{at}]"
        check_zone(part.time.zone, place)
        way = Mapping(part, contract_of(name), place)
        way.check()
        raws = readers.read(connection, part, root, spill / f"{name}-{at}")
        ways.append((way, raws))
        with readable(connection, ways):
            tables.append(way.table(connection, raws))
            if part.leave_out:
                left_out[place] = way.left_out(raws)
    with readable(connection, ways):
        table = together(tables)
        if name != "images":  # large, and without cells that can't be read
            table = engine.keep(connection, f"own_{name}", table)
    return Mapped(table, left_out)


def together(tables: list[ibis.Table]) -> ibis.Table:
    """Parts under each other by the names of their columns; what one of them lacks is empty there."""
    kinds = {name: kind for table in tables for name, kind in table.schema().items()}
    full = [
        table.select(
            **{
                name: table[name] if name in table.columns else ibis.null(kind)
                for name, kind in kinds.items()
            }
        )
        for table in tables
    ]
    return ibis.union(*full) if len(full) > 1 else full[0]


@contextlib.contextmanager
def readable(connection: Any, ways: list[tuple[Mapping, list[Raw]]]) -> Iterator[None]:
    """Turn what the engine says about a cell or a line into a failure that names file, row, column and cure."""
    try:
        yield
    except engine.reading_errors(connection) as error:
        try:
            found = [fault for way, raws in ways for fault in way.faults(connection, raws)]
        except engine.reading_errors(connection):
            found = []
        if found:
            lines = ["cells that can't be read (rows counted from 1, without the header):", *found]
            raise BadData("\n".join(lines)) from None
        raise readers.refuse(error, [raw for _, raws in ways for raw in raws]) from None

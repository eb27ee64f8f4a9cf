"""A shop's own data, read as `shop` in `params.yaml` says."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis

from pipelines import engine
from pipelines.harness import BadConfig, BadData, Run
from pipelines.sources import Found, cleaning, files, readers
from pipelines.sources.columns import Mapping, check_zone, contract_of
from pipelines.sources.readers import Raw
from pipelines.sources.shop import OFFERS, STAGES, ShopParams
from pipelines.tables import Images, Interactions


@contextlib.contextmanager
def read(run: Run, shop: ShopParams, offer: str) -> Iterator[Found]:
    """The tables of `offer` that the shop has. Raises `BadData` naming file, row, column and cure."""
    watch(run, shop)
    spill = run.state.home / "spill" / run.name
    with engine.engine(run.threads, shop.memory_gb, spill, run.tables) as connection:
        tables = {
            name: table(run, connection, shop, name, spill)
            for name in OFFERS[offer]
            if shop.parts(name)
        }
        why = "" if OFFERS[offer] else "reviews of all languages come by ingest-reviews"
        yield Found(tables, source=shop.source, licence=shop.licence, why=why)


def watch(run: Run, shop: ShopParams) -> None:
    """Raise `BadConfig` where this stage reads a file that its deps do not name: DVC would not see it change."""
    for name, stage in STAGES.items():
        if stage != run.name:
            continue
        for part in shop.parts(name):
            for pattern in part.files:
                if not run.node.reads(files.watched(pattern)):
                    raise BadConfig(
                        f"dvc.yaml: the deps of {run.name} do not name {files.watched(pattern)}, so that a change of "
                        "it would not be seen: add it there, or let `python -m pipelines.inspect … --write` do it"
                    )


def table(run: Run, connection: Any, shop: ShopParams, name: str, spill: Path) -> ibis.Table:
    """One canonical table of all its parts, computed."""
    found = mapped(connection, shop, name, run.root, spill)
    for place, count in found.left_out.items():
        run.say(f"{place}: {count:,} rows left out")
        run.measure(f"{name}_left_out", count)
    if name == "interactions":
        return clean(run, connection, found.table, shop.bots_above)
    if name == "images" and shop.picture_labels:
        labels = mapped(connection, shop, "picture_labels", run.root, spill)
        about = engine.keep(connection, "picture_labels", labels.table.distinct())
        named = found.table.drop(*[c for c in (Images.LABEL,) if c in found.table.columns])
        joined = named.left_join(about, Images.IMAGE)
        return joined.select(*named.columns, Images.LABEL)
    return found.table


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
        with _readable(connection, ways):
            tables.append(way.table(connection, raws))
            if part.leave_out:
                left_out[place] = way.left_out(raws)
    with _readable(connection, ways):
        table = _together(tables)
        if name != "images":  # large, and without cells that can't be read
            table = engine.keep(connection, f"own_{name}", table)
    return Mapped(table, left_out)


def _together(tables: list[ibis.Table]) -> ibis.Table:
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
def _readable(connection: Any, ways: list[tuple[Mapping, list[Raw]]]) -> Iterator[None]:
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


def clean(run: Run, connection: Any, events: ibis.Table, bots_above: int) -> ibis.Table:
    """Events, as `mapped` kept them, without repeated lines, refunds and programs; how many of each is told.

    Each step is computed once, and what it was made of is let go of.
    """
    rows = engine.count(events)
    kept = engine.keep(connection, "gathered", cleaning.gather(events))
    engine.let_go(connection, "own_interactions")
    gathered = engine.count(kept)
    counts = {"repeated_lines": rows - gathered, "refunded_lines": 0}
    if engine.count(cleaning.refunds(kept)):
        sold = engine.keep(connection, "sold", cleaning.without_refunds(kept))
        engine.let_go(connection, "gathered")
        counts["refunded_lines"] = gathered - engine.count(sold)
        kept = sold
    if bots_above:
        bots = engine.keep(connection, "programs", cleaning.programs(kept, bots_above))
        counts["program_users"] = engine.count(bots)
        counts["program_lines"] = engine.count(kept.semi_join(bots, Interactions.USER))
        if counts["program_lines"]:
            kept = kept.anti_join(bots, Interactions.USER)
    for name, count in counts.items():
        run.measure(name, count)
        if count:
            run.say(f"interactions: {count:,} {name.replace('_', ' ')}")
    return kept

"""Sum up what users did and what was done with items, before the validation part begins, as readable figures.

A part of the table of events that is as it was is not read again: its sums lie on the stage's shelf, beside the figures of
the run before. Those are taken over but for users and items that new events or products touch (`pipelines.history.change`).
"""

import datetime
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines import engine
from pipelines.harness import Params, Run, stage
from pipelines.harness.params import as_moment
from pipelines.harness.shelf import Kept, Shelf, file_hash, link
from pipelines.history import state
from pipelines.history.change import Before, figures_of_all
from pipelines.history.figures import ATTRIBUTES
from pipelines.history.state import Former
from pipelines.history.sums import Sums, orders, pairs
from pipelines.tables import Interactions, Products

PAIRS, ORDERS = "pairs", "orders"
SUMS = {PAIRS: pairs, ORDERS: orders}
"""What is kept of a part, and how it is made of its events."""
SORTED = {
    PAIRS: [Interactions.USER, Interactions.ITEM],
    ORDERS: [Interactions.USER, Interactions.ITEM, Interactions.ORDER],
}
OUTS = {Interactions.USER: "users.parquet", Interactions.ITEM: "items.parquet"}
PRODUCTS = "products.parquet"
"""On the shelf, what figures tell of the products."""
FILE, ROW = "_file", "_row"
ENDING = ".parquet"


class BehaviourParams(Params):
    """memory_gb: what tables may take."""

    memory_gb: float


@stage
def behaviour(run: Run, params: BehaviourParams) -> None:
    table = run.input("validate-interactions/table.parquet")
    catalogue = run.optional("validate-products/table.parquet")
    cut = json.loads(run.input("split/recommending/cut.json").read_text("utf-8"))
    spill = run.state.spill / run.name
    shelf = Shelf(run)
    with engine.engine(run.threads, params.memory_gb, spill, run.tables) as connection:
        parts = summed(run, shelf, connection, table, as_moment(cut["valid_from"]), spill / "parts")
        sums = sums_of(connection, parts.values())
        columns = set(pq.read_schema(catalogue).names) if catalogue else set()
        attributes = [name for name in ATTRIBUTES if name in columns]
        # Products of which nothing is told are as good as none.
        digest = file_hash(catalogue) if catalogue and attributes else None
        group = shelf.name("figures", sums.pairs.columns, sums.orders is not None, attributes)
        former = state.find(shelf, group, parts)
        files = {out: run.output(out) for out in OUTS.values()}
        products = None
        if catalogue and attributes:
            files[PRODUCTS] = spill / PRODUCTS
            if former and former.catalogue == digest:
                link(former.kept.file(PRODUCTS), files[PRODUCTS])
            else:
                rows = engine.read_parquet(connection, catalogue)
                rows = rows.select(Products.ITEM, *attributes)
                engine.write(rows, files[PRODUCTS], [Products.ITEM])
            products = engine.read_parquet(connection, files[PRODUCTS])
        before = None
        if former:
            run.say(f"{len(former.stays):,} of {len(parts):,} parts are in the figures before")
            before = known(connection, former, parts, sums, digest)
        note = engine.provenance([table])
        for key, found in figures_of_all(connection, sums, products, before).items():
            run.rows_out += engine.write(found, run.output(OUTS[key]), [key], note)
        state.put(shelf, group, files, parts, digest)
    shelf.tidy()
    users = pq.read_table(run.output(OUTS[Interactions.USER]), columns=["events"])
    run.rows_in = pc.sum(users["events"]).as_py() or 0


def summed(
    run: Run,
    shelf: Shelf,
    connection: Any,
    table: Path,
    until: datetime.datetime,
    scratch: Path,
) -> dict[str, Kept]:
    """The sums of the events before `until` by their names on the shelf, part by part: those of earlier runs and new ones.

    scratch: a folder that is not there, in which they are made.
    """
    names = {}
    for part in engine.files_of(table):
        ends = stretch(part)
        if ends and ends[0] < until:
            # The sums of a part that lies before `until` as a whole do not depend on it.
            asked = until.isoformat() if until <= ends[1] else ""
            names[part] = shelf.name("part", file_hash(part), asked)
    found = {part: shelf.find(name) for part, name in names.items()}
    new = [part for part, kept in found.items() if kept is None]
    if len(new) < len(names):
        run.say(f"{len(names) - len(new):,} of {len(names):,} parts were summed up before")
    if new:
        rows = engine.read_numbered(connection, new, FILE, ROW)
        rows = rows.filter(rows[Interactions.TIME] < until)
        stem = rows[FILE].substr(0, rows[FILE].length() - len(ENDING))
        rows = rows.mutate(**{engine.PART: stem})
        made = {
            name: make(rows, engine.PART)
            for name, make in SUMS.items()
            if name != ORDERS or Interactions.ORDER in rows.columns
        }
        for name, sums in made.items():
            stems = [part.stem for part in new]
            engine.write_parts(sums, scratch / name, stems, SORTED[name])
        for part in new:
            files = {f"{name}{ENDING}": scratch / name / part.name for name in made}
            note = {name: name in made for name in SUMS}
            found[part] = shelf.put(names[part], files, note)
    return {names[part]: kept for part, kept in found.items() if kept}


def stretch(part: Path) -> tuple[datetime.datetime, datetime.datetime] | None:
    """The times of a file's first and last event, as its row groups tell them; None where it has no event."""
    about = pq.read_metadata(part)
    at = about.schema.to_arrow_schema().get_field_index(Interactions.TIME)
    ends = [about.row_group(group).column(at).statistics for group in range(about.num_row_groups)]
    return (min(end.min for end in ends), max(end.max for end in ends)) if ends else None


def sums_of(connection: Any, parts: Collection[Kept]) -> Sums:
    """What is kept of parts (at least one)."""
    tables = {
        name: engine.read_parquet(connection, [part.file(f"{name}{ENDING}") for part in parts])
        for name in SUMS
        if next(iter(parts)).note[name]
    }
    return Sums(tables[PAIRS], tables.get(ORDERS))


def known(
    connection: Any, former: Former, parts: Mapping[str, Kept], sums: Sums, digest: str | None
) -> Before:
    """What the run before knew. parts, sums: of now. digest: of the products now."""
    figures = {
        key: engine.read_parquet(connection, former.kept.file(out)) for key, out in OUTS.items()
    }
    products = None
    if former.catalogue != digest:
        products = engine.read_parquet(connection, former.kept.file(PRODUCTS))
    new = [parts[name] for name in parts if name not in former.stays]
    gone, come = (sums_of(connection, some) if some else sums.none() for some in (former.gone, new))
    return Before(figures, gone, come, products)


if __name__ == "__main__":
    behaviour.main()

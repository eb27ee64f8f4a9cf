"""Sum up what users did and what was done with items, before the validation part begins, as readable figures.

A part of the table of events that is as it was is not read again: its sums lie on the stage's shelf. Those of all parts
are put together, and the figures are made of them (`pipelines.history.figures`).
"""

import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines import engine
from pipelines.harness import Params, Run, stage
from pipelines.harness.params import as_moment
from pipelines.harness.shelf import Kept, Shelf, file_hash
from pipelines.history.figures import figures, merged, orders, pairs
from pipelines.tables import Interactions

PAIRS, ORDERS = "pairs", "orders"
SUMS = {PAIRS: pairs, ORDERS: orders}
"""What is kept of a part, and how it is made of its events."""
SORTED = {
    PAIRS: [Interactions.USER, Interactions.ITEM],
    ORDERS: [Interactions.USER, Interactions.ITEM, Interactions.ORDER],
}
OUTS = {Interactions.USER: "users.parquet", Interactions.ITEM: "items.parquet"}
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
    spill = run.state.home / "spill" / run.name
    with engine.engine(run.threads, params.memory_gb, spill, run.tables) as connection:
        kept = summed(run, connection, table, as_moment(cut["valid_from"]), spill / "parts")
        sums = {
            name: engine.read_parquet(connection, [part.file(f"{name}{ENDING}") for part in kept])
            for name in SUMS
            if kept[0].note[name]
        }
        together = engine.keep(connection, "together", merged(sums[PAIRS]))
        products = engine.read_parquet(connection, catalogue) if catalogue else None
        note = engine.provenance([table])
        for key, out in OUTS.items():
            found = figures(together, sums.get(ORDERS), products, key)
            run.rows_out += engine.write(found, run.output(out), [key], note)
    read = pq.read_table(run.output(OUTS[Interactions.USER]), columns=["events"])
    run.rows_in = pc.sum(read["events"]).as_py() or 0


def summed(
    run: Run, connection: Any, table: Path, until: datetime.datetime, scratch: Path
) -> list[Kept]:
    """The sums of the events before `until`, part by part: those that an earlier run made, and those that are made now.

    scratch: a folder that is not there, in which they are made.
    """
    shelf = Shelf(run)
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
    shelf.tidy()
    return [kept for kept in found.values() if kept]


def stretch(part: Path) -> tuple[datetime.datetime, datetime.datetime] | None:
    """The times of a file's first and last event, as its row groups tell them; None where it has no event."""
    about = pq.read_metadata(part)
    at = about.schema.to_arrow_schema().get_field_index(Interactions.TIME)
    ends = [about.row_group(group).column(at).statistics for group in range(about.num_row_groups)]
    return (min(end.min for end in ends), max(end.max for end in ends)) if ends else None


if __name__ == "__main__":
    behaviour.main()

"""Corrections of products that somebody accepted: a small table that `ingest-shop` lays over what the source says.

`corrections.csv`, in the project's folder, holds one cell a row:

| column | what |
|---|---|
| item_id, field | the product, and the column of products |
| value | what stands there from now on |
| from | what the source said when the correction was accepted; empty: nothing |
| why | in words |

The source stays the master: a cell that says neither `from` nor `value` any more was changed there since, and is left
as it is. So is a product that is gone.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import ibis
import pyarrow as pa

from pipelines import engine
from pipelines.harness import BadData, Run
from pipelines.own_tables import read_rows
from pipelines.tables import Products

FILE = "corrections.csv"
COLUMNS = ("item_id", "field", "value", "from", "why")
TOLD = 10
"""So many corrections that were not made are told one by one."""
TRUTHS = ("true", "false")


@dataclass(frozen=True)
class Correction:
    """One accepted cell; see the module's table. former: `from`."""

    item: str
    field: str
    value: str
    former: str
    why: str


def read(path: Path) -> list[Correction]:
    """What the file holds; nothing where there is none. Raises `BadData` with the row and what to do."""
    seen: dict[tuple[str, str], int] = {}
    corrections = []
    for row, cells in enumerate(read_rows(path, COLUMNS, COLUMNS[:3]), start=1):
        one = Correction(*cells)
        first = seen.setdefault((one.item, one.field), row)
        if first != row:
            raise BadData(
                f"{path}, row {row}: {one.field} of {one.item} is corrected in row {first} already: drop one of the two"
            )
        corrections.append(one)
    return corrections


def write(path: Path, corrections: Iterable[Correction]) -> None:
    """Put all corrections into the file, sorted by product and field."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    for one in sorted(corrections, key=lambda one: (one.item, one.field)):
        lines.writerow((one.item, one.field, one.value, one.former, one.why))
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text.getvalue(), encoding="utf-8")
    partial.replace(path)


def laid_over(
    run: Run, products: pa.Table | ibis.Table, corrections: Sequence[Correction]
) -> pa.Table | ibis.Table:
    """Products with the corrections, in memory or as an expression, as they came. Raises `BadData` as `check` does."""
    if not corrections:
        return products
    if isinstance(products, pa.Table):
        connection = ibis.duckdb.connect()
        table = engine.bring(connection, "products", products)
        corrected = engine.collect(_laid_over(run, connection, table, corrections))
        return corrected.cast(products.schema)
    return _laid_over(run, products.get_backend(), products, corrections)


def _laid_over(
    run: Run, connection: object, products: ibis.Table, corrections: Sequence[Correction]
) -> ibis.Table:
    check(products.schema(), corrections)
    cells = standing(connection, products, corrections)
    made: dict[str, dict[str, str]] = {}
    left = 0
    for one, cell in zip(corrections, cells, strict=True):
        if cell == one.former:
            made.setdefault(one.field, {})[one.item] = one.value
        elif cell != one.value:
            left += 1
            if left <= TOLD:
                now = "there is no such product" if cell is None else f"the source says {cell!r}"
                run.say(f"{FILE}: {one.field} of {one.item} is not set to {one.value!r}: {now} now")
    if left > TOLD:
        run.say(f"{FILE}: {left:,} corrections were not made in all")
    run.measure("corrections_made", sum(len(of) for of in made.values()))
    run.measure("corrections_left", left)
    for at, (field, of) in enumerate(sorted(made.items())):
        rows = pa.table({"_item": list(of), "_value": list(of.values())})
        fixes = engine.bring(connection, f"_corrections_{at}", rows)
        kind = products.schema()[field]
        joined = products.left_join(fixes, products[Products.ITEM] == fixes["_item"])
        cell = ibis.coalesce(joined["_value"].cast(kind), joined[field])
        products = joined.mutate(**{field: cell}).drop("_item", "_value")
    return products


def check(schema: ibis.Schema, corrections: Sequence[Correction]) -> None:
    """Raise `BadData` with the row for a field that products lack, and for a value that can't stand in it."""
    fields = [name for name in schema.names if name != Products.ITEM]
    for row, one in enumerate(corrections, start=1):
        place = f"{FILE}, row {row}"
        if one.field not in fields:
            raise BadData(
                f"{place}, column field: products have no {one.field!r} that could be corrected: drop the row, or "
                f"name one of: {', '.join(fields)}"
            )
        wanted = unfit(schema[one.field], one.value)
        if wanted:
            raise BadData(
                f"{place}, column value: {one.value!r} can't stand in {one.field}: write {wanted}, or drop the row"
            )


def unfit(kind: ibis.expr.datatypes.DataType, value: str) -> str:
    """What a column of this kind needs, where the text `value` is not that; else nothing."""
    if kind.is_string():
        return ""
    if kind.is_boolean():
        return "" if value in TRUTHS else " or ".join(TRUTHS)
    if kind.is_numeric():
        number = int if kind.is_integer() else float
        try:
            number(value)
        except ValueError:
            return "a whole number" if kind.is_integer() else "a number"
        return ""
    return f"a field of texts or numbers, which this one ({kind}) is not"


def standing(
    connection: object, products: ibis.Table, corrections: Sequence[Correction]
) -> list[str | None]:
    """What stands in each correction's cell, "" where it is empty, None where there is no such product."""
    rows = pa.table(
        {
            "_row": range(len(corrections)),
            "_item": [one.item for one in corrections],
            "_field": [one.field for one in corrections],
        }
    )
    asked = engine.bring(connection, "_corrections", rows)
    joined = asked.join(products, asked["_item"] == products[Products.ITEM])
    fields = sorted({one.field for one in corrections})
    cell = ibis.cases(*((joined["_field"] == name, joined[name].cast("string")) for name in fields))
    found = engine.collect(joined.select("_row", cell=cell.fill_null("")))
    cells: list[str | None] = [None] * len(corrections)
    for at, text in zip(found["_row"].to_pylist(), found["cell"].to_pylist(), strict=True):
        cells[at] = text
    return cells

"""Accept findings of the catalogue's audit: `python -m pipelines.accept data/audit/audit.parquet --rows 1,4-6`.

What is accepted goes into `corrections.csv`, which the next run lays over the products (see `pipelines.own_tables.corrections`).
Rows are counted from 1, in the file's order: what is worth most first. `--least 0.9 --kind "value proposed"` accepts all
findings of that kind from that confidence on. Findings that propose no value of a product's field can't be accepted.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from pipelines.audit import DISAGREES, PROPOSED
from pipelines.harness import BadConfig, BadData, MissingResource, VitrineError
from pipelines.harness.absent import lacking
from pipelines.harness.stage import stage_lock
from pipelines.harness.state import State
from pipelines.own_tables import corrections
from pipelines.own_tables.corrections import Correction
from pipelines.tables import Products

KINDS = (DISAGREES, PROPOSED)
"""Findings that propose a value."""
PRODUCTS = "data/ingest-shop/products.parquet"


def accept(root: Path, audit: Path, rows: Sequence[int], least: float, kinds: Sequence[str]) -> int:
    """Write the chosen findings into the corrections; returns how many cells they set.

    rows: numbers from 1; none: all of these kinds from the confidence `least` on. Raises `BadData` for a row that is not
    there or proposes nothing for a product, `MissingResource` where audit or products are not made.
    """
    for path in (audit, root / PRODUCTS):
        why = lacking(path)
        if why:
            raise MissingResource(f"{path}: {why}: run `dvc repro audit`")
    found = pq.read_table(audit).to_pandas()
    columns = pq.read_schema(root / PRODUCTS).names
    items = set(pq.read_table(root / PRODUCTS, columns=[Products.ITEM]).column(0).to_pylist())
    proposes = found["kind"].isin(KINDS) & found["proposed"].notna()
    able = proposes & found["item_id"].isin(items) & found["field"].isin(columns)
    if rows:
        for row in rows:
            if not 1 <= row <= len(found):
                raise BadData(f"{audit} has no row {row}: it has {len(found):,}")
            if not able[row - 1]:
                one = found.iloc[row - 1]
                raise BadData(
                    f"{audit}, row {row} ({one['kind']}, {one['item_id']}): it proposes no value of a product's field: "
                    f"leave it out of --rows"
                )
        chosen = found.iloc[[row - 1 for row in rows]]
    else:
        chosen = found[able & found["kind"].isin(kinds) & (found["confidence"] >= least)]
    with stage_lock(State(root), "accept"):
        path = root / corrections.FILE
        corrections.write(path, merged(corrections.read(path), chosen))
    return len(chosen)


def merged(known: Sequence[Correction], chosen: pd.DataFrame) -> list[Correction]:
    """The corrections with the chosen findings; of a cell that was corrected before, `from` stays the source's value.

    A value that is the source's own again is no correction.
    """
    cells = {(one.item, one.field): one for one in known}
    for finding in chosen.itertuples():
        key = (finding.item_id, finding.field)
        former = finding.value if isinstance(finding.value, str) else ""
        if key in cells:
            former = cells[key].former
        why = f"{finding.kind}, {finding.confidence:.2f}: {finding.why}"
        cells[key] = Correction(*key, finding.proposed, former, why)
    return [one for one in cells.values() if one.value != one.former]


def numbers(text: str) -> list[int]:
    """Rows as `1,4-6` names them. Raises `BadConfig` for what is none.

    >>> numbers("1,4-6")
    [1, 4, 5, 6]
    """
    rows: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        try:
            rows += range(int(first), int(last or first) + 1)
        except ValueError:
            raise BadConfig(f"--rows {text!r}: name rows as 1,4-6") from None
    return rows


def main(words: list[str], root: Path) -> int:
    """The command line; the exit status is that of the class of failure."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.accept", description=__doc__)
    parser.add_argument("audit", type=Path, help="data/audit/audit.parquet")
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--rows", help="as 1,4-6: the findings with these numbers")
    chosen.add_argument("--least", type=float, help="all findings from this confidence on")
    parser.add_argument("--kind", choices=KINDS, action="append", help="with --least: of this kind")
    asked = parser.parse_args(words)
    try:
        rows = numbers(asked.rows) if asked.rows is not None else []
        if asked.rows is not None and not rows:
            raise BadConfig("--rows names no row: name rows as 1,4-6")
        count = accept(root, root / asked.audit, rows, asked.least or 0.0, asked.kind or KINDS)
    except VitrineError as error:
        print(f"accept: {error.title}: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{count:,} findings accepted into {corrections.FILE}: `dvc repro` lays them over")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))

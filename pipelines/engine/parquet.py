"""Parquet on the driver's side, whatever the engine: written in batches, under its final name at the end."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.engine.parts import files_of

BATCH_ROWS = 50_000
PROVENANCE = (b"vitrine.source", b"vitrine.licence")
"""Keys of a file's metadata that say where its rows come from and under which licence."""


def provenance(paths: Iterable[Path]) -> dict[bytes, bytes]:
    """Where the rows of these files come from: each file's words once, in their order, joined by "; "."""
    found: dict[bytes, dict[str, None]] = {key: {} for key in PROVENANCE}
    for path in paths:
        # The parts of a table have the same words.
        metadata = pq.read_schema(files_of(path)[0]).metadata or {}
        for key in PROVENANCE:
            words = metadata.get(key, b"").decode().split("; ")
            found[key].update(dict.fromkeys(word for word in words if word))
    return {key: "; ".join(words).encode() for key, words in found.items() if words}


def write_batches(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    path: Path,
    metadata: dict[bytes, bytes] | None = None,
    batch_rows: int = BATCH_ROWS,
) -> int:
    """Write batches as `schema` to `path` in row groups of `batch_rows`, and return the number of rows."""
    target = schema.with_metadata(metadata or None)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    total = 0
    waiting = target.empty_table()
    with pq.ParquetWriter(partial, target, compression="zstd") as writer:
        for batch in batches:
            total += batch.num_rows
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch]).cast(target)])
            while waiting.num_rows >= batch_rows:
                writer.write_table(waiting.slice(0, batch_rows).combine_chunks())
                waiting = waiting.slice(batch_rows)
        if waiting.num_rows:
            writer.write_table(waiting.combine_chunks())
    partial.replace(path)
    return total


def write_runs(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    column: str,
    folder: Path,
    names: Iterable[str],
    metadata: dict[bytes, bytes] | None = None,
) -> dict[str, int]:
    """Write each run of equal cells of `column`, which is left out, as `<cell>.parquet`, and return the rows of each.

    names: all files that are to be there; those without a run are empty.
    """
    kept = pa.schema([field for field in schema if field.name != column])
    counts = {}
    for name, run in itertools.groupby(_runs(batches, column), key=lambda pair: pair[0]):
        path = folder / f"{name}.parquet"
        counts[name] = write_batches((rows for _, rows in run), kept, path, metadata)
    for name in names:
        if name not in counts:
            counts[name] = write_batches([], kept, folder / f"{name}.parquet", metadata)
    return counts


def _runs(batches: Iterable[pa.RecordBatch], column: str) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Slices of the batches in which all cells of `column` are equal, with that cell, without that column."""
    for batch in batches:
        runs = pc.run_end_encode(batch.column(column))
        rest = batch.drop_columns([column])
        start = 0
        for end, name in zip(runs.run_ends.to_pylist(), runs.values.to_pylist(), strict=True):
            yield name, rest.slice(start, end - start)
            start = end


def out_of_order(path: Path, order: list[str]) -> int:
    """How many rows of a Parquet file come before the row above them, by the columns `order` (nulls last)."""
    wrong = 0
    last = None
    for batch in pq.ParquetFile(path).iter_batches(batch_size=BATCH_ROWS, columns=order):
        rows = pa.Table.from_batches([batch])
        if last is not None:
            rows = pa.concat_tables([last, rows])
        last = rows.slice(rows.num_rows - 1)
        wrong += _descents(rows.select(order))
    return wrong


def _descents(rows: pa.Table) -> int:
    above, below = rows.slice(0, rows.num_rows - 1), rows.slice(1)
    descends = pa.array([False] * above.num_rows, pa.bool_())
    equal = pa.array([True] * above.num_rows, pa.bool_())
    for name in rows.column_names:
        upper, lower = above.column(name), below.column(name)
        upper_null, lower_null = pc.is_null(upper), pc.is_null(lower)
        falls = pc.or_(
            pc.fill_null(pc.less(lower, upper), False), pc.and_not(upper_null, lower_null)
        )
        same = pc.or_(pc.fill_null(pc.equal(lower, upper), False), pc.and_(upper_null, lower_null))
        descends = pc.or_(descends, pc.and_(equal, falls))
        equal = pc.and_(equal, same)
    return int(pc.sum(descends).as_py() or 0)


def undecodable(path: Path) -> tuple[str, list[int]] | None:
    """The first column of text with bytes that are not UTF-8, and its rows counted from 0; None where all are."""
    schema = pq.read_schema(path)
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    found: dict[str, list[int]] = {name: [] for name in texts}
    start = 0
    for batch in pq.ParquetFile(path).iter_batches(batch_size=BATCH_ROWS, columns=texts):
        for name in texts:
            for at, cell in enumerate(batch.column(name).cast(pa.binary())):
                try:
                    (cell.as_py() or b"").decode()
                except UnicodeDecodeError:
                    found[name].append(start + at)
        start += batch.num_rows
    return next(((name, rows) for name, rows in found.items() if rows), None)

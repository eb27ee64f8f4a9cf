"""Readable features of users and items as of a moment, past or present: `python -m pipelines.past_features MOMENT`.

They tell of the events before MOMENT (ISO 8601, UTC where no zone is given) and of no later one, in the columns of the
stage `behaviour`: `users.parquet` and `items.parquet` in
`.vitrine/features/<moment>/`. A folder that is there is not made again; it appears when it is complete.
"""

import argparse
import datetime
import sys
from pathlib import Path

import ibis

from pipelines import engine
from pipelines.harness import MissingResource, VitrineError
from pipelines.harness.absent import made
from pipelines.harness.params import as_moment, read_params, read_tables
from pipelines.harness.stage import settle, stage_lock
from pipelines.harness.state import State
from pipelines.history.change import figures_of_all
from pipelines.history.sums import Sums, orders, pairs
from pipelines.lists.archive import filing
from pipelines.tables import Interactions

FILES = {Interactions.USER: "users.parquet", Interactions.ITEM: "items.parquet"}


def archive(state: State) -> Path:
    """The folder of all moments' features."""
    return state.home / "features"


def make(root: Path, moment: datetime.datetime) -> Path:
    """The folder of the features as of `moment`, made or found.

    Raises `MissingResource` where a table is not made yet, or holds no event before the moment.
    """
    state, document = State(root), read_params(root)
    name = f"{moment:%Y%m%dT%H%M%S}"
    place = archive(state) / name
    with stage_lock(state, f"features-{name}"):
        if place.exists():
            return place
        settle(document["seed"], document["threads"])
        stages = {table: f"validate-{table}" for table in ("interactions", "products")}
        tables = {
            table: made(root / "data" / stage / "table.parquet", stage)
            for table, stage in stages.items()
        }
        spill = state.spill / f"features-{name}"
        with (
            engine.engine(
                document["threads"], engine.MEMORY_GB, spill, read_tables(document)
            ) as connection,
            filing(place) as folder,
        ):
            events = engine.read_parquet(connection, tables["interactions"])
            events = events.filter(events[Interactions.TIME] < ibis.literal(moment))
            if not engine.count(events):
                raise MissingResource(
                    f"{tables['interactions']} holds no event before {moment.isoformat()}"
                )
            products = engine.read_parquet(connection, tables["products"])
            ordered = orders(events) if Interactions.ORDER in events.columns else None
            sums = Sums(pairs(events), ordered)
            for key, figures in figures_of_all(connection, sums, products, None).items():
                engine.write(figures, folder / FILES[key], [key])
    return place


def main(words: list[str], root: Path) -> int:
    """The command line; the exit status is that of the class of failure."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.past_features", description=__doc__)
    parser.add_argument("moment", help="as 2026-01-31, or 2026-01-31T06:00")
    asked = parser.parse_args(words)
    try:
        print(make(root, as_moment(asked.moment)))
    except VitrineError as error:
        print(f"past_features: {error.title}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))

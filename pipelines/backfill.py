"""Make everybody's list as of a moment, past or present: `python -m pipelines.backfill MOMENT`.

The lists know the events before MOMENT (ISO 8601, UTC where no zone is given) and no later one; they go to the archive
of lists. The champion of today makes them: lists of a past before the models were fitted say so (hindsight). Where there
is none they hold what sold by then. Lists that are in the archive already are not made again, nor are the blocks of users
that a run which was cut off had done.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.kinds import load_model
from pipelines import engine
from pipelines.harness import MissingResource, VitrineError
from pipelines.harness.absent import made
from pipelines.harness.params import as_moment, read_params, section
from pipelines.harness.stage import settle, stage_lock
from pipelines.harness.state import State
from pipelines.history import event_files
from pipelines.lists import archive as list_archive
from pipelines.lists.archive import Facts, Kept
from pipelines.lists.files import Tally, write
from pipelines.lists.parts import parts
from pipelines.own_tables import exclusions
from pipelines.own_tables.exclusions import Exclusions
from pipelines.promotion.registry import CHAMPION, Registry
from pipelines.recommend import (
    RecommendParams,
    everyone,
    items_of,
    listable,
    make_lists,
    open_shop,
    what_sells,
)
from pipelines.tables import Interactions, Products

CAPABILITY = "recommender"
CUT = "data/split/recommending/cut.json"


@dataclass(frozen=True)
class Tables:
    """The validated tables of today. events: files of them. moment: those before it count, `newest` is the last; there is one.
    files: what all were read from."""

    events: list[Path]
    moment: pa.Scalar
    newest: pd.Timestamp
    products: pd.DataFrame
    users: Path
    kept_off: Exclusions
    files: list[Path]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The events."""
        return event_files.batches(self.events, self.moment)


def backfill(root: Path, moment: pd.Timestamp) -> Kept:
    """The lists as of `moment`, made or found. Raises `MissingResource` where there are no events."""
    state, document = State(root), read_params(root)
    params = section(document, "recommend", RecommendParams)
    settle(document["seed"], document["threads"])
    tables = read_tables(root, moment)
    registry = Registry(state)
    champion = registry.aliases(CAPABILITY).get(CHAMPION)
    facts = Facts(
        known_until=tables.newest.isoformat(),
        before=moment.isoformat(),
        champion=champion.manifest if champion else list_archive.NO_MODEL,
        # What sells is counted from the events before the moment, and knows no more than they.
        fitted_before=fitted_before(root) if champion else moment.isoformat(),
        rows=0,
        users=0,
        maker="backfill",
    )
    with stage_lock(state, f"lists-{facts.name}"):
        for one in list_archive.kept(state):
            if one.facts.name == facts.name:
                return one
        if champion:
            with registry.fetch(champion) as folder:
                model = load_model(folder)
        else:
            items = [*tables.products[Products.ITEM], *items_of(tables.batches())]
            model = what_sells(items, params.half_life_days)
        items = listable(model.items, tables.products)
        known = event_files.written(tables.batches(), items, state.spill / f"lists-{facts.name}")
        shop = open_shop(known, tables.products, params, tables.kept_off)
        users = everyone(known, tables.users)
        words = [facts.name, facts.champion, facts.before, params.model_dump_json()]
        with (
            parts(state, words, tables.files) as done,
            list_archive.filing(list_archive.archive(state) / facts.name) as place,
        ):
            blocks = make_lists(model, shop, known, users, params, done)
            tally = Tally(params.k)
            write(tally.watch(blocks), place / list_archive.LISTS)
            facts = replace(facts, rows=tally.rows, users=len(users))
            list_archive.write_facts(place, facts)
    return Kept(list_archive.archive(state) / facts.name, facts)


def read_tables(root: Path, moment: pd.Timestamp) -> Tables:
    """The validated tables, with the events before `moment`."""
    stages = {name: f"validate-{name}" for name in ("interactions", "products", "users")}
    paths = {
        name: made(root / "data" / stage / "table.parquet", stage) for name, stage in stages.items()
    }
    events = engine.files_of(paths["interactions"])
    before = pa.scalar(
        moment.to_pydatetime(), pq.read_schema(events[0]).field(Interactions.TIME).type
    )
    newest = [
        pc.max(batch[Interactions.TIME]).as_py()
        for batch in event_files.batches(events, before)
        if len(batch)
    ]
    if not newest:
        raise MissingResource(f"{paths['interactions']} holds no event before {moment.isoformat()}")
    products = pq.read_table(paths["products"]).to_pandas()
    own = root / exclusions.FILE
    files = [file for path in paths.values() for file in engine.files_of(path)]
    files += [own] if own.exists() else []
    found = pd.Timestamp(max(newest))
    return Tables(events, before, found, products, paths["users"], exclusions.read(own), files)


def fitted_before(root: Path) -> str:
    """The moment from which on the models were fitted on nothing: the first of the test days."""
    path = root / CUT
    if not path.exists():
        raise MissingResource(f"{path} is missing: run `dvc repro split`")
    return json.loads(path.read_text("utf-8"))["test_from"]


def main(words: list[str], root: Path) -> int:
    """The command line; the exit status is that of the class of failure."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.backfill", description=__doc__)
    parser.add_argument("moment", help="as 2026-01-31, or 2026-01-31T06:00")
    asked = parser.parse_args(words)
    try:
        kept = backfill(root, pd.Timestamp(as_moment(asked.moment)))
    except VitrineError as error:
        print(f"backfill: {error.title}: {error}", file=sys.stderr)
        return error.exit_code
    facts = kept.facts
    note = "; with hindsight: the models were fitted on later events" if facts.hindsight else ""
    print(f"{facts.users:,} users, {facts.rows:,} rows, known until {facts.known_until}{note}")
    print(kept.lists)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))

"""Put the lists of all partitions where they are read: into the archive, and into a table where a database is set up.

Like a promotion it changes what lies outside of `data/`; doing it again changes nothing. The receipt says what stands.
All lists go by here, so that figures over all users are counted here: how many are full, what share of the catalogue is
on one, for which reasons.
"""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.harness import MissingResource, Params, Run, stage
from pipelines.harness.graph import folder_of
from pipelines.harness.shelf import file_hash
from pipelines.lists import archive as list_archive
from pipelines.lists.archive import Facts
from pipelines.lists.files import NAME, REASONS, Tally, read, write
from pipelines.lists_table import database
from pipelines.lists_table import deliver as to_table
from pipelines.tables import Interactions

SPLIT = "split/recommending"
PARTS = ("train", "valid", "test")
MAKER = "recommend"
"""The stage whose instances make the lists of a partition of users each."""


class DeliverParams(Params):
    """Nothing to set: the database is named by the environment, never by a file."""


@stage
def deliver(run: Run, params: DeliverParams) -> None:
    places = [folder_of(name) for name in run.graph.instances(MAKER)]
    files = [run.input(f"{place}/{NAME}") for place in places]
    told = whole([run.input(f"{place}/metrics.json") for place in places])
    receipt = json.loads(run.input("promote/recommender/receipt.json").read_text("utf-8"))
    newest = max(_newest(run.input(f"{SPLIT}/{part}.parquet")) for part in PARTS)
    cut = json.loads(run.input(f"{SPLIT}/cut.json").read_text("utf-8"))
    facts = Facts(
        known_until=newest,
        before=newest,
        champion=receipt["champion"] or list_archive.NO_MODEL,
        fitted_before=cut["test_from"],
        rows=0,
        users=0,
        maker=MAKER,
    )
    place = list_archive.archive(run.state) / facts.name
    tally = Tally(int(told["places"]))
    with list_archive.filing(place) as folder:
        write(tally.watch(read(files)), folder / list_archive.LISTS)
        list_archive.write_facts(folder, replace(facts, rows=tally.rows, users=tally.users))
    lists = place / list_archive.LISTS
    url = database()
    if url:
        done = to_table(lists, url)
        run.say(f"{done.rows:,} rows on show in the table, {done.written:,} of them written now")
    note = {"lists": file_hash(lists), "kept": facts.name}
    text = json.dumps(note, indent=1, sort_keys=True) + "\n"
    run.output("receipt.json").write_text(text, encoding="utf-8")
    run.rows_in = run.rows_out = tally.rows
    run.measure("users", told["users"])
    run.measure("full_lists", tally.full / max(told["users"], 1))
    run.measure("catalogue_coverage", len(tally.items) / max(told["available"], 1))
    for reason in REASONS:
        run.measure(f"reason_{reason}", tally.reasons[reason] / max(tally.rows, 1))


def whole(notes: list[Path]) -> dict[str, float]:
    """What all partitions say alike of the whole: partitions, places, available, users. notes: their `metrics.json`.

    Raises `MissingResource` where they are not the partitions of one whole.
    """
    told = [json.loads(path.read_text("utf-8"))["measures"] for path in notes]
    own = sum(one.pop("own_users") for one in told)
    first = told[0]
    if (
        first["partitions"] != len(told)
        or first["users"] != own
        or any(one != first for one in told)
    ):
        raise MissingResource(
            f"the {len(told)} partitions of the lists are not those of one whole: run `dvc repro {MAKER}`"
        )
    return first


def _newest(path: Path) -> str:
    """The newest time of a table, "" where it has no row."""
    found = pc.max(pq.read_table(path, columns=[Interactions.TIME])[Interactions.TIME]).as_py()
    return found.isoformat() if found else ""


if __name__ == "__main__":
    deliver.main()

"""Put the lists where they are read: into the archive, and into a table where a database is set up.

Like a promotion it changes what lies outside of `data/`; doing it again changes nothing. The receipt says what stands.
"""

import json
import shutil
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines import list_archive
from pipelines.harness import Params, Run, stage
from pipelines.list_archive import Facts
from pipelines.lists_table import database
from pipelines.lists_table import deliver as to_table
from pipelines.tables import Interactions

SPLIT = "split/recommending"
PARTS = ("train", "valid", "test")


class DeliverParams(Params):
    """Nothing to set: the database is named by the environment, never by a file."""


@stage
def deliver(run: Run, params: DeliverParams) -> None:
    lists = run.input("recommend/lists.parquet")
    columns = pq.read_table(lists, columns=[Interactions.USER])
    run.rows_in = run.rows_out = len(columns)
    receipt = json.loads(run.input("promote/recommender/receipt.json").read_text("utf-8"))
    newest = max(_newest(run.input(f"{SPLIT}/{part}.parquet")) for part in PARTS)
    cut = json.loads(run.input(f"{SPLIT}/cut.json").read_text("utf-8"))
    facts = Facts(
        known_until=newest,
        before=newest,
        champion=receipt["champion"] or list_archive.NO_MODEL,
        fitted_before=cut["test_from"],
        rows=len(columns),
        users=len(columns[Interactions.USER].unique()),
        maker="recommend",
    )
    with list_archive.filing(list_archive.archive(run.state) / facts.name) as folder:
        shutil.copyfile(lists, folder / list_archive.LISTS)
        list_archive.write_facts(folder, facts)
    url = database()
    if url:
        done = to_table(lists, url)
        run.say(f"{done.rows:,} rows on show in the table, {done.written:,} of them written now")
    note = {"lists": list_archive.digest(lists), "kept": facts.name}
    text = json.dumps(note, indent=1, sort_keys=True) + "\n"
    run.output("receipt.json").write_text(text, encoding="utf-8")


def _newest(path: Path) -> str:
    """The newest time of a table, "" where it has no row."""
    found = pc.max(pq.read_table(path, columns=[Interactions.TIME])[Interactions.TIME]).as_py()
    return found.isoformat() if found else ""


if __name__ == "__main__":
    deliver.main()

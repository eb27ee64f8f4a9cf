"""What a day's file more costs: `python -m benchmarks.append [--days 365] [--events 10000] [--folder /tmp/shop]`.

The shop of `benchmarks.tables`, with a CSV file of events a day, goes through ingest, the gates of products, users and
events, the split and the figures of behaviour, each stage in a process of its own, by the stages' own commands: the first
days from nothing; then one day more; then the same again in a folder that knows nothing, which has to write the same bytes.
Told are seconds by the clock and of the processor, the peak of memory, and the share of the processor's time that the run
from nothing takes.
"""

import argparse
import filecmp
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks import tables
from benchmarks.tables import Cost
from pipelines.harness.shelf import file_hash

STEPS = {
    "ingest of the shop": [("pipelines.ingest_shop",)],
    "gates of products and users": [("pipelines.validate", name) for name in ("products", "users")],
    "gate of events": [("pipelines.validate", "interactions")],
    "split": [("pipelines.split",)],
    "behaviour": [("pipelines.behaviour",)],
}
"""The stages: ingest, the gates, the cut, and the features that are made of events."""
READ = {
    "gates of products and users": (
        "data/ingest-shop/products.parquet",
        "data/ingest-shop/users.parquet",
    )
}
"""What a step reads, where a day more may leave it as it was."""
FEWEST_DAYS = 60
STATE = ("data", ".vitrine")
OUTS = (
    "data/ingest-shop/interactions.parquet",
    "data/validate-interactions",
    "data/split",
    "data/behaviour",
)


def cut(folder: Path, days: int) -> list[Path]:
    """Cut `events.parquet` at midnight into a CSV a day in `later/`, and return them in their order."""
    later = folder / "later"
    later.mkdir()
    events = pq.read_table(folder / "events.parquet")
    start = tables.START.astype("datetime64[s]").astype(np.int64)
    day = pc.divide(pc.subtract(events["timestamp"], start), 86_400)
    found = []
    for number in range(days):
        found.append(later / f"events-{number:05d}.csv")
        pyarrow.csv.write_csv(events.filter(pc.equal(day, number)), found[-1])
    return found


def project(folder: Path, memory_gb: float) -> None:
    """The project of `benchmarks.tables`, which reads its events from the files of a folder."""
    tables.project(folder, memory_gb)
    params, graph = folder / "params.yaml", folder / "dvc.yaml"
    document = yaml.safe_load(params.read_text("utf-8"))
    events = document["shop"]["interactions"][0]
    before, after = events["files"][0], str(folder / "events")
    events |= {"format": "csv", "files": [after]}
    params.write_text(yaml.safe_dump(document), "utf-8")
    graph.write_text(graph.read_text("utf-8").replace(before, after), "utf-8")


def equal(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files, byte for byte."""
    names = [
        sorted(path.relative_to(top) for path in top.rglob("*") if path.is_file())
        for top in (one, other)
    ]
    same, differ, odd = filecmp.cmpfiles(one, other, names[0], shallow=False)
    return names[0] == names[1] and not differ and not odd


def looked_at(folder: Path, seen: dict[str, list[str]]) -> dict[str, Cost]:
    """What each step costs with the files as they are; one that would read what it has read before is left out.

    seen: step to hashes of what it read the last time, which is kept here.
    """
    for step in tables.ABSENT:
        tables.lack(folder, step)
    found = {}
    for step, calls in STEPS.items():
        hashes = [hash_of(folder / name) for name in READ.get(step, ())]
        if not hashes or seen.get(step) != hashes:
            found |= tables.stages(folder, {step: calls})
            seen[step] = hashes
    return found


def hash_of(path: Path) -> str:
    """Of a file, or of all in a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return " ".join(file_hash(file) for file in files if file.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--days", type=int, default=365, help="of history; one more comes")
    parser.add_argument("--events", type=int, default=10_000, help="of a day")
    parser.add_argument(
        "--memory-gb", type=float, default=1.5, help="what tables may take in a stage"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the shop is made and left (default: a scratch folder)"
    )
    given = parser.parse_args()
    if given.days < FEWEST_DAYS:
        parser.error(f"--days: {FEWEST_DAYS} or more, for the split holds back the last 56")
    with tempfile.TemporaryDirectory(prefix="vitrine-append-") as scratch:
        folder = given.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        tables.make(folder, (given.days + 1) * given.events, days=given.days + 1)
        project(folder, given.memory_gb)
        *history, today = cut(folder, given.days + 1)
        (folder / "events").mkdir()
        for file in history:
            file.rename(folder / "events" / file.name)
        seen: dict[str, list[str]] = {}
        costs = {f"{given.days} days": looked_at(folder, seen)}
        today.rename(folder / "events" / today.name)
        costs["a day more"] = looked_at(folder, seen)
        for name in STATE:
            (folder / name).rename(folder / f"{name}-grown")
        costs["from nothing"] = looked_at(folder, {})
        grown = [folder / out.replace("data", "data-grown", 1) for out in OUTS]
        if not all(equal(folder / out, made) for out, made in zip(OUTS, grown, strict=True)):
            sys.exit("what was appended is not what a run from nothing writes")
        for name in STATE:
            shutil.rmtree(folder / f"{name}-grown")
    whole = costs["from nothing"]
    title = f"{given.days:,} days of {given.events:,} events, on {os.cpu_count()} processors"
    table = Table(title=title)
    table.add_column("run")
    table.add_column("step")
    for name in ("seconds", "processor", "peak GB", "share"):
        table.add_column(name, justify="right")
    for way, steps in costs.items():
        for step, cost in {**steps, "all": Cost.of(list(steps.values()))}.items():
            against = whole[step] if step in whole else Cost.of(list(whole.values()))
            shown = (f"{cost.seconds:.1f}", f"{cost.cpu:.1f}", f"{cost.gigabytes:.2f}")
            table.add_row(way, step, *shown, f"{cost.cpu / against.cpu:.0%}")
    Console().print(table)


if __name__ == "__main__":
    main()

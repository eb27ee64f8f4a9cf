"""What the tables of a large shop cost: `python -m benchmarks.tables [--events 1000000] [--folder /tmp/shop]
[--engine duckdb|spark]`.

A shop is made from a seed: a product for ten events and a user for twenty, with the skew of real shops (few products make
most of the sales, few users most of the visits), events as Parquet and products as CSV. Its tables go through ingest,
validation and split, each stage in a process of its own, by the stages' own commands; and through plain pandas, which
reads the same files, checks the same keys, fields and doubles, and cuts at the same moments, in one process a step. Told
are seconds by the clock and of the processor, and the peak of memory (`ru_maxrss`) of each. `--no-pandas` for sizes that
pandas can't hold. `--engine spark` runs the stages on Spark; the peak is then that of the larger process, Python or Java.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.table_peers import PANDAS
from pipelines.harness.params import ENGINES
from pipelines.inspecting import writing
from pipelines.sources.shop import ShopParams

ROOT = Path(__file__).resolve().parents[1]
START = np.datetime64("2023-01-01", "us")
DAYS = 365
BLOCK = 1_000_000
OF_PRODUCT, OF_USER = 10, 20
"""Events for each product, and for each user."""
STAGES = {
    "ingest": [("pipelines.ingest_shop",)],
    "validate": [("pipelines.validate", name) for name in ("products", "users", "interactions")],
    "split": [("pipelines.split",)],
}
ABSENT = {
    "ingest": """
from pipelines.ingest_pictures import ingest_pictures
from pipelines.ingest_reviews import ingest_reviews
from pipelines.ingest_reviews_zh import ingest_reviews_zh
runs = [(ingest_pictures, None), (ingest_reviews, None), (ingest_reviews_zh, None)]
""",
    "validate": """
from pipelines.validate import validate
runs = [(validate, name) for name in ("images", "reviews", "questions")]
""",
}
"""Stages that have nothing to do here, and tell those that follow so; they run beforehand and are not measured."""


def make(
    folder: Path,
    events: int,
    seed: int = 1,
    days: int = DAYS,
    of_product: int = OF_PRODUCT,
    of_user: int = OF_USER,
) -> None:
    """Write `events.parquet`, in the order of time over so many days, and `products.csv` of a made shop.

    of_product, of_user: events for each of them.
    """
    rng = np.random.default_rng(seed)
    products, users = max(events // of_product, 10), max(events // of_user, 10)
    at = np.arange(products)
    kinds = rng.zipf(1.3, products) % 60
    table = {
        "item_id": [f"p{one:07d}" for one in at],
        "title": [f"Product {one} of kind {kind}" for one, kind in zip(at, kinds, strict=True)],
        "category": [f"kind {kind}" for kind in kinds],
        "brand": [f"brand {one}" for one in rng.zipf(1.5, products) % 400],
        "price": np.round(rng.lognormal(2.5, 1.0, products), 2),
    }
    pyarrow.csv.write_csv(pa.table(table), folder / "products.csv")
    names = {
        "item": pa.array(table["item_id"]),
        "user": pa.array([f"u{one:07d}" for one in range(users)]),
    }
    order = {"item": rng.permutation(products), "user": rng.permutation(users)}
    writer = None
    for start in range(0, events, BLOCK):
        count = min(BLOCK, events - start)
        # The share of the first places is that of a power law; which they are is drawn.
        item, user = (
            order[name][(len(order[name]) * rng.random(count) ** power).astype(np.int64)]
            for name, power in (("item", 3.0), ("user", 2.0))
        )
        span = days * 86400 / events
        moments = (start + np.sort(rng.random(count)) * count) * span
        batch = pa.table(
            {
                "user_id": names["user"].take(pa.array(user)),
                "item_id": names["item"].take(pa.array(item)),
                "timestamp": START.astype("datetime64[s]").astype(np.int64)
                + moments.astype(np.int64),
                "event": pa.array(["view", "cart", "purchase"]).take(
                    pa.array(rng.choice(3, count, p=[0.8, 0.12, 0.08]))
                ),
                "price": table["price"][item],
                "value": np.ones(count),
            }
        )
        writer = writer or pq.ParquetWriter(folder / "events.parquet", batch.schema)
        writer.write_table(batch)
    if writer:
        writer.close()


def project(
    folder: Path,
    memory_gb: float,
    engine: str = "duckdb",
    master: str = "local",
    threads: int | None = None,
    encoder: str = "package",
) -> None:
    """A project's folder with the product's graph, and parameters that name the made shop and the engine.

    threads: of a stage; None: as many as there are processors. encoder: of titles.
    """
    document = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    document["profile"] = "default"
    document["threads"] = threads or len(os.sched_getaffinity(0))
    document["profiles"]["default"]["text-features"]["encoder"] = encoder
    document["tables"] = {"engine": engine, "master": master}
    columns = {
        name: name for name in ("user_id", "item_id", "timestamp", "event", "price", "value")
    }
    features = {name: name for name in ("item_id", "title", "category", "brand", "price")}
    document["shop"] = {
        "interactions": [
            {
                "format": "parquet",
                "files": [str(folder / "events.parquet")],
                "columns": columns,
                "time": {"unit": "s"},
            }
        ],
        "products": [
            {
                "format": "csv",
                "files": [str(folder / "products.csv")],
                "columns": features,
                "constants": {"currency": "EUR"},
            }
        ],
        "bots_above": 300,
        "memory_gb": memory_gb,
    }
    for section in ("ingest-shop", "validate", "split", "behaviour"):
        document[section]["memory_gb"] = memory_gb
    (folder / "params.yaml").write_text(yaml.safe_dump(document), "utf-8")
    graph = writing.with_deps(
        (ROOT / "dvc.yaml").read_text("utf-8"), ShopParams(**document["shop"])
    )
    (folder / "dvc.yaml").write_text(graph, "utf-8")


@dataclass(frozen=True)
class Cost:
    """Of one process and what it starts: seconds by the clock and of processors, peak of memory."""

    seconds: float
    cpu: float
    gigabytes: float

    @classmethod
    def of(cls, costs: list["Cost"]) -> "Cost":
        """Of processes one after the other."""
        return cls(
            sum(one.seconds for one in costs),
            sum(one.cpu for one in costs),
            max(one.gigabytes for one in costs),
        )


def measured(words: list[str], folder: Path, environment: dict[str, str]) -> Cost:
    """What one process costs. Raises `SystemExit` where it fails."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(words, cwd=folder, env=environment, stdout=said, stderr=said)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            sys.exit(
                f"{' '.join(words)}: status {child.returncode}\n{said.read().decode()[-3000:]}"
            )
    return Cost(time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6)


def stages(folder: Path, steps: Mapping[str, list[tuple[str, ...]]] = STAGES) -> dict[str, Cost]:
    """Each step by the stages' own commands."""
    found = {}
    for step, calls in steps.items():
        if step in ABSENT:
            lack(folder, step)
        found[step] = Cost.of(
            [measured([sys.executable, "-m", *call], folder, environment()) for call in calls]
        )
    return found


def lack(folder: Path, step: str, absent: Mapping[str, str] = ABSENT) -> None:
    """Have the stages of a step that have nothing to do here tell so."""
    run = "assert not any(stage.run(name, Path.cwd()) for stage, name in runs)"
    code = f"from pathlib import Path\n{absent[step]}{run}"
    measured([sys.executable, "-c", code], folder, environment())


def environment() -> dict[str, str]:
    """Of a process that has this project's modules and none of its state."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    found = {**os.environ, "PYTHONPATH": path}
    found.pop("MLFLOW_TRACKING_URI", None)
    return found


def pandas_steps(folder: Path) -> dict[str, Cost]:
    """The same steps in plain pandas."""
    out = folder / "pandas"
    out.mkdir(exist_ok=True)
    programs = {step: PANDAS.program(step, folder, out, 1, 0.0) for step in PANDAS.steps}
    return {
        step: measured([sys.executable, "-c", code], folder, dict(os.environ))
        for step, code in programs.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument(
        "--memory-gb", type=float, default=1.5, help="what tables may take in a stage"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the shop is made and left (default: a scratch folder)"
    )
    parser.add_argument("--no-pandas", action="store_true")
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="of the stages")
    parser.add_argument("--master", default="local", help="of Spark, as `tables.master`")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vitrine-tables-") as scratch:
        folder = given.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        make(folder, given.events)
        project(folder, given.memory_gb, given.engine, given.master)
        ours = stages(folder)
        theirs = {} if given.no_pandas else pandas_steps(folder)
    table = Table(
        title=f"{given.events:,} events, {max(given.events // OF_PRODUCT, 10):,} products"
    )
    table.add_column("step")
    for name in ("seconds", "processor", "peak GB"):
        table.add_column(name, justify="right")
    for way, costs in (("stages", ours), ("pandas", theirs)):
        whole = {"all": Cost.of(list(costs.values()))} if costs else {}
        for step, cost in {**costs, **whole}.items():
            shown = (f"{cost.seconds:.1f}", f"{cost.cpu:.1f}", f"{cost.gigabytes:.2f}")
            table.add_row(f"{step}, {way}", *shown)
    Console().print(table)


if __name__ == "__main__":
    main()

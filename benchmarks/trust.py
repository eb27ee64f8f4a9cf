"""How far a planted attack moves what is shown of a product, with and without the flags.

    python -m benchmarks.trust --reviews F [--share 0.05]

F: JSON lines with review_id, item, user, text, stars and time (seconds). Attacked in turn are the 20 products with most
reviews: each gets one-star reviews by new users within four days, as many as `--share` of all its reviews, but never
fewer than ten; half have the text of another product's review, half are a few templates with changed words. Printed:
the share of praise (four stars and more among those that praise or blame) before, and how far the attack moves it.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

LEAST = 10
PRODUCTS = 20
TEMPLATES = (
    "Terrible {0}, do not buy this, it broke after {1} days and the seller did not answer me.",
    "I regret this {0}. After {1} days it stopped working and nobody helps, stay away from it.",
)


def main(words: list[str], root: Path) -> int:
    """Print one line a product, and the largest moves."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trust", description=__doc__)
    parser.add_argument("--reviews", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.05)
    asked = parser.parse_args(words)
    from pipelines.harness.params import read_params, section
    from pipelines.review_trust import ReviewTrustParams, flags, sides_of, whole_reviews

    document = read_params(root)
    settings = section(document, "review-trust", ReviewTrustParams).trust
    lines = [json.loads(line) for line in asked.reviews.read_text("utf-8").splitlines()]
    reviews = frame(pd.DataFrame(lines))
    rng = np.random.default_rng(document["seed"])
    started = time.perf_counter()
    bad = set(flags(whole_reviews(reviews), settings)["review_id"])
    seconds = time.perf_counter() - started
    print(f"{len(reviews)} reviews, {len(bad)} flagged before any attack, {seconds:.1f} s")
    top = reviews["item_id"].value_counts().head(PRODUCTS).index.sort_values()
    attacked = pd.concat([reviews, *(attack(reviews, item, asked.share, rng) for item in top)])
    table = whole_reviews(attacked.reset_index(drop=True))
    flagged = table["review_id"].isin(set(flags(table, settings)["review_id"]))
    planted = table["review_id"].str.startswith("planted-")
    table["side"] = sides_of(table)
    print("product          planted  caught  before  moved without flags  moved with flags")
    moves = []
    for item in top:
        mine = (table["item_id"] == item) & (table["side"] != 0)
        before = praise(table[mine & ~planted])
        open_, kept = praise(table[mine]) - before, praise(table[mine & ~flagged]) - before
        moves.append((abs(open_), abs(kept)))
        count, caught = int((mine & planted).sum()), int((mine & planted & flagged).sum())
        print(f"{item:<16} {count:7} {caught:7} {before:7.3f} {open_:+20.3f} {kept:+17.3f}")
    worst = np.max(np.asarray(moves), axis=0)
    print(f"largest move: {worst[0]:.3f} without flags, {worst[1]:.3f} with flags")
    return 0


def frame(lines: pd.DataFrame) -> pd.DataFrame:
    """The reviews as the canonical table."""
    return pd.DataFrame(
        {
            "review_id": lines["review_id"].astype(str),
            "item_id": lines["item"].astype(str),
            "user_id": lines["user"].astype(str),
            "text": lines["text"].fillna("").astype(str),
            "rating": lines["stars"].astype(float),
            "timestamp": pd.to_datetime(lines["time"], unit="s", utc=True).dt.as_unit("us"),
            "language": "en",
        }
    )


def attack(
    reviews: pd.DataFrame, item: str, share: float, rng: np.random.Generator
) -> pd.DataFrame:
    """One-star reviews of `item` by new users within four days."""
    mine = reviews[reviews["item_id"] == item]
    count = max(round(share * len(mine)), LEAST)
    others = reviews[(reviews["item_id"] != item) & (reviews["text"].str.len() > 100)]["text"]
    copied = others.sample(count, random_state=int(rng.integers(1 << 30))).tolist()
    made = [
        TEMPLATES[at % len(TEMPLATES)].format(rng.choice(["thing", "toy", "product"]), at + 2)
        for at in range(count)
    ]
    first = mine["timestamp"].min()
    start = first + (mine["timestamp"].max() - first) * float(rng.random())
    return pd.DataFrame(
        {
            "review_id": [f"planted-{item}-{at:03d}" for at in range(count)],
            "item_id": item,
            "user_id": [f"new-{item}-{at}" for at in range(count)],
            "text": [copied[at] if at % 2 else made[at] for at in range(count)],
            "rating": 1.0,
            "timestamp": start + pd.to_timedelta(rng.uniform(0, 4, count), unit="D").round("s"),
            "language": "en",
        }
    )


def praise(rows: pd.DataFrame) -> float:
    """The share of praise."""
    return float((rows["side"] > 0).mean())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))

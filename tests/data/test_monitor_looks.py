"""Looks at many unchanged shops: how often one raises an alarm, and what rate that leaves possible.

Limits are those of params.yaml, which share the chance of a false alarm among what a look compares. Every look compares
events; so that the test costs seconds a hundred, half of them also timed reviews, the other half the scores of two days' lists, and
one of eight judges lists by what their users did since. Tables without a time, which the product compares with those that
models were trained on, are left out: unchanged, they are equal.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import beta

from pipelines.harness.state import State
from pipelines.lists import archive as list_archive
from pipelines.lists.archive import Facts, Kept, write_facts
from pipelines.monitor import REVIEWS, Shop, look
from tests.unit.test_monitor import ITEMS, NOW, PARAMS, alarms

LOOKS, JUDGED = 400, 8
USERS, DAYS, EVENTS, WRITTEN, LONG = 600, 112, 4000, 2000, 5
PAIR = ("27", "28")
NAMES = np.array([f"u{at:03d}" for at in range(USERS)])
SAID = np.array(["x" * length for length in range(400)])


@dataclass(frozen=True)
class Held(Shop):
    """A shop whose tables beside the events are in memory: reading the same files again tells nothing."""

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)

    def table(self, name: str) -> pd.DataFrame | None:
        return self.tables.get(name)


def rows_of(rng: np.random.Generator, n: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Positions of the users of n rows at chance moments of `DAYS` days, and the rows: some users come more often."""
    share = rng.gamma(2.0, size=USERS)
    users = rng.choice(USERS, n, p=share / share.sum())
    weights = np.r_[[6.0, 4.0, 3.0], np.ones(len(ITEMS) - 3)]
    rows = {
        "user_id": NAMES[users],
        "item_id": ITEMS[rng.choice(len(ITEMS), n, p=weights / weights.sum())],
        "timestamp": NOW - pd.to_timedelta(rng.uniform(0, DAYS, n), unit="D"),
    }
    return users, pd.DataFrame(rows)


def unchanged(root: Path, seed: int, reviewed: bool) -> Held:
    """Events and timed reviews of one habit from first to last; each user has a level of prices and of stars."""
    rng = np.random.default_rng([1, seed])  # of the world: none that a look draws with
    users, events = rows_of(rng, EVENTS)
    level = rng.normal(1.0, 0.5, USERS)
    events = events.assign(event="purchase", price=rng.lognormal(level[users], 0.3))
    if not reviewed:
        return Held(root / "data", events, NOW)
    users, reviews = rows_of(rng, WRITTEN)
    level = rng.normal(3.5, 1.0, USERS)
    stars = np.clip(np.round(level[users] + rng.normal(0, 0.7, WRITTEN)), 1, 5)
    said = SAID[np.minimum(rng.geometric(0.02, WRITTEN), len(SAID) - 1)]
    reviews = reviews.assign(review_id=np.arange(WRITTEN).astype(str), rating=stars, text=said)
    return Held(root / "data", events, NOW, {REVIEWS: reviews})


def lists(root: Path, day: str, seed: int) -> Kept:
    """Everybody's list of a day, of the items that sell best; scores of one law, around a level of each user."""
    facts = Facts(f"2026-02-{day}T00:00:00+00:00", "", "c" * 64, "", 0, USERS, "test")
    rng = np.random.default_rng([2, seed])
    score = np.repeat(rng.normal(size=USERS), LONG) + rng.normal(size=USERS * LONG)
    columns = {
        "user_id": np.repeat(NAMES, LONG),
        "rank": np.tile(np.arange(1, LONG + 1, dtype="int32"), USERS),
        "item_id": np.tile(ITEMS[:LONG], USERS),
        "score": score,
    }
    kept = Kept(list_archive.archive(State(root)) / facts.name, facts)
    if not kept.folder.exists():
        kept.folder.mkdir(parents=True)
        write_facts(kept.folder, facts)
    pq.write_table(pa.table(columns), kept.lists)
    return kept


def raises(root: Path, old: Kept, seed: int) -> bool:
    """Whether one look at an unchanged shop raises an alarm."""
    reviewed = seed % 2 == 0
    pair = [] if reviewed else [lists(root, day, 2 * seed + at) for at, day in enumerate(PAIR)]
    archive = [*([old] if seed % JUDGED == 0 else []), *pair]
    return bool(alarms(look(unchanged(root, seed, reviewed), archive, PARAMS, seed)))


def test_unchanged_shops_raise_under_one_false_alarm_in_a_hundred_looks(tmp_path: Path) -> None:
    """The rate's upper bound of 95 %, one-sided, is Clopper's and Pearson's."""
    old = lists(tmp_path, "10", 2 * LOOKS)
    raised = sum(raises(tmp_path, old, seed) for seed in range(LOOKS))
    bound = float(beta.ppf(0.95, raised + 1, LOOKS - raised))
    assert bound < 0.01, f"{raised} of {LOOKS} looks"

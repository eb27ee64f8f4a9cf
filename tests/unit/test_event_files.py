"""Events in mapped files: the same as in memory to the bit, whatever fits into a block, and so is what is made of them."""

import mmap
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.recommenders.baselines import Popularity, UserNeighbours
from models.recommenders.events import Events, hash_order
from pipelines.capabilities import recommending as judge
from pipelines.history.event_files import batches, written

ITEMS = hash_order([f"Artikel 号 {at}" for at in range(100)])
KINDS = {"purchase": 2.0, "cart": 1.0, "view": 0.2}


def table(count: int, users: int, seed: int = 4) -> pa.Table:
    """Events in no order, many of one moment, a few of unknown items."""
    rng = np.random.default_rng(seed)
    days = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 200, count), "D")
    frame = pd.DataFrame(
        {
            "user_id": [f"u{at}" for at in (users * rng.random(count) ** 2).astype(int)],
            "item_id": [f"Artikel 号 {at}" for at in (110 * rng.random(count) ** 2).astype(int)],
            "timestamp": days,
            "event": rng.choice(list(KINDS), count),
        }
    )
    return pa.Table.from_pandas(frame, preserve_index=False)


def same(one: Events, other: Events) -> None:
    assert (one.users, one.now, one.kinds) == (other.users, other.now, other.kinds)
    for ours, theirs in zip(one.columns, other.columns, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def mapped(column: np.ndarray) -> bool:
    home: object = column
    while isinstance(home, np.ndarray):
        home = home.base
    return isinstance(home, mmap.mmap)


@pytest.mark.parametrize("block", [1 << 20, 300, 7])
@pytest.mark.parametrize("kinds", [None, KINDS, {"view": 1.0, "cart": 1.0}])
def test_files_hold_what_a_frame_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, kinds: dict[str, float] | None
) -> None:
    monkeypatch.setattr("models.recommenders.columns.BLOCK_EVENTS", block)
    rows = table(2_000, 150)
    pieces = [*rows.slice(0, 0).to_batches(), *rows.to_batches(max_chunksize=400)]
    files = written(pieces, ITEMS, tmp_path)
    frame = rows.to_pandas()
    same(files.events(kinds), Events.from_frame(frame, ITEMS, kinds=kinds))
    assert all(mapped(column) for column in files.columns)
    assert list(tmp_path.iterdir()) == []  # they have no name
    bought = [files.names.index("purchase")]
    some = files.where(lambda item, kind: np.isin(kind, bought)).events(now=1.0)
    wanted = Events.from_frame(frame[frame["event"] == "purchase"], ITEMS, now=1.0)
    named = [user for user in wanted.users if user in set(files.users)]
    same(some.of(named), wanted.of(named))


def test_there_may_be_nothing(tmp_path: Path) -> None:
    rows = table(3, 3)
    same(
        written(rows.to_batches(), [], tmp_path).events(KINDS, 5.0),
        Events.from_frame(rows.to_pandas(), [], 5.0, KINDS),
    )
    assert len(written([], ITEMS, tmp_path).events().user) == 0


def test_rows_are_read_up_to_a_moment(tmp_path: Path) -> None:
    rows = table(500, 30)
    pq.write_table(rows, tmp_path / "events.parquet")
    end = rows["timestamp"][0]
    found = pa.Table.from_batches(batches([tmp_path / "events.parquet"], end)).to_pandas()
    frame = rows.to_pandas()
    pd.testing.assert_frame_equal(
        found, frame[frame["timestamp"] < end.as_py()].reset_index(drop=True), check_dtype=False
    )


@pytest.mark.parametrize("kinds", [None, KINDS])
def test_what_is_told_of_files_is_what_is_told_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: dict[str, float] | None
) -> None:
    rows = table(3_000, 200)
    kept = Events.from_frame(rows.to_pandas(), ITEMS, kinds=kinds)
    asked = [f"u{at}" for at in range(0, 210, 3)]
    end = kept.now - 40.0

    def told(events: Events) -> list[object]:
        histories = events.histories
        mine = events.of(asked).histories
        return [
            *(getattr(histories, name) for name in ("indptr", "item", "decayed", "place")),
            events.later,
            events.popularity(30.0),
            events.popularity(7.0, end),
            *(column for column in events.before(end).columns),
            *(column for column in events.between(end, events.now).strongest.columns),
            *(column for column in events.drawn(1_000, 3).columns),
            events.bought_again,
            events.before(end).bought_again,
            judge.buyers(events),
            UserNeighbours.fit(events, 5).scores(mine),
            judge.tuned(Popularity.fit, events).scores(mine),
        ]

    whole = told(kept)
    monkeypatch.setattr("models.recommenders.columns.BLOCK_EVENTS", 64)
    on_disk = written(rows.to_batches(), ITEMS, tmp_path).events(kinds)
    for one, other in zip(whole, told(on_disk), strict=True):
        np.testing.assert_array_equal(one, other)
    assert on_disk.again_before(end) == whole[-4]


@pytest.mark.parametrize("block", [4096, 7])
def test_neighbours_of_those_who_ask_are_those_among_all(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """Also where rows are equal, where somebody is like nobody, and where the asked are not among the known."""
    events = Events.from_frame(table(1_500, 120).to_pandas(), ITEMS)
    asked = [*(f"u{at}" for at in range(0, 130, 2)), "nobody"]
    mine = events.of(asked).histories
    whole = UserNeighbours.fit(events, 5)
    monkeypatch.setattr("models.recommenders.baselines.TOGETHER", block)
    few = UserNeighbours.fit(events, 5, mine)
    assert few.known.shape[0] <= whole.known.shape[0]
    np.testing.assert_array_equal(few.scores(mine), whole.scores(mine))
    alone = events.of(["nobody"]).histories
    np.testing.assert_array_equal(
        UserNeighbours.fit(events, 5, alone).scores(alone), whole.scores(alone)
    )


def test_twins_and_the_own_row_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    users = [f"u{at}" for at in range(9)]
    item = np.array([[0, 1], [0, 1], [0, 1], [0, 2], [1, 2], [3, 4], [0, 1], [5, 6], [0, 5]])
    events = Events.from_arrays(
        users, ITEMS, np.repeat(np.arange(9), 2), item.ravel(), np.arange(18.0)
    )
    mine = events.histories
    monkeypatch.setattr("models.recommenders.baselines.TOGETHER", 2)
    for k in (1, 2, 4):
        whole, few = UserNeighbours.fit(events, k), UserNeighbours.fit(events, k, mine)
        np.testing.assert_array_equal(few.scores(mine), whole.scores(mine))
        one = mine.take(np.array([2]))
        few = UserNeighbours.fit(events, k, one)
        assert few.known.shape[0] <= k + 1
        np.testing.assert_array_equal(few.scores(one), whole.scores(one))


def test_files_take_less_memory_than_a_frame(tmp_path: Path) -> None:
    rows = table(50_000, 5_000)

    def peak(make: Callable[[], Events]) -> tuple[Events, int]:
        tracemalloc.start()
        made = make()
        reached = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return made, reached

    pieces = rows.to_batches(max_chunksize=8_192)
    ours, small = peak(lambda: written(pieces, ITEMS, tmp_path).events())
    wanted, large = peak(lambda: Events.from_frame(rows.to_pandas(), ITEMS))
    same(ours, wanted)
    assert small < large

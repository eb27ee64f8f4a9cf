"""Figures of behaviour: against each told event by event, and however the events were cut into parts."""

import datetime
import itertools
import math
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipelines import engine
from pipelines.history import figures as sums

START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
NAMES = ("user_id", "item_id", "timestamp", "price", "order_id", "part")
KINDS = (pa.string(), pa.string(), pa.timestamp("us", "UTC"), pa.float64(), pa.string(), pa.int64())
EVENTS = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from(["p1", "p2", "p3", "p4", "strange"]),
    st.sampled_from([0, 0.000001, 1, 3600, 86_400, 100_000.5, 9_000_000]).map(
        lambda seconds: START + datetime.timedelta(seconds=seconds)
    ),
    st.none() | st.integers(0, 10**7).map(lambda cents: cents / 100),
    st.sampled_from([None, "o1", "o2", "o3"]),
    st.integers(0, 2),
)
PRODUCTS = {
    "item_id": ["p1", "p2", "p3", "p4"],
    "category": ["tea", "pot", "pot", None],
    "brand": pa.array([None] * 4, pa.string()),
}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with engine.engine(1, 0.5, tmp_path_factory.mktemp("spill")) as opened:
        yield opened


def table(events: list[tuple[Any, ...]]) -> pa.Table:
    columns = zip(zip(*events, strict=True), KINDS, strict=True)
    return pa.table([pa.array(cells, kind) for cells, kind in columns], names=NAMES)


def made(connection: Any, events: list[tuple[Any, ...]], key: str, parts: bool) -> pa.Table:
    """The figures, of the events as they are or of their parts put together."""
    engine.bring(connection, "events", table(events))
    return connection.con.sql(query(connection, key, parts)).to_arrow_table()


@cache
def query(connection: Any, key: str, parts: bool) -> str:
    """What the engine is asked: the same for all events."""
    rows = connection.table("events")
    products = engine.bring(connection, "products", pa.table(PRODUCTS))
    pairs = sums.merged(sums.pairs(rows, "part")) if parts else sums.pairs(rows)
    orders = sums.orders(rows, "part") if parts else sums.orders(rows)
    return str(connection.compile(sums.figures(pairs, orders, products, key)))


def mean(numbers: list[Fraction]) -> Fraction | None:
    return sum(numbers, Fraction()) / len(numbers) if numbers else None


def plain(events: list[tuple[Any, ...]], key: str) -> list[dict[str, Any]]:
    """What the figures are said to be, told event by event."""
    rows = [
        {
            **dict(zip(NAMES, event, strict=True)),
            "day": Fraction(
                (event[2] - START) // datetime.timedelta(microseconds=1), 86_400_000_000
            ),
            "price": None if event[3] is None else Fraction(str(event[3])),
        }
        for event in events
    ]
    usual = {
        item: mean(
            [row["price"] for row in rows if row["item_id"] == item and row["price"] is not None]
        )
        for item in {row["item_id"] for row in rows}
    }
    kinds = dict(zip(PRODUCTS["item_id"], PRODUCTS["category"], strict=True))
    found = []
    for name in sorted({row[key] for row in rows}):
        own = [row for row in rows if row[key] == name]
        gaps = []
        for pair in {(row["user_id"], row["item_id"]) for row in own}:
            days = sorted(row["day"] for row in own if (row["user_id"], row["item_id"]) == pair)
            gaps += [after - before for before, after in itertools.pairwise(days)]
        price = mean([row["price"] for row in own if row["price"] is not None])
        others = mean([usual[row["item_id"]] for row in own if usual[row["item_id"]] is not None])
        level = None if price is None or others is None else price / others if others else math.nan
        counts = Counter(kinds.get(row["item_id"]) for row in own)
        del counts[None]
        best = sorted(counts, key=lambda kind: (-counts[kind], kind))
        found.append(
            {
                key: name,
                "events": len(own),
                "recency_days": max(row["day"] for row in rows) - max(row["day"] for row in own),
                "repeat_share": Fraction(len(gaps), len(own)),
                "repeat_days": mean(gaps),
                "orders": len({row["order_id"] for row in own} - {None}),
                "price": price,
                "price_level": level,
                "category": best[0] if best else None,
                "category_loyalty": Fraction(counts[best[0]], counts.total()) if best else None,
                "category_favourites": best[: sums.FAVOURITES] or None,
                "brand": None,
                "brand_loyalty": None,
                "brand_favourites": None,
            }
        )
    return found


def alike(cell: Any, told: Any) -> bool:
    """Whether a cell is what was told, numbers rounded to four places."""
    if not isinstance(told, Fraction | float) or cell is None:
        return cell == told
    if math.isnan(told):
        return math.isnan(cell)
    return cell == round(cell, 4) and abs(cell - told) < 0.5e-4 + 1e-8


@given(st.lists(EVENTS, min_size=1, max_size=25), st.sampled_from(["user_id", "item_id"]))
@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_figures_are_those_told_event_by_event_however_the_events_are_cut(
    connection: Any, events: list[tuple[Any, ...]], key: str
) -> None:
    whole = made(connection, events, key, parts=False)
    expected = plain(events, key)
    assert whole.column_names == list(expected[0])
    for row, told in zip(whole.to_pylist(), expected, strict=True):
        assert {name: cell for name, cell in row.items() if not alike(cell, told[name])} == {}, told
    # NaN is not equal to itself, but its text is.
    assert str(made(connection, events, key, parts=True).to_pylist()) == str(whole.to_pylist())


def test_many_cents_and_a_price_beyond_all_bounds_are_summed_up(connection: Any) -> None:
    cents = [("a", "p1", START, 0.1, None, at % 3) for at in range(30)]
    row = made(connection, cents, "user_id", parts=True).to_pylist()[0]
    assert (row["price"], row["price_level"], row["orders"]) == (0.1, 1.0, 0)
    wild = [("a", "p1", START, 1e300, None, 0)] * 3
    assert made(connection, wild, "user_id", parts=True)["price"].to_pylist() == [sums.GREATEST]


def test_what_the_shop_does_not_tell_has_no_column(connection: Any, tmp_path: Path) -> None:
    rows = pa.table([["a", "a"], ["x", "x"], pa.array([START, START], KINDS[2])], names=NAMES[:3])
    events = engine.bring(connection, "plain", rows)
    found = engine.collect(sums.figures(sums.pairs(events), None, None, "user_id"))
    assert found.to_pylist() == [
        {"user_id": "a", "events": 2, "recency_days": 0.0, "repeat_share": 0.5, "repeat_days": 0.0}
    ]

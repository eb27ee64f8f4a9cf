"""Figures of behaviour: against each told event by event, and however the events were cut into parts."""

import datetime
import itertools
import math
import tempfile
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipelines import engine
from pipelines.history import sums
from pipelines.history.change import figures_of_all
from pipelines.history.figures import FAVOURITES

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


def table(events: list[tuple[Any, ...]]) -> pa.Table:
    columns = zip(zip(*events, strict=True), KINDS, strict=True)
    return pa.table([pa.array(cells, kind) for cells, kind in columns], names=NAMES)


def made(events: list[tuple[Any, ...]], key: str, parts: bool) -> pa.Table:
    """The figures, of the events as they are or of their parts put together."""
    with (
        tempfile.TemporaryDirectory() as spill,
        engine.engine(1, 0.5, Path(spill) / "spill") as connection,
    ):
        rows = engine.bring(connection, "events", table(events))
        products = engine.bring(connection, "products", pa.table(PRODUCTS))
        by = ("part",) if parts else ()
        own = sums.Sums(sums.pairs(rows, *by), sums.orders(rows, *by))
        return engine.collect(figures_of_all(connection, own, products, None)[key])


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
    kinds = dict(zip(PRODUCTS["item_id"], PRODUCTS["category"], strict=True))
    costs: dict[str | None, list[float]] = {}
    for item in sorted({row["item_id"] for row in rows}):
        cost = mean(prices([row for row in rows if row["item_id"] == item]))
        if cost is not None:
            costs.setdefault(kinds.get(item), []).append(placed(float(cost), -4))
    usual = {kind: two_digits(sum(some) / len(some)) for kind, some in costs.items() if kind}
    found = []
    for name in sorted({row[key] for row in rows}):
        own = [row for row in rows if row[key] == name]
        gaps = []
        for pair in {(row["user_id"], row["item_id"]) for row in own}:
            days = sorted(row["day"] for row in own if (row["user_id"], row["item_id"]) == pair)
            gaps += [after - before for before, after in itertools.pairwise(days)]
        price = mean(prices(own))
        held = [row for row in own if usual.get(kinds.get(row["item_id"]))]
        against = sum(
            Fraction(usual[kinds[row["item_id"]]]) for row in held if row["price"] is not None
        )
        level = sum(prices(held)) / against if against else None
        counts = Counter(kinds.get(row["item_id"]) for row in own)
        del counts[None]
        best = sorted(counts, key=lambda kind: (-counts[kind], kind))
        found.append(
            {
                key: name,
                "events": len(own),
                "last": max(row["timestamp"] for row in own),
                "recency_days": max(row["day"] for row in rows) - max(row["day"] for row in own),
                "repeat_share": Fraction(len(gaps), len(own)),
                "repeat_days": mean(gaps),
                "orders": len({row["order_id"] for row in own} - {None}),
                "price": price,
                "price_level": level,
                "category": best[0] if best else None,
                "category_loyalty": Fraction(counts[best[0]], counts.total()) if best else None,
                "category_favourites": best[:FAVOURITES] or None,
                "brand": None,
                "brand_loyalty": None,
                "brand_favourites": None,
            }
        )
    return found


def prices(rows: list[dict[str, Any]]) -> list[Fraction]:
    return [row["price"] for row in rows if row["price"] is not None]


def placed(number: float, power: int) -> float:
    """A number to a multiple of a power of ten, halves away from zero."""
    scale = 10.0 ** abs(power)
    return (
        math.floor(number * scale + 0.5) / scale
        if power < 0
        else math.floor(number / scale + 0.5) * scale
    )


def two_digits(number: float) -> float:
    """A number to two digits; of a mean of less than a hundredth of a cent there is one."""
    return placed(number, max(math.floor(math.log10(number)), -4) - 1) if number else 0


def alike(cell: Any, told: Any) -> bool:
    """Whether a cell is what was told, numbers rounded to four places."""
    if not isinstance(told, Fraction | float) or cell is None:
        return cell == told
    return cell == round(cell, 4) and abs(cell - told) < 0.5e-4 + 1e-8


@given(st.lists(EVENTS, min_size=1, max_size=25), st.sampled_from(["user_id", "item_id"]))
@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_figures_are_those_told_event_by_event_however_the_events_are_cut(
    events: list[tuple[Any, ...]], key: str
) -> None:
    whole = made(events, key, parts=False)
    expected = plain(events, key)
    assert whole.column_names == list(expected[0])
    for row, told in zip(whole.to_pylist(), expected, strict=True):
        assert {name: cell for name, cell in row.items() if not alike(cell, told[name])} == {}, told
    assert made(events, key, parts=True).equals(whole)


def test_many_cents_and_a_price_beyond_all_bounds_are_summed_up() -> None:
    cents = [("a", "p1", START, 0.1, None, at % 3) for at in range(30)]
    row = made(cents, "user_id", parts=True).to_pylist()[0]
    assert (row["price"], row["price_level"], row["orders"]) == (0.1, 1.0, 0)
    wild = [("a", "p1", START, 1e300, None, 0)] * 3
    row = made(wild, "user_id", parts=True).to_pylist()[0]
    assert (row["price"], row["price_level"]) == (sums.GREATEST, 1.0)


def test_a_price_level_is_that_among_the_products_of_the_category() -> None:
    """Pots cost 12 and 26 on average, 19 together; the tea is no pot, and of what is no product nothing is typical."""
    events = [("a", "p2", START, 10.0), ("b", "p2", START, 14.0), ("b", "p3", START, 26.0)]
    events += [("a", "p1", START, 900.0), ("a", "strange", START, 5e4), ("c", "p3", START, None)]
    rows = [(*event, None, at % 2) for at, event in enumerate(events)]
    users = made(rows, "user_id", parts=True)["price_level"].to_pylist()
    assert users == [round((10 + 900) / (19 + 900), 4), round(40 / 38, 4), None]
    items = dict(
        zip(*made(rows, "item_id", parts=True).select(["item_id", "price_level"]), strict=True)
    )
    assert {item.as_py(): level.as_py() for item, level in items.items()} == {
        **{"p1": 1.0, "p2": round(12 / 19, 4), "p3": round(26 / 19, 4)},
        "strange": None,
    }


def test_what_the_shop_does_not_tell_has_no_column(tmp_path: Path) -> None:
    rows = pa.table([["a", "a"], ["x", "x"], pa.array([START, START], KINDS[2])], names=NAMES[:3])
    with engine.engine(1, 0.5, tmp_path / "spill") as connection:
        events = engine.bring(connection, "plain", rows)
        own = sums.Sums(sums.pairs(events), None)
        found = engine.collect(figures_of_all(connection, own, None, None)["user_id"]).to_pylist()
    told = {"user_id": "a", "events": 2, "last": START, "recency_days": 0.0}
    assert found == [{**told, "repeat_share": 0.5, "repeat_days": 0.0}]

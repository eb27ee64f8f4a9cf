"""Turn the shop's purchases, products and customers into canonical tables, with the corrections that were accepted."""

import datetime
from dataclasses import replace

import ibis
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.harness import Params, Run, stage
from pipelines.harness.params import read_moment
from pipelines.own_tables import corrections
from pipelines.sources import EVENTS, Found, given, write
from pipelines.tables import Interactions

PRODUCTS = "products"


class IngestShopParams(Params):
    """source: a name of `pipelines.sources`. users: how many of them (0: all). memory_gb: what tables may take.

    until: the moment (ISO 8601, UTC) before which the shop is looked at, as if nothing had happened since; empty: now.
    """

    source: str
    users: int
    memory_gb: float
    until: str


@stage
def ingest_shop(run: Run, params: IngestShopParams) -> None:
    until = read_moment(params.until, "ingest-shop.until")
    how = {"users": params.users, "memory_gb": params.memory_gb}
    with given(run, "shop", params.source, **how) as found:
        order = {
            # All columns: two events of one moment may differ in any of them.
            EVENTS: ["user_id", "timestamp", "item_id", "event", "order_id", "value", "price"],
            PRODUCTS: ["item_id"],
            "users": ["user_id"],
        }
        seen = as_of(found, until) if until else found
        write(run, corrected(run, seen), order)


def as_of(found: Found, until: datetime.datetime) -> Found:
    """What was found, without the events from `until` on. Events with no time are left to the data gate."""
    events = found.tables.get(EVENTS)
    if events is None:
        return found
    if isinstance(events, pa.Table):
        times = events[Interactions.TIME]
        events = events.filter(pc.fill_null(pc.less(times, pa.scalar(until)), True))
    elif isinstance(events, ibis.Table):
        times = events[Interactions.TIME]
        events = events.filter(times.isnull() | (times < ibis.literal(until)))
    else:
        events = events.before(until)
    return replace(found, tables={**found.tables, EVENTS: events})


def corrected(run: Run, found: Found) -> Found:
    """What was found, its products with the corrections that were accepted."""
    accepted = corrections.read(run.source_file(corrections.FILE))
    products = found.tables.get(PRODUCTS)
    if products is None or not accepted:
        return found
    laid_over = corrections.laid_over(run, products, accepted)
    return replace(found, tables={**found.tables, PRODUCTS: laid_over})


if __name__ == "__main__":
    ingest_shop.main()

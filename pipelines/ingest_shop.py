"""Turn the shop's purchases, products and customers into canonical tables."""

from pipelines.harness import Params, Run, stage
from pipelines.sources import given, write


class IngestShopParams(Params):
    """source: a name of `pipelines.sources`. users: how many of them (0: all). memory_gb: what tables may take."""

    source: str
    users: int
    memory_gb: float


@stage
def ingest_shop(run: Run, params: IngestShopParams) -> None:
    how = {"users": params.users, "memory_gb": params.memory_gb}
    with given(run, "shop", params.source, **how) as found:
        order = {
            "interactions": ["user_id", "timestamp", "item_id", "order_id", "value", "price"],
            "products": ["item_id"],
            "users": ["user_id"],
        }
        write(run, found, order)


if __name__ == "__main__":
    ingest_shop.main()

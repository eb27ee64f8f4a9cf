"""Serve the shop page on loopback: `python -m pipelines.storefront.serve PORT`."""

import sys
from pathlib import Path

from pipelines.harness.params import read_params, section
from pipelines.harness.stage import settle
from pipelines.harness.state import State
from pipelines.promotion.registry import Registry
from pipelines.recommend import RecommendParams
from pipelines.services.processes import LOOPBACK
from pipelines.storefront.app import Front, make_app
from pipelines.storefront.champions import Follower
from pipelines.storefront.goods import Goods, Pictures
from pipelines.storefront.said import Said


def open_front(root: Path) -> Front:
    """What the page shows, from the stages' outputs. Raises `MissingResource` where there are no products yet."""
    document = read_params(root)
    params = section(document, "recommend", RecommendParams)
    data = root / "data"
    goods = Goods.read(data / "validate-products" / "table.parquet")
    pictures = Pictures(
        data / "validate-images" / "table.parquet",
        data / "image-features" / "images.parquet",
        goods,
    )
    said = Said(data / "opinions" / "products.parquet")
    follower = Follower(root, goods, lambda: Registry(State(root)))
    return Front(goods, pictures, said, follower, params.rules)


def main(root: Path, port: int) -> None:
    """Serve until the process is ended."""
    import uvicorn

    document = read_params(root)
    settle(document["seed"], document["threads"])
    app = make_app(open_front(root))
    uvicorn.run(app, host=LOOPBACK, port=port, access_log=False, server_header=False)


if __name__ == "__main__":
    main(Path.cwd(), int(sys.argv[1]))

"""A small shop with lists, pictures and champions that need no registry, served on loopback."""

import contextlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import uvicorn
from PIL import Image

from models.language.library import Review
from models.language.telling import Quote, Reply, told
from models.recommenders.base import Recommender
from models.recommenders.events import Histories, hash_order
from pipelines.artefacts.vectors import write_vectors
from pipelines.buyers.columns import PRODUCTS
from pipelines.harness import MissingResource
from pipelines.lists.archive import Facts, archive, filing, write_facts
from pipelines.lists.rules import Rules
from pipelines.services.processes import LOOPBACK, free_port
from pipelines.storefront.app import Front, make_app
from pipelines.storefront.champions import Champion, Follower, Loaded
from pipelines.storefront.goods import Goods, Pictures
from pipelines.storefront.said import Said

ITEMS = [f"p{at:02d}" for at in range(40)]
HOSTILE = "<img src=x onerror=alert(1)>"
RULES = Rules(k=6, max_per_category=0, max_per_brand=0)


class Neighbours(Recommender):
    """Likes what comes after the touched items in the order of their names."""

    kind = "neighbours"

    def __init__(self) -> None:
        self.items = hash_order(ITEMS)
        rank = {name: at for at, name in enumerate(ITEMS)}
        order = np.array([rank[name] for name in self.items])
        self.near = np.exp(-np.abs(order[:, None] - order[None, :]) / 2).astype(np.float32)

    def scores(self, histories: Histories) -> np.ndarray:
        found = np.zeros((len(histories), len(self.items)), np.float32)
        np.add.at(found, histories.owner, self.near[histories.item])
        return found


class Quoting:
    """Answers with a sentence of the first review, and nothing where "nothing" is asked."""

    library = {
        "p01": [
            Review("r1", f"I took it along. It is <b>light</b>. {HOSTILE}", "2026-01-05", 4.0),
            Review("r2", f"Too light for me. {HOSTILE}"),
        ]
    }

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        one, two = self.library["p01"]
        said = "It is <b>light</b>."
        start = one.text.index(said)
        quotes = [Quote(one, start, start + len(said)), Quote(two, 0, len(two.text))]
        if "nothing" in frame["question"][0]:
            quotes = []
        reply = Reply(frame["question"][0], quotes, 0.8, ["r1", "r2"])
        return told([reply], frame.index, lambda chances, answered: chances, Praising())


class Praising:
    """Finds blame in "too", a question in "?", and praise in all else."""

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        marks = {"?": "neutral", "Too": "negative"}
        labels = [
            next((label for mark, label in marks.items() if mark in text), "positive")
            for text in frame["text"]
        ]
        return pd.DataFrame({"label": labels, "confidence": 0.9}, index=frame.index)


class Shelved:
    """A registry of champions by name: what `Champion.follow` asks of one. `away`: it does not answer."""

    def __init__(self) -> None:
        self.models: dict[str, Loaded] = {
            "recommender": Loaded(Neighbours(), "a" * 64),
            "answers": Loaded(Quoting(), "b" * 64),
        }
        self.away = False

    def aliases(self, capability: str) -> dict[str, Any]:
        if self.away:
            raise MissingResource("the registry is away")
        return {"champion": SimpleNamespace(manifest=self.models[capability].manifest)}


class Named(Champion):
    """Takes its model from a `Shelved` instead of from a bundle."""

    def load(self, registry: Any, version: Any) -> Loaded:
        return registry.models[self.capability]


def write_shop(root: Path) -> None:
    """Tables and lists as the stages leave them."""
    titles = [f"Product {at}" for at in range(39)] + [HOSTILE]
    products = pd.DataFrame(
        {"item_id": ITEMS, "title": titles, "category": [f"shelf {at % 5}" for at in range(40)]}
    )
    # The first ten pictures show products, the others are known by their labels alone.
    products["image_key"] = [f"k {at:02d}/x" if at < 10 else None for at in range(40)]
    put(products, root / "data/validate-products/table.parquet")
    keys, contents = [], []
    for at in range(20):
        out = io.BytesIO()
        Image.new("RGB", (24, 24), (at * 12, 80, 200 - at * 10)).save(out, "png")
        keys.append(f"k {at:02d}/x")
        contents.append(out.getvalue())
    labels = [f"kind {at % 2}" for at in range(20)]
    images = pd.DataFrame({"image_key": keys, "bytes": contents, "label": labels})
    put(images, root / "data/validate-images/table.parquet")
    vectors = np.column_stack([np.arange(20), np.ones(20)])
    (root / "data/image-features").mkdir()
    write_vectors(root / "data/image-features/images.parquet", "image_key", keys, vectors, "m")
    write_opinions(root)
    write_lists(root, "2026-02-10T00:00:00+00:00", shift=0)


def write_opinions(root: Path) -> None:
    """What is said of the first product, and in Chinese of none by name."""
    quote = {"review_id": "r1", "start": 0, "end": len(HOSTILE), "text": HOSTILE}
    line = {"language": "en", "terms": ["weight", "heft"], "share_before": None}
    line |= {"share_after": None, "quotes_for": [quote], "quotes_against": []}
    rows = [
        {**line, "item_id": "", "language": "zh", "category": "质量", "terms": ["质量"]}
        | {"reviews": 3, "positive": 3, "negative": 0, "share": 1.0, "low": 0.44, "high": 1.0},
        {**line, "item_id": "p01", "category": "weight"}
        | {"reviews": 9, "positive": 6, "negative": 2, "share": 0.75, "low": 0.41, "high": 0.93},
        {**line, "item_id": "p01", "category": "strap", "terms": ["strap"]}
        | {"reviews": 1, "positive": 0, "negative": 0, "share": None, "low": 0.0, "high": 1.0},
    ]
    path = root / "data/opinions/products.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, PRODUCTS), path)


def put(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)


def write_lists(root: Path, moment: str, shift: int) -> None:
    """Six items each for five users, beginning at another item."""
    from pipelines.harness.state import State

    facts = Facts(moment, moment, "a" * 64, moment, 30, 5, "test")
    rows = [
        (f"user {user}", rank + 1, ITEMS[(user * 3 + rank + shift) % 40], 1.0, "because", "p39")
        for user in range(5)
        for rank in range(6)
    ]
    names = ["user_id", "rank", "item_id", "score", "reason", "reason_item_id"]
    with filing(archive(State(root)) / facts.name) as folder:
        put(pd.DataFrame(rows, columns=names), folder / "lists.parquet")
        write_facts(folder, facts)


def front(root: Path, registry: Any) -> Front:
    """The shop's front over a folder, with a registry that is none of MLflow's."""
    goods = Goods.read(root / "data/validate-products/table.parquet")
    pictures = Pictures(
        root / "data/validate-images/table.parquet",
        root / "data/image-features/images.parquet",
        goods,
    )
    said = Said(root / "data/opinions/products.parquet")
    follower = Follower(root, goods, lambda: registry)
    follower.recommender, follower.answers = Named("recommender"), Named("answers")
    return Front(goods, pictures, said, follower, RULES)


@contextlib.contextmanager
def serving(made: Front) -> Iterator[str]:
    """The address of the page while the block runs."""
    port = free_port(0)
    config = uvicorn.Config(make_app(made), host=LOOPBACK, port=port, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            threading.Event().wait(0.05)
        made.follower.look()
        yield f"http://{LOOPBACK}:{port}"
    finally:
        server.should_exit = True
        thread.join()

"""What the page shows: products, everybody's newest list, pictures with their neighbours. Read once, held in columns."""

import io
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.encoders.decoding import Undecodable
from models.vision.families import unit
from models.vision.index import nearest
from pipelines.artefacts.vectors import read_vectors
from pipelines.harness import MissingResource
from pipelines.harness.absent import lacking
from pipelines.harness.graph import folder_of, read_graph
from pipelines.harness.state import State
from pipelines.lists import archive as list_archive
from pipelines.lists.files import NAME
from pipelines.lists.rules import numbered
from pipelines.pages.thumbnails import thumbnail
from pipelines.tables import Images, Products

SIDE = 160
FIRST_PICTURES = 12
MOST_KINDS = 200


@dataclass(frozen=True)
class Goods:
    """Products by position. items, titles, categories, pictures: (n,), "" where a product has none.

    available: (n,) booleans. category, brand: (n,) numbers, -1 none. price: (n,), NaN where unknown.
    """

    items: np.ndarray
    titles: np.ndarray
    categories: np.ndarray
    pictures: np.ndarray
    available: np.ndarray
    category: np.ndarray
    brand: np.ndarray
    price: np.ndarray
    place: dict[str, int]

    @classmethod
    def read(cls, path: Path) -> "Goods":
        """From the validated products. Raises `MissingResource` where there are none."""
        if lacking(path):
            raise MissingResource(f"{path} is missing: run `make demo`")
        wanted = (
            Products.ITEM,
            Products.TITLE,
            Products.CATEGORY,
            Products.BRAND,
            Products.PRICE,
            Products.AVAILABLE,
            Products.IMAGE,
        )
        has = set(pq.read_schema(path).names)
        frame = pq.read_table(path, columns=[name for name in wanted if name in has]).to_pandas()
        n = len(frame)
        category = frame.get(Products.CATEGORY, pd.Series([""] * n)).fillna("")
        pictures = frame.get(Products.IMAGE, pd.Series([""] * n)).fillna("")
        brand = frame.get(Products.BRAND, pd.Series([""] * n)).fillna("")
        price = frame.get(Products.PRICE, pd.Series([np.nan] * n))
        available = frame.get(Products.AVAILABLE, pd.Series([True] * n))
        items = frame[Products.ITEM].to_numpy(dtype=object)
        return cls(
            items=items,
            titles=frame[Products.TITLE].fillna("").to_numpy(dtype=object),
            categories=category.to_numpy(dtype=object),
            pictures=pictures.to_numpy(dtype=object),
            available=~available.eq(False).to_numpy(dtype=bool),
            category=numbered(category),
            brand=numbered(brand),
            price=price.to_numpy(float, na_value=np.nan),
            place={name: at for at, name in enumerate(items)},
        )

    def card(self, item: str) -> dict[str, str]:
        """id, title, category and picture (its key) of one product; a product that is no more shows its id."""
        at = self.place.get(item)
        if at is None:
            return {"id": item, "title": item, "category": "", "picture": ""}
        return {
            "id": item,
            "title": self.titles[at],
            "category": self.categories[at],
            "picture": self.pictures[at],
        }


@dataclass(frozen=True, eq=False)
class Lists:
    """Everybody's list. users: (u,) sorted ids. starts: (u + 1,) into the rows of `table`, sorted by user and rank.

    popular: ids of the items that are on most lists, most first. known_until: the newest event that the lists know.
    """

    users: np.ndarray
    starts: np.ndarray
    table: pa.Table
    popular: list[str]
    known_until: str
    champion: str
    mark: tuple[str, int]

    @classmethod
    def read(
        cls, paths: list[Path], known_until: str, champion: str, mark: tuple[str, int]
    ) -> "Lists":
        """From files as `recommend` writes them, in their order."""
        columns = ["user_id", "item_id", "reason", "reason_item_id"]
        table = pa.concat_tables(
            pq.read_table(path, columns=columns, read_dictionary=columns) for path in paths
        )
        users, first = np.unique(table["user_id"].to_numpy(), return_index=True)
        counts = table["item_id"].value_counts().to_pandas()
        names = pd.Series([entry["counts"] for entry in counts], [e["values"] for e in counts])
        return cls(
            users=users,
            starts=np.append(first, len(table)),
            table=table.drop_columns(["user_id"]),
            popular=names.sort_values(ascending=False, kind="stable").index.tolist(),
            known_until=known_until,
            champion=champion,
            mark=mark,
        )

    def of(self, user: str) -> list[dict[str, Any]] | None:
        """item_id, reason and reason_item_id, best first; None for a user without a list."""
        at = int(np.searchsorted(self.users, user))
        if at == len(self.users) or self.users[at] != user:
            return None
        start, stop = int(self.starts[at]), int(self.starts[at + 1])
        return self.table.slice(start, stop - start).to_pylist()

    def beginning(self, prefix: str, count: int) -> list[str]:
        """Up to `count` ids of users that begin with `prefix`, sorted; of "" some, spread over all."""
        if not prefix:
            return self.users[:: max(1, len(self.users) // count)][:count].tolist()
        first = bisect_left(self.users, prefix)
        near = self.users[first : first + count].tolist()
        return [user for user in near if user.startswith(prefix)]


def newest_mark(root: Path) -> tuple[str, int] | None:
    """Which lists are newest: their place and when they came; None where there are none."""
    kept = list_archive.newest(State(root))
    paths = [kept.lists] if kept else _undelivered(root)
    if not paths or any(map(lacking, paths)):
        return None
    return str(paths[0]), max(path.stat().st_mtime_ns for path in paths)


def _undelivered(root: Path) -> list[Path]:
    """The files of the partitions, which are there where another machine keeps the archive."""
    names = read_graph(root).instances("recommend")
    return [root / "data" / folder_of(name) / NAME for name in names]


def read_lists(root: Path, mark: tuple[str, int]) -> Lists:
    """The lists that a mark names."""
    kept = list_archive.newest(State(root))
    if kept and str(kept.lists) == mark[0]:
        return Lists.read([kept.lists], kept.facts.known_until, kept.facts.champion, mark)
    return Lists.read(_undelivered(root), "", "", mark)


class Pictures:
    """Pictures by key, small, and those that look alike. Bytes are read when a picture is asked for.

    kinds: (n,) the category of the product that a picture shows, or the picture's own label; "" where neither is known.
    """

    def __init__(self, images: Path, vectors: Path, goods: Goods) -> None:
        """images: the validated table. vectors: what `image-features` wrote. Nothing where either is absent."""
        self.keys: list[str] = []
        self.kinds = np.zeros(0, dtype=object)
        self.goods = goods
        self._vectors = np.zeros((0, 1), np.float32)
        self._file = images
        self._where: dict[str, tuple[int, int]] = {}
        self._place: dict[str, int] = {}
        self._shows = {key: at for at, key in reversed(list(enumerate(goods.pictures))) if key}
        if lacking(images) or lacking(vectors):
            return
        self.keys, found, _ = read_vectors(vectors, Images.IMAGE)
        self._vectors = unit(found.astype(np.float32))
        self._place = {key: at for at, key in enumerate(self.keys)}
        labels: dict[str, str] = {}
        with pq.ParquetFile(images) as file:
            wanted = [n for n in (Images.IMAGE, Images.LABEL) if n in file.schema_arrow.names]
            for group in range(file.num_row_groups):
                part = file.read_row_group(group, wanted)
                names = part[Images.IMAGE].to_pylist()
                self._where |= {key: (group, row) for row, key in enumerate(names)}
                if Images.LABEL in wanted:
                    labels |= dict(zip(names, part[Images.LABEL].to_pylist(), strict=True))
        self.kinds = np.array(
            [
                (goods.categories[self._shows[key]] if key in self._shows else labels.get(key))
                or ""
                for key in self.keys
            ],
            dtype=object,
        )

    def __contains__(self, key: str) -> bool:
        return key in self._where

    @property
    def first(self) -> list[str]:
        """Some pictures to begin with, spread over all."""
        step = max(1, len(self.keys) // FIRST_PICTURES)
        return self.keys[::step][:FIRST_PICTURES]

    @property
    def commonest(self) -> list[str]:
        """The kinds that most pictures are of, by name."""
        counts = pd.Series(self.kinds[self.kinds != ""]).value_counts()
        return sorted(counts.index[:MOST_KINDS])

    def card(self, key: str) -> dict[str, str]:
        """key, kind, and the title of the first product that has the picture ("" where none has)."""
        at = self._shows.get(key)
        title = "" if at is None else str(self.goods.titles[at])
        return {"key": key, "kind": str(self.kinds[self._place[key]]), "title": title}

    def alike(self, key: str, count: int, kind: str = "") -> list[dict[str, str]] | None:
        """Cards of the nearest others, of one kind if one is named, most alike first; None for an unknown picture."""
        at = self._place.get(key)
        if at is None:
            return None
        among = np.flatnonzero(self.kinds == kind) if kind else np.arange(len(self.keys))
        if not len(among):
            return []
        gallery = self._vectors[among] if kind else self._vectors
        found, _ = next(nearest(self._vectors[at : at + 1], gallery, count + 1))
        return [self.card(self.keys[other]) for other in among[found[0]] if other != at][:count]

    @lru_cache(maxsize=2048)  # noqa: B019 one object a process
    def small(self, key: str) -> bytes | None:
        """A picture of at most 160 pixels a side as PNG, made anew, so that no byte of the source passes through."""
        if key not in self._where:
            return None
        group, row = self._where[key]
        with pq.ParquetFile(self._file) as file:
            content = file.read_row_group(group, [Images.BYTES])[Images.BYTES][row].as_py()
        out = io.BytesIO()
        try:
            thumbnail(content, SIDE).save(out, "png")
        except Undecodable:
            return None
        return out.getvalue()

"""Partitions of users: together the same file to the byte, however many; each by itself; counted where they are together."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.deliver import deliver
from pipelines.exchange import read_outs
from pipelines.harness import BadConfig, MissingResource
from pipelines.harness.graph import Graph, Node, read_graph
from pipelines.harness.params import read_params
from pipelines.harness.stage import sweep
from pipelines.harness.state import State
from pipelines.lists import archive as list_archive
from pipelines.lists import files as list_files
from pipelines.lists.files import SCHEMA, Tally, read, write
from pipelines.recommend import partition, recommend
from pipelines.storefront.goods import newest_mark, read_lists
from tests.conftest import REPOSITORY
from tests.list_params import unlimited

USERS, ITEMS = 11, 9
PARAMS = unlimited(4, 3)


@dataclass
class Runs:
    """What stages ask of their run, over the folder `root`, with a graph of so many partitions."""

    root: Path
    graph: Graph
    measures: dict[str, dict[str, float]] = field(default_factory=dict)

    def run(self, name: str) -> Any:
        folder = self.root / "data" / name.replace("@", "/")
        folder.mkdir(parents=True, exist_ok=True)
        told = self.measures.setdefault(name, {})
        return SimpleNamespace(
            name=name,
            root=self.root,
            state=State(self.root),
            graph=self.graph,
            threads=1,
            rows_in=0,
            rows_out=0,
            input=lambda path: self.root / "data" / path,
            source_file=lambda path: REPOSITORY / path,
            output=lambda path: folder / path,
            progress=lambda items, what, total: items,
            miss=lambda what, why: None,
            say=lambda text: None,
            measure=lambda key, value: told.__setitem__(key, float(value)),
        )

    def make(self, name: str) -> bytes:
        """Run a partition; the bytes of its file."""
        run = self.run(name)
        recommend.function(run, PARAMS)
        note = json.dumps({"measures": self.measures[name]})
        run.output("metrics.json").write_text(note)
        return run.output(list_files.NAME).read_bytes()

    def delivered(self) -> bytes:
        """Run `deliver`; the bytes of the file in the archive."""
        deliver.function(self.run("deliver"), deliver.kind())
        kept = list_archive.newest(State(self.root))
        assert kept is not None and kept.facts.users == USERS
        assert kept.facts.rows == pq.read_metadata(kept.lists).num_rows
        return kept.lists.read_bytes()


def graph_of(partitions: int) -> Graph:
    names = [f"recommend@{at + 1}" for at in range(partitions)]
    return Graph({name: Node(name, "", "", (), (), (), False) for name in names})


def shop_of(root: Path, partitions: int) -> Runs:
    """Made events of few users, one of whom has none, without a champion."""
    rng = np.random.default_rng(3)
    split = root / "data" / "split" / "recommending"
    split.mkdir(parents=True)
    for part, first in (("train", 0), ("valid", 40), ("test", 50)):
        size = 30
        rows = {
            "user_id": [f"u{at:02d}" for at in rng.integers(0, USERS - 1, size)],
            "item_id": [f"i{at}" for at in rng.integers(0, ITEMS - 2, size)],
            "timestamp": pd.Timestamp("2017-03-01", tz="UTC")
            + pd.to_timedelta(first + rng.integers(0, 9, size), "D"),
            "event": "purchase",
        }
        pd.DataFrame(rows).to_parquet(split / f"{part}.parquet", index=False)
    items = [f"i{at}" for at in range(ITEMS)]
    pd.DataFrame({"item_id": items, "title": items}).to_parquet(split / "products.parquet")
    users = [f"u{at:02d}" for at in range(USERS)]
    pd.DataFrame({"user_id": users}).to_parquet(split / "users.parquet")
    cut = {"test_from": "2017-04-20T00:00:00+00:00"}
    (split / "cut.json").write_text(json.dumps(cut))
    receipt = root / "data" / "promote" / "recommender" / "receipt.json"
    receipt.parent.mkdir(parents=True)
    receipt.write_text(json.dumps({"capability": "recommender", "champion": None}))
    return Runs(root, graph_of(partitions))


def test_any_number_of_partitions_is_delivered_as_the_same_bytes(tmp_path: Path) -> None:
    found, measures = {}, []
    for partitions in (1, 2, 3, 20):  # the last: more than there are users
        shop = shop_of(tmp_path / str(partitions), partitions)
        made = [shop.make(name) for name in shop.graph.nodes]
        found[partitions] = shop.delivered()
        measures.append(shop.measures["deliver"])
        assert len(shop.measures["recommend@1"]) == 5
        if partitions == 1:
            assert made == [found[1]]
    assert len(set(found.values())) == 1
    assert all(one == measures[0] for one in measures)
    table = pq.read_table(pa.BufferReader(found[1])).to_pandas()
    assert measures[0]["users"] == USERS and measures[0]["full_lists"] == 1.0
    assert measures[0]["catalogue_coverage"] == table["item_id"].nunique() / ITEMS
    shares = table["reason"].value_counts(normalize=True)
    assert {
        name.removeprefix("reason_"): value
        for name, value in measures[0].items()
        if name.startswith("reason_") and value
    } == pytest.approx(shares.to_dict())


def test_a_partition_that_is_made_again_touches_no_other(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, 3)
    made = {name: shop.make(name) for name in shop.graph.nodes}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.parquet")}
    (tmp_path / "data/recommend/2/lists.parquet").unlink()
    assert shop.make("recommend@2") == made["recommend@2"]
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.parquet")}
    assert [path.parent.name for path in before if before[path] != after[path]] == ["2"]


def test_the_shop_page_reads_partitions_that_are_not_delivered_here(tmp_path: Path) -> None:
    partitioned(tmp_path, 5)
    shop = shop_of(tmp_path, 5)
    assert newest_mark(tmp_path) is None
    for name in shop.graph.nodes:  # one of the five has no user
        shop.make(name)
    mark = newest_mark(tmp_path)
    assert mark is not None
    lists = read_lists(tmp_path, mark)
    shop.delivered()
    delivered = newest_mark(tmp_path)
    assert delivered is not None and delivered != mark
    same = read_lists(tmp_path, delivered)
    assert lists.users.tolist() == same.users.tolist() == [f"u{at:02d}" for at in range(USERS)]
    assert lists.popular == same.popular
    assert all(lists.of(user) == same.of(user) for user in [*lists.users, "nobody"])


def test_partitions_of_two_wholes_are_not_delivered(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, 2)
    for name in shop.graph.nodes:
        shop.make(name)
    shop.graph = graph_of(3)
    shop.make("recommend@3")
    with pytest.raises(MissingResource, match="the 3 partitions .* `dvc repro recommend`"):
        shop.delivered()


@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 12))
def test_every_user_is_in_one_partition_and_in_the_same_block(
    count: int, of: int, block: int
) -> None:
    users = [f"{at:03d}" for at in range(count)]
    parts = [partition(users, at, of, block) for at in range(of)]
    assert sum(parts, []) == users
    blocks = [part[at : at + block] for part in parts for at in range(0, len(part), block)]
    assert blocks == [users[at : at + block] for at in range(0, count, block)]
    sizes = [-(-len(part) // block) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(0, 50), max_size=6))
def test_the_bytes_of_a_file_tell_nothing_of_how_its_rows_came(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("lists")
    table = rows(50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_files, "GROUP_ROWS", 12)
        write([table], folder / "whole")
        places = [0, *sorted(cuts), len(table)]
        parts = [table.slice(a, b - a) for a, b in zip(places, places[1:], strict=False)]
        for at, part in enumerate(parts):
            write([part], folder / str(at))
        tally = Tally(5)
        write(tally.watch(read(folder / str(at) for at in range(len(parts)))), folder / "again")
    assert (folder / "again").read_bytes() == (folder / "whole").read_bytes()
    assert (tally.rows, tally.users, tally.full) == (50, 10, 10)


def rows(count: int) -> pa.Table:
    """Lists of five places."""
    at = np.arange(count)
    return pa.table(
        [
            [f"u{one:03d}" for one in at // 5],
            pa.array(at % 5 + 1, pa.int32()),
            [f"i{one % 7}" for one in at],
            pa.array(1.0 / (at + 1), pa.float32()),
            ["again"] * count,
            pa.nulls(count, pa.string()),
        ],
        schema=SCHEMA,
    )


def test_what_former_partitions_left_goes_and_others_stay(tmp_path: Path) -> None:
    for place in (
        "recommend/1/a",
        "recommend/2/a",
        "recommend/lists.parquet",
        "deliver/a",
        "promote/x/a",
    ):
        path = tmp_path / "data" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("some")
    for stage in ("recommend", "deliver", "promote"):
        sweep(tmp_path, graph_of(1), stage)
    left = {path.relative_to(tmp_path / "data").as_posix() for path in tmp_path.rglob("a")}
    assert left == {"recommend/1/a", "deliver/a", "promote/x/a"}
    assert [path.name for path in (tmp_path / "data/recommend").iterdir()] == ["1"]


@pytest.mark.parametrize("given_", ["[]", "4", "[1, 1]", "[2, 1]", "[0, 1]", "[a]", "[true]"])
def test_partitions_are_numbered(tmp_path: Path, given_: str) -> None:
    text = (REPOSITORY / "params.yaml").read_text("utf-8")
    (tmp_path / "params.yaml").write_text(text.replace("partitions: [1]", f"partitions: {given_}"))
    with pytest.raises(BadConfig, match=r"are not numbered: write \[1\], \[1, 2\]"):
        read_params(tmp_path)


def partitioned(root: Path, partitions: int) -> Graph:
    """The project's graph, with so many partitions, in `root`."""
    text = (REPOSITORY / "params.yaml").read_text("utf-8")
    wanted = [*range(1, partitions + 1)]
    (root / "params.yaml").write_text(text.replace("partitions: [1]", f"partitions: {wanted}"))
    (root / "dvc.yaml").write_text((REPOSITORY / "dvc.yaml").read_text("utf-8"))
    return read_graph(root)


def test_the_graph_names_instances_in_the_order_of_partitions(tmp_path: Path) -> None:
    wanted = [*range(1, 13)]
    graph = partitioned(tmp_path, len(wanted))
    assert graph.instances("recommend") == [f"recommend@{at}" for at in wanted]
    assert graph.instances("deliver") == []
    for reader in ("deliver", "report"):  # on another machine, all are fetched
        fetched = [out for out in read_outs(graph, reader) if out.startswith("data/recommend/")]
        assert len(fetched) == 2 * len(wanted)
    assert not any("recommend/" in out for out in read_outs(graph, "recommend@2"))
    assert not [node.name for node in graph.nodes.values() if node.mapped and "asset" in node.meta]

"""The benchmark of tables: the shop that it makes, and what it measures."""

import itertools
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks import append
from benchmarks import tables as bench
from pipelines.harness.params import read_params, section
from pipelines.sources.shop import ShopParams


def test_the_made_shop_is_seeded_and_skewed(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        bench.make(tmp_path / name, 5000, seed)
    of = {
        name: (
            pd.read_parquet(tmp_path / name / "events.parquet"),
            (tmp_path / name / "products.csv").read_bytes(),
        )
        for name in "abc"
    }
    pd.testing.assert_frame_equal(of["a"][0], of["b"][0])
    assert of["a"][1] == of["b"][1] != of["c"][1]
    events, products = of["a"][0], pd.read_csv(tmp_path / "a" / "products.csv")
    assert len(events) == 5000 and len(products) == 500 and products["item_id"].is_unique
    assert set(events["item_id"]) <= set(products["item_id"])
    assert (np.diff(events["timestamp"]) >= 0).all()
    counts = events["item_id"].value_counts()
    assert counts.iloc[:50].sum() > 0.4 * len(events)


def test_the_project_reads_the_made_files_and_watches_them(tmp_path: Path) -> None:
    bench.project(tmp_path, 1.0)
    shop = section(read_params(tmp_path), "shop", ShopParams)
    stage = yaml.safe_load((tmp_path / "dvc.yaml").read_text("utf-8"))["stages"]["ingest-shop"]
    for table in ("interactions", "products"):
        (part,) = shop.parts(table)
        assert set(part.files) <= set(stage["deps"])


def test_the_cost_is_that_of_the_process(tmp_path: Path) -> None:
    code = "block = bytearray(b'x') * 200_000_000; sum(range(10**6))"
    cost = bench.measured([sys.executable, "-c", code], tmp_path, dict(os.environ))
    assert cost.gigabytes > 0.2 and cost.seconds > 0 and cost.cpu > 0
    whole = bench.Cost.of([cost, bench.Cost(1.0, 2.0, 0.1)])
    assert whole == bench.Cost(cost.seconds + 1.0, cost.cpu + 2.0, cost.gigabytes)


def test_a_step_that_fails_ends_the_benchmark_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no such shop"):
        bench.measured(
            [sys.executable, "-c", "raise ValueError('no such shop')"], tmp_path, dict(os.environ)
        )


def test_a_day_more_is_cut_from_the_same_events(tmp_path: Path) -> None:
    bench.make(tmp_path, 400, days=8)
    append.project(tmp_path, 1.0)
    files = append.cut(tmp_path, 8)
    days = [pd.read_csv(path) for path in files]
    events = pd.read_parquet(tmp_path / "events.parquet")
    assert sorted(pd.concat(days)["timestamp"]) == sorted(events["timestamp"])
    assert all(
        before["timestamp"].max() < after["timestamp"].min()
        for before, after in itertools.pairwise(days)
    )
    (part,) = section(read_params(tmp_path), "shop", ShopParams).interactions
    assert part.files == [str(tmp_path / "events")] and part.format == "csv"
    assert part.files[0] in (tmp_path / "dvc.yaml").read_text("utf-8")
    assert append.equal(tmp_path / "later", tmp_path / "later")
    assert not append.equal(tmp_path / "later", tmp_path)

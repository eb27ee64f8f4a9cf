"""The benchmark of growth: what it keeps, takes up and tells, and that the peers do the same work."""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from benchmarks import scale, tables
from benchmarks.scale import OURS, Figure
from benchmarks.table_peers import PANDAS, POLARS, Peer
from benchmarks.tables import Cost

HOW = scale.How(1.0, 1, "hashing")


def figure(events: int, way: str, step: str, seconds: float, gigabytes: float = 1.0) -> Figure:
    return Figure(events, way, step, 2, Cost(seconds, 2 * seconds, gigabytes), 1_000_000)


def test_figures_are_kept_and_the_newest_counts(tmp_path: Path) -> None:
    assert scale.known(tmp_path) == {}
    failed = Figure(10, "spark", "split", 2, None, why="no room")
    for one in (figure(10, OURS, "split", 1.0), failed, figure(10, OURS, "split", 3.0)):
        scale.keep(tmp_path, one)
    found = scale.known(tmp_path)
    assert found == {failed.key: failed, (10, OURS, "split"): figure(10, OURS, "split", 3.0)}
    scale.forget(tmp_path, [10], ["spark"], ["ingest"])
    assert scale.known(tmp_path) == found
    scale.forget(tmp_path, [10], ["spark"], ["split"])
    assert scale.known(tmp_path).keys() == {(10, OURS, "split")}


def test_what_was_measured_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    def step(shop: Path, *words: object) -> object:
        ran.append(words[-2] if len(words) > 2 else words[0])
        if "no room" in words:
            raise SystemExit("no room")
        return lambda: Cost(1.0, 1.0, 1.0)

    monkeypatch.setattr(scale, "STEPS", {"ingest": [("one",)], "split": [("two",)]})
    monkeypatch.setattr(scale, "make", lambda shop, events, how: shop.mkdir(exist_ok=True))
    monkeypatch.setattr(scale, "our_step", lambda shop, name: step(shop, name))
    monkeypatch.setattr(scale, "peer_step", lambda shop, way, name, how: step(shop, "no room"))
    scale.keep(tmp_path, figure(10, OURS, "ingest", 5.0))
    scale.measure(tmp_path, 10, [OURS, "pandas"], ["ingest", "split"], HOW)
    found = scale.known(tmp_path)
    # A peer that fails is told, and its next step is not tried.
    assert ran == ["split", "no room"]
    assert found[10, "pandas", "ingest"].cost is None
    assert "no room" in found[10, "pandas", "ingest"].why
    scale.measure(tmp_path, 10, [OURS], ["ingest", "split"], HOW)
    assert ran == ["split", "no room"]


def test_a_stage_that_fails_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "STEPS", {"ingest": [("pipelines.no_such_stage",)]})
    monkeypatch.setattr(scale, "ABSENT", {})
    monkeypatch.setattr(sys, "argv", ["scale", "--events", "200", "--peers"])
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--folder", str(tmp_path), "--steps", "ingest"])
    with pytest.raises(SystemExit, match="no_such_stage"):
        scale.main()
    assert scale.known(tmp_path) == {}


def test_tables_tell_ratios_slopes_and_what_is_beyond_the_aims() -> None:
    figures = [
        figure(10, OURS, "split", 4.0),
        figure(10, "pandas", "split", 2.0, 2.0),
        figure(100, OURS, "split", 80.0, 5.0),
        figure(100, OURS, "ingest", 1.0),
    ]
    by_key = {one.key: one for one in figures}
    table, beyond = scale.slopes(by_key)
    assert table.row_count == 1
    assert beyond == ["split: 5.00 GB at 100 events", "split: slope 1.30"]
    console = Console(width=160, record=True)
    console.print(scale.of_size(by_key, 10))
    (row,) = (line for line in console.export_text().splitlines() if "pandas" in line)
    assert [cell.strip() for cell in row.split("│")[-4:-1]] == ["2.00", "2.00", "0.50"]


@pytest.mark.parametrize("peer", [PANDAS, POLARS], ids=lambda peer: peer.module)
def test_peers_clean_and_cut_as_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peer: Peer
) -> None:
    pytest.importorskip(peer.module)
    monkeypatch.setenv("POLARS_MAX_THREADS", "1")
    tables.make(tmp_path, 400, of_product=100, of_user=20)
    events = pq.read_table(tmp_path / "events.parquet")
    strange = events.slice(0, 1).set_column(3, "event", pa.array(["steal"]))
    again = events.slice(5, 1)
    pq.write_table(pa.concat_tables([events, strange, again]), tmp_path / "events.parquet")
    out = tmp_path / "out"
    out.mkdir()
    for step in peer.steps:
        exec(peer.program(step, tmp_path, out, 1, 1.0), {})
    good = pd.read_parquet(out / "good.parquet")
    assert len(good) == 400 and good["value"].sum() == 401
    assert good[["user_id", "timestamp", "item_id"]].equals(
        good[["user_id", "timestamp", "item_id"]].sort_values(["user_id", "timestamp", "item_id"])
    )
    end = good["timestamp"].max()
    parts = [pd.read_parquet(out / f"{name}.parquet") for name in ("train", "valid", "test")]
    assert sum(map(len, parts)) == 400
    ages = [(end - part["timestamp"]).dt.days for part in parts]
    assert ages[0].min() >= 56 and ages[1].between(28, 56).all() and ages[2].max() <= 28


def test_the_library_lists_what_the_user_has_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    names = {"user_id": [f"u{at % 20}" for at in range(300)]}
    names["item_id"] = [f"p{at}" for at in rng.integers(0, 40, 300)]
    (tmp_path / scale.SPLIT).mkdir(parents=True)
    pq.write_table(pa.table(names), tmp_path / scale.SPLIT / "train.parquet")
    scale.draw(tmp_path)
    asked = pq.read_table(tmp_path / scale.WHO)["user_id"].to_pylist()
    assert sorted(asked) == sorted({f"u{at}" for at in range(20)})
    scale.fit_library(tmp_path, tmp_path, 1)
    scale.list_by_library(tmp_path, tmp_path, 1)
    lists = pd.read_parquet(tmp_path / "lists.parquet")
    had = pd.DataFrame(names).drop_duplicates()
    assert lists.groupby("user_id").size().between(1, scale.K).all()
    assert len(lists.merge(had)) == 0


def test_bytes_are_those_that_a_step_wrote(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"x" * 100)
    since = (tmp_path / "old").stat().st_mtime + 1e-3
    new = tmp_path / "new"
    new.write_bytes(b"y" * 30)
    (tmp_path / "also").hardlink_to(new)
    new.touch()
    os.utime(new, (since + 1, since + 1))
    assert scale.size_of([tmp_path], since) == 30

"""Placeholders: what stands for an out that the shop does not have, and who sees it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.harness import Absent, Bug, MissingResource
from pipelines.harness.absent import SIZE, absence, write_placeholder
from pipelines.harness.graph import Graph, Node
from pipelines.harness.stage import Run, check_outputs, closing_table, figures, switch_off

WHY = "this shop has no pictures (它没有图片)"


@pytest.mark.parametrize("name", ["table.parquet", "receipt.json", "bundle"])
def test_a_placeholder_tells_its_reason(tmp_path: Path, name: str) -> None:
    assert absence(tmp_path / name) is None
    write_placeholder(tmp_path / name, WHY)
    assert absence(tmp_path / name) == WHY
    again = tmp_path / "again" / name
    write_placeholder(again, WHY)
    files = [path for path in sorted(again.parent.rglob("*")) if path.is_file()]
    for path in files:
        twin = tmp_path / path.relative_to(again.parent)
        assert path.read_bytes() == twin.read_bytes()


def test_a_placeholder_is_never_taken_for_an_empty_table(tmp_path: Path) -> None:
    write_placeholder(tmp_path / "images.parquet", WHY)
    found = pq.read_table(tmp_path / "images.parquet")
    assert len(found) == 0 and found.column_names == ["absent"]


def test_the_longest_reason_is_still_seen(tmp_path: Path) -> None:
    why = "🛒" * 5_000
    for name in ("a.parquet", "a.json", "a"):
        write_placeholder(tmp_path / name, why)
        assert why.startswith(absence(tmp_path / name) or "-")
    assert (tmp_path / "a.parquet").stat().st_size <= SIZE


@pytest.mark.parametrize("name", ["report.html", "numbers.txt"])
def test_what_nothing_can_stand_for_is_a_bug(tmp_path: Path, name: str) -> None:
    with pytest.raises(Bug, match=name):
        write_placeholder(tmp_path / name, WHY)


def test_a_reason_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(Bug, match="without a reason"):
        write_placeholder(tmp_path / "a.json", " ")


def test_data_are_no_placeholders(tmp_path: Path) -> None:
    pq.write_table(pa.table({"absent": ["x"]}), tmp_path / "table.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"no Parquet")
    (tmp_path / "broken.json").write_bytes(b"{")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "metrics.json").write_text('{"status": "done", "why": null}')
    for path in (tmp_path, *tmp_path.iterdir()):
        assert absence(path) is None


def make_run(root: Path) -> Run:
    node = Node(
        name="fit",
        desc="",
        cmd="",
        deps=("data/cut/pictures", "data/cut/words.parquet"),
        outs=("data/fit/bundle", "data/fit/scores.parquet", "data/fit/metrics.json"),
        params=(),
        always_changed=False,
    )
    partial = root / "data/.partial/fit"
    partial.mkdir(parents=True)
    more: Any = SimpleNamespace(pipeline_run="")
    return Run(
        name="fit",
        instance=None,
        root=root,
        node=node,
        graph=Graph({"fit": node}),
        seed=1,
        threads=1,
        promotion="never",
        profile="tiny",
        tracker=more,
        partial=partial,
    )


def test_an_absent_input_raises_its_reason_also_from_inside(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with pytest.raises(MissingResource, match="dvc repro fit"):
        run.input("cut/pictures/train.parquet")
    write_placeholder(tmp_path / "data/cut/pictures", WHY)
    for path in ("cut/pictures", "cut/pictures/train.parquet"):
        with pytest.raises(Absent, match="no pictures"):
            run.input(path)


def test_an_optional_input_is_none_said_once_and_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path)
    write_placeholder(tmp_path / "data/cut/words.parquet", WHY)
    assert run.optional("cut/words.parquet") is None
    assert run.optional("cut/words.parquet") is None
    assert capsys.readouterr().out.count("goes on without cut/words.parquet") == 1
    assert figures(run)["without"] == {"cut/words.parquet": WHY}
    with pytest.raises(MissingResource):
        run.optional("cut/pictures")
    (tmp_path / "data/cut/pictures").mkdir()
    assert run.optional("cut/pictures") == tmp_path / "data/cut/pictures"


def test_a_stage_is_off_where_all_its_outs_are(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.absent("bundle", WHY)
    found = figures(run)
    assert found["status"] == "done" and found["absent"] == {"bundle": WHY}
    run.absent("scores.parquet", WHY)
    found = figures(run)
    assert (found["status"], found["why"]) == ("off", WHY)
    assert closing_table({**found, "stage": "fit"}) == f"fit: off: {WHY}"


def test_switching_off_keeps_nothing_half_written(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (run.output("bundle/weights")).write_text("half")
    run.rows_in, run.measures["x"] = 5, 1.0
    switch_off(run, WHY)
    (run.partial / "metrics.json").write_text(json.dumps(figures(run)))
    check_outputs(run)
    assert [path.name for path in (run.partial / "bundle").iterdir()] == ["absent.json"]
    assert absence(run.partial) == absence(run.partial / "scores.parquet") == WHY
    assert figures(run)["rows_in"] == 0 and not figures(run)["measures"]

"""What the demo and `ask` tell of stages that are off."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.ask import Asker
from pipelines.demo import TAIL, _told, closing, off_lines, why_off
from pipelines.harness import MissingResource
from pipelines.harness.absent import write_placeholder
from pipelines.harness.graph import Graph, Node

WHY = "the export has no reviews"
RECORD = {"rows_in": 0, "rows_out": 0, "headline": None, "seconds": 1.0, "peak_memory_mb": 9.0}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for stage in ("split", "sentiment", "promote@sentiment"):
        folder = tmp_path / "data" / stage.replace("@", "/")
        status = "done" if stage == "split" else "off"
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps({"status": status, "why": WHY}))
        record = tmp_path / ".vitrine/records" / f"{stage}.json"
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(RECORD))
    return tmp_path


def stages(*names: str) -> Graph:
    return Graph({name: Node(name, "", "", (), (), (), False) for name in names})


def test_the_demo_names_each_reason_once_with_its_stages(root: Path) -> None:
    graph = stages("split", "sentiment", "promote@sentiment", "not-run")
    assert off_lines(root, graph) == [f"off: {WHY}: sentiment, promote@sentiment"]
    assert why_off(root, "split") is why_off(root, "not-run") is None


def test_the_closing_table_marks_what_is_off(root: Path) -> None:
    out = Console(width=200, record=True)
    out.print(closing(root, stages("split", "sentiment"), {"split", "sentiment"}))
    lines = {line.split()[0]: line.split() for line in out.export_text().splitlines()}
    assert "off" in lines["sentiment"] and "off" not in lines["split"]


def test_asking_a_model_that_is_off_says_why(root: Path) -> None:
    write_placeholder(root / "data/answers/bundle", WHY)
    with pytest.raises(MissingResource, match=f"answers is off: {WHY}"):
        Asker(root)


def test_a_failure_that_was_not_written_down_is_shown_with_its_whole_traceback(
    tmp_path: Path,
) -> None:
    log = tmp_path / "toy.log"
    trace = [*(f"  line {at} of the trace" for at in range(2 * TAIL)), "ValueError: boom"]
    log.write_text("\n".join(["before", "Traceback (most recent call last):", *trace]))
    text = _told("toy", "failed", "", log)
    assert "before" not in text and "line 0 of the trace" in text and "ValueError: boom" in text

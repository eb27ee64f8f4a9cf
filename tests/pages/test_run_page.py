"""The page on the last run: what changed, times, decisions and drift, from MLflow, the journal and the monitor."""

import html.parser
import re
from pathlib import Path

import pytest

from pipelines.harness import MissingResource
from pipelines.harness.state import State
from pipelines.pages.whole_report import PLACE
from pipelines.report_sections import Section
from pipelines.run_page import main, page_path, view, write
from tests.report_inputs import write_page
from tests.run_inputs import HOSTILE, ran, write_project, write_runs, write_two_runs


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Path:
    root = tmp_path_factory.mktemp("ran") / "shop"
    write_two_runs(root, migrated_database)
    return root


def test_a_stage_is_held_against_the_run_before(root: Path) -> None:
    found = view(root)
    assert (found["run"], found["profile"]) == ("train two", "tiny")
    assert found["begun"] == "1970-01-01 20:00:00"
    assert found["changes"] == [
        {"stage": "model", "lines": ["ndcg at 20: 0.2000 → 0.2500", "epochs: 2 → 4"]}
    ]
    assert (found["ran"], found["work"], found["wall"]) == (1, 31.5, 30.0)
    assert found["same"] == ["split", "lists"]
    assert found["failures"] == [{"stage": "lists", "why": f"no champion {HOSTILE}"}]
    rows = {row["stage"]: row for row in found["rows"]}
    assert (rows["model"]["seconds"], rows["model"]["before"]) == (31.5, 20.0)
    assert rows["model"]["quality"]["before"] == 0.2
    assert rows["split"]["before"] is None and not rows["split"]["ran"]


def test_decisions_come_newest_first_and_drift_from_the_newest_look(root: Path) -> None:
    found = view(root)
    assert [line["outcome"] for line in found["decisions"]] == ["refused", "promoted"]
    assert found["decisions"][1]["old"] == ""
    assert [one["what"] for one in found["look"]["drift"]] == ["interactions.price"]


def test_what_stands_in_it_is_escaped_and_nothing_is_loaded(root: Path) -> None:
    page = write(root).read_text("utf-8")
    assert HOSTILE not in page and page.count("&lt;script&gt;") >= 2
    assert "default-src 'none'" in page

    class Tags(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            named = dict(attrs)
            assert tag not in ("script", "iframe", "object", "embed", "form", "base")
            assert not [name for name in named if name.startswith("on")]
            led.extend(named[name] for name in ("src", "href") if named.get(name))

    led: list[str | None] = []
    Tags().feed(page)
    out = {place for place in led if place and not place.startswith(("#", "data:"))}
    assert out == {"../../data/report/report.html", "../monitor/index.html"}
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", page)


def test_the_report_is_held_whole_and_gives_way_where_both_are_too_large(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "The report has not been written yet." in write(root).read_text("utf-8")
    row = {"query": {"picture": f"data:image/png;base64,{'A' * 9000}", "label": HOSTILE}}
    row |= {"colours": [], "near": []}
    view = {"rows": [row], "total": 1, "measured": False}
    sections = [Section("pictures", "Nearest", view), Section("lists", "Lists", absent="no")]
    write_page(root, sections)
    whole = write(root).read_text("utf-8")
    assert row["query"]["picture"] in whole and "<b>Not shown.</b> no" in whole
    assert "Profile <b>tiny</b> · seed <b>5</b>" in whole and HOSTILE not in whole
    assert whole.count("<style>") == whole.count("<main") == 1
    assert "How the last run went" not in whole  # a page does not lead to itself
    monkeypatch.setattr("pipelines.run_page.MAX_BYTES", len(whole.encode()) - 1)
    less = write(root).read_text("utf-8")
    assert "<img" not in less and 'aria-label="no picture"' in less and "no</p>" in less
    assert "pictures are left out" in less and 'id="pictures"' in less
    monkeypatch.setattr("pipelines.run_page.MAX_BYTES", len(less.encode()) - 1)
    least = write(root).read_text("utf-8")
    assert "The report is left out" in least and 'id="pictures"' not in least
    assert least.count('href="#report"') == 0 and "epochs: 2 → 4" in least
    (root / PLACE).write_text("<main>of another day</main>")
    assert "is of another version" in write(root).read_text("utf-8")


def test_lists_made_after_the_training_belong_to_its_run(
    tmp_path: Path, migrated_database: Path
) -> None:
    root = tmp_path / "shop"
    write_project(root, migrated_database)
    write_runs(root)
    lists = {"metrics": {"rows_in": 9, "rows_out": 80, "seconds": 4.0}}
    ran(root, "recommend after", {"lists": lists}, hour=21)
    found = view(root)
    assert (found["run"], found["profile"]) == ("train two", "tiny")
    assert found["ran"] == 2 and not found["failures"]
    assert found["changes"][1] == {"stage": "lists", "lines": ["rows out: 90 → 80"]}
    assert found["look"] is None and found["decisions"] == []
    page = write(root).read_text("utf-8")
    assert "the journal is empty" in page and "It has not looked yet" in page


def test_before_the_first_run_there_is_no_page(
    tmp_path: Path, migrated_database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_project(tmp_path / "shop", migrated_database)
    with pytest.raises(MissingResource, match="make demo"):
        view(tmp_path / "shop")
    assert main(tmp_path / "shop") == MissingResource.exit_code
    assert "no stage has run" in capsys.readouterr().err
    assert not page_path(State(tmp_path / "shop")).exists()

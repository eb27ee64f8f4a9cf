"""The page on the last run with the report in it, as one file that was mailed: alone in a folder, offline."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines import run_page
from pipelines.report import MAX_BYTES, TEMPLATES, render
from pipelines.report_sections import ORDER, build_sections
from pipelines.report_sections.inputs import Choice, Inputs
from pipelines.whole_report import PLACE
from tests.browser.reachable import faults, untabbed
from tests.conftest import REPOSITORY
from tests.report_inputs import DECISIONS, HOSTILE_TITLE, write_inputs
from tests.run_inputs import HOSTILE, write_news, write_project, write_runs

PHONE, DESK = 390, 1280


@pytest.fixture(scope="module")
def mailed(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Path:
    root = tmp_path_factory.mktemp("ran") / "shop"
    write_project(root, migrated_database)
    write_runs(root)
    write_news(root)
    write_inputs(root / "data")

    def find(name: str) -> Path | None:
        path = root / "data" / name
        return path if path.exists() else None

    sections = build_sections(Inputs(find, DECISIONS), Choice(seed=5, users=3, rows=8, length=200))
    report = root / PLACE
    report.parent.mkdir(parents=True)
    report.write_text(render(REPOSITORY / TEMPLATES, sections, profile="tiny", seed=5), "utf-8")
    alone = tmp_path_factory.mktemp("inbox") / "run.html"
    shutil.copy(run_page.write(root), alone)
    shutil.rmtree(root)
    return alone


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_file_alone_holds_the_run_and_the_report(
    mailed: Path, browser: Any, scheme: str, width: int
) -> None:
    assert mailed.stat().st_size <= MAX_BYTES
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 800}, offline=True
    )
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(mailed.as_uri())
    sections = page.evaluate("[...document.querySelectorAll('main > section')].map(one => one.id)")
    own = ["changes", "times", "decisions", "drift"]
    assert sections == [*own, "report", *ORDER, "next"]
    assert page.locator("nav a").evaluate_all("all => all.map(one => one.hash.slice(1))") == [
        one for one in sections if one != "report"
    ]
    for key, words in (("changes", "epochs: 2 → 4"), ("times", "31.5"), ("drift", "interactions.")):
        assert words in page.locator(f"#{key}").inner_text()
    assert HOSTILE in page.locator("#changes").inner_text()
    assert HOSTILE_TITLE in page.locator("#lists").inner_text()
    assert page.locator("img").count() > 0
    assert page.evaluate("[...document.images].every(picture => picture.naturalWidth > 0)")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))
    for one in ("style", "main", "h1", "title"):
        assert page.locator(one).count() == 1
    for key in ("times", "figures"):
        assert page.locator(f"#{key} .wide svg").is_visible() == (width == DESK)
        assert page.locator(f"#{key} .narrow svg").is_visible() == (width == PHONE)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert faults(page) == []
    assert untabbed(page) == []
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [mailed.as_uri()]
    context.close()

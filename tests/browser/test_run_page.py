"""The page on the last run with the report in it, as one file that was mailed: alone in a folder, offline."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines import run_page
from pipelines.report import MAX_BYTES
from pipelines.report_sections import ORDER
from tests.browser.looking import DESK, PHONE, both_schemes, both_widths, fits, opened, unfold
from tests.browser.reachable import faults, untabbed
from tests.report_inputs import HOSTILE_TITLE, write_inputs, write_page
from tests.run_inputs import HOSTILE, write_two_runs


@pytest.fixture(scope="module")
def mailed(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Path:
    root = tmp_path_factory.mktemp("ran") / "shop"
    write_two_runs(root, migrated_database)
    write_inputs(root / "data")
    write_page(root)
    alone = tmp_path_factory.mktemp("inbox") / "run.html"
    shutil.copy(run_page.write(root), alone)
    shutil.rmtree(root)
    return alone


@both_schemes
@both_widths
def test_the_file_alone_holds_the_run_and_the_report(
    mailed: Path, browser: Any, scheme: str, width: int
) -> None:
    assert mailed.stat().st_size <= MAX_BYTES
    with opened(browser, mailed, scheme, width) as page:
        found = "[...document.querySelectorAll('main > section')].map(one => one.id)"
        sections = page.evaluate(found)
        own = ["changes", "times", "decisions", "drift"]
        assert sections == [*own, "report", *ORDER, "next"]
        assert page.locator("nav a").evaluate_all("all => all.map(one => one.hash.slice(1))") == [
            one for one in sections if one != "report"
        ]
        told = (("changes", "epochs: 2 → 4"), ("times", "31.5"), ("drift", "interactions."))
        for key, words in told:
            assert words in page.locator(f"#{key}").inner_text()
        assert HOSTILE in page.locator("#changes").inner_text()
        assert HOSTILE_TITLE in page.locator("#lists").inner_text()
        assert page.locator("img").count() > 0
        assert page.evaluate("[...document.images].every(picture => picture.naturalWidth > 0)")
        assert fits(page)
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
        assert len(ids) == len(set(ids))
        for one in ("style", "main", "h1", "title"):
            assert page.locator(one).count() == 1
        for key in ("times", "figures"):
            assert page.locator(f"#{key} .wide svg").is_visible() == (width == DESK)
            assert page.locator(f"#{key} .narrow svg").is_visible() == (width == PHONE)
        unfold(page)
        assert faults(page) == []
        assert untabbed(page) == []

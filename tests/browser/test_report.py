"""The report as a browser shows it: opened from the disk, in both schemes, on a telephone, by keyboard."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.report_sections import ORDER
from tests.browser.looking import DESK, PHONE, both_schemes, both_widths, fits, opened, unfold
from tests.browser.reachable import faults, untabbed
from tests.report_inputs import HOSTILE_TITLE, write_inputs, write_page

READABLE = 200
"""Pixels that a quote has for its lines, at least."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("page")
    write_inputs(root / "data")
    return write_page(root)


@both_schemes
@both_widths
def test_it_opens_whole_and_silent(report: Path, browser: Any, scheme: str, width: int) -> None:
    with opened(browser, report, scheme, width) as page:
        assert page.locator("main > section").count() == len(ORDER) + 2
        assert fits(page)
        assert page.locator("img").count() > 0
        assert page.evaluate("[...document.images].every(picture => picture.naturalWidth > 0)")
        assert HOSTILE_TITLE in page.locator("#lists").inner_text()
        for key in ("figures", "promotion"):
            assert page.locator(f"#{key} .wide svg").is_visible() == (width == DESK)
            assert page.locator(f"#{key} .narrow svg").is_visible() == (width == PHONE)
        unfold(page)
        quotes = page.locator("blockquote").evaluate_all("all => all.map(one => one.offsetWidth)")
        assert len(quotes) > 3 and min(quotes) >= READABLE


@both_schemes
@both_widths
def test_axe_finds_nothing_serious(report: Path, browser: Any, scheme: str, width: int) -> None:
    with opened(browser, report, scheme, width) as page:
        unfold(page)
        assert faults(page) == []


@both_schemes
def test_text_stands_out_from_its_ground(report: Path, browser: Any, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(report.as_uri())
    colours = page.evaluate(
        """() => {
            const style = getComputedStyle(document.documentElement);
            const names = ["paper", "ink", "quiet", "accent", "good", "bad", "part"];
            return Object.fromEntries(names.map(n => [n, style.getPropertyValue("--" + n).trim()]));
        }"""
    )
    ground = luminance(colours.pop("paper"))
    for name, colour in colours.items():
        light, dark = sorted((luminance(colour), ground), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{name} on paper, {scheme}"
    context.close()


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_keyboard_reaches_sections_and_details(report: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    details = page.locator("#figures details").first
    details.locator("summary").focus()
    page.keyboard.press("Enter")
    assert details.evaluate("node => node.open")
    assert untabbed(page) == []
    page.close()

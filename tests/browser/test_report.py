"""The report as a browser shows it: opened from the disk, in both schemes, on a telephone, by keyboard."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.report import TEMPLATES, render
from pipelines.report_sections import ORDER, build_sections
from pipelines.report_sections.inputs import Choice, Inputs
from tests.browser.reachable import faults, untabbed
from tests.conftest import REPOSITORY
from tests.report_inputs import DECISIONS, HOSTILE_TITLE, write_inputs

PHONE, DESK = 390, 1280


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("page")
    write_inputs(root / "data")

    def find(name: str) -> Path | None:
        path = root / "data" / name
        return path if path.exists() else None

    sections = build_sections(Inputs(find, DECISIONS), Choice(seed=5, users=3, rows=8, length=200))
    path = root / "report.html"
    path.write_text(render(REPOSITORY / TEMPLATES, sections, profile="tiny", seed=5), "utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_it_opens_whole_and_silent(report: Path, browser: Any, scheme: str, width: int) -> None:
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 800}, offline=True
    )
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    assert page.locator("main > section").count() == len(ORDER) + 2
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    pictures = page.locator("img")
    assert pictures.count() > 0
    assert page.evaluate("[...document.images].every(picture => picture.naturalWidth > 0)")
    assert HOSTILE_TITLE in page.locator("#lists").inner_text()
    for key in ("figures", "promotion"):
        assert page.locator(f"#{key} .wide svg").is_visible() == (width == DESK)
        assert page.locator(f"#{key} .narrow svg").is_visible() == (width == PHONE)
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_axe_finds_nothing_serious(report: Path, browser: Any, scheme: str, width: int) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert faults(page) == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
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

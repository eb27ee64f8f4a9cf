"""A page that is opened from the disk as a person has it: a width, a scheme, no network, and not a word on the console."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PHONE, DESK = 390, 1280
"""Pixels."""

both_schemes = pytest.mark.parametrize("scheme", ["light", "dark"])
both_widths = pytest.mark.parametrize("width", [PHONE, DESK])


def heard(page: Any) -> tuple[list[str], list[str]]:
    """What a page will have said on the console, by errors and in boxes, and the addresses that it will have asked for."""
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on(
        "request",
        lambda request: None if request.url.startswith("data:") else asked.append(request.url),
    )
    return said, asked


@contextmanager
def opened(browser: Any, path: Path, scheme: str = "light", width: int = DESK) -> Iterator[Any]:
    """The page. At the end it must have said nothing and asked for nothing but itself."""
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 800}, offline=True
    )
    page = context.new_page()
    said, asked = heard(page)
    page.goto(path.as_uri())
    try:
        yield page
        assert said == []
        assert asked == [path.as_uri()]
    finally:
        context.close()


def unfold(page: Any) -> None:
    """Open all that is folded."""
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")


def fits(page: Any) -> bool:
    """Whether nothing stands out of the window at its sides."""
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

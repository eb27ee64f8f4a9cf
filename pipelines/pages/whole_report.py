"""The report as it was written, for the page on the last run to hold: that page is the one file to mail or keep.

What is held is cut out of the report's own HTML, not drawn again: the figures are those of the output that has a hash.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.harness.absent import lacking

PLACE = "data/report/report.html"
PICTURE = re.compile(r'<img src="data:[^"]*"[^>]*>')


@dataclass(frozen=True)
class Held:
    """Parts of the report as HTML that its templates escaped. why: what is missing of it, "" where nothing is."""

    facts: str = ""
    links: str = ""
    body: str = ""
    why: str = ""


def candidates(root: Path, blank: str) -> Iterator[Held]:
    """The report with all that it shows, then with less and less, for a page that may be too large with it.

    blank: HTML that stands for a picture.
    """
    path = root / PLACE
    if lacking(path):
        yield Held(why="The report has not been written yet.")
        return
    page = path.read_text(encoding="utf-8")
    facts, links, body = (_part(page, name) for name in ("facts", "links", "body"))
    if not body:
        yield Held(why=f"{PLACE} is of another version: `make repro` writes it anew.")
        return
    yield Held(facts, links, body)
    bare = PICTURE.sub(lambda _: blank, body)
    yield Held(
        facts, links, bare, "The report's pictures are left out: the file would be too large."
    )
    yield Held(why=f"The report is left out, the file would be too large: it is {PLACE}.")


def _part(page: str, name: str) -> str:
    """What `page.html` has between the comments of this name; no text from data can hold one, as it is escaped."""
    found = page.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")
    return found[0] if found[1] else ""

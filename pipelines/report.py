"""Draw what was measured, promoted and recommended as one page: `data/report/report.html`.

The page holds its pictures, charts and style; it has no script and asks for nothing, so it opens from a disk offline.
All that comes from data is escaped by the templates. An input that is absent hides its section, which then says so;
one that the shop has nothing for says what is lacking.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.harness import Absent, BadConfig, MissingResource, Params, Run, stage
from pipelines.journal import Journal
from pipelines.report_sections import Section, build_sections
from pipelines.report_sections.inputs import Choice, Inputs, Off

TEMPLATES = "pipelines/templates"
MAX_BYTES = 10_000_000


class ReportParams(Params):
    """users: lists shown. rows: examples a section. length: characters of a quoted text."""

    users: int
    rows: int
    length: int


@stage
def report(run: Run, params: ReportParams) -> None:
    def find(name: str) -> Path | None:
        try:
            return run.input(name)
        except MissingResource:
            return None
        except Absent as reason:
            raise Off(str(reason)) from None

    choice = Choice(run.seed, params.users, params.rows, params.length)
    inputs = Inputs(find, decisions(Journal(run.state)), run.graph.instances)
    sections = build_sections(inputs, choice)
    run.advance(0.8, "writing the page")
    for section in sections:
        if section.absent:
            how = "off" if section.off else "not shown"
            run.say(f"{section.title} is {how}: {section.absent}")
    page = render(run.source_file(TEMPLATES), sections, profile=run.profile, seed=run.seed)
    content = encoded(page, params)
    run.output("report.html").write_bytes(content)
    run.rows_in = run.rows_out = len(sections)
    run.measure("sections_shown", sum(not section.absent for section in sections))
    run.measure("sections_off", sum(section.off for section in sections))
    run.measure("bytes", len(content))


def encoded(page: str, params: ReportParams) -> bytes:
    """The page as bytes. Raises `BadConfig` where they are more than `MAX_BYTES`."""
    content = page.encode("utf-8")
    if len(content) > MAX_BYTES:
        raise BadConfig(
            f"params.yaml: report.users {params.users} and report.rows {params.rows} make a page of "
            f"{len(content):,} bytes, the limit is {MAX_BYTES:,}: lower them"
        )
    return content


def decisions(journal: Journal) -> dict[tuple[str, str], dict[str, Any]]:
    """(capability, manifest hash) to what was decided on that bundle: the newest line, with the figures of the last
    that has some (a person's decision has none). Raises `BadData` for a broken journal.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for line in journal.entries():
        key = line["capability"], line["to"]
        found[key] = {**found.get(key, {}), **line}
    return found


def render(templates: Path, sections: Sequence[Section], **facts: Any) -> str:
    """The page as HTML; equal sections give equal text. facts: `profile` and `seed` for the head of the page."""
    return environment(templates).get_template("page.html").render(sections=sections, **facts)


def environment(templates: Path) -> Any:
    """Jinja's, which escapes all that is put in, refuses names that are not there, and writes figures for people."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(figure=figure, signed=signed, count=count, percent=percent)
    return made


def figure(value: float) -> str:
    """Three decimals, or a whole number with its thousands apart where it is 100 or more.

    >>> figure(0.41234), figure(-0.0001), figure(12345.0)
    ('0.412', '0.000', '12,345')
    """
    if abs(value) >= 100:
        return count(value)
    return f"{round(value, 3) + 0.0:.3f}".replace("-", "−")


def signed(value: float) -> str:
    """A difference, with its sign.

    >>> signed(0.05), signed(-0.05)
    ('+0.050', '−0.050')
    """
    return f"{round(value, 3) + 0.0:+.3f}".replace("-", "−")


def count(value: float) -> str:
    """A whole number with its thousands apart."""
    return f"{int(value):,}"


def percent(value: float, digits: int) -> str:
    """A share as per cent."""
    return f"{value * 100:.{digits}f} %"


if __name__ == "__main__":
    report.main()

"""The sections of the report: each module turns stage outputs into plain values for its template.

A module has `KEY` (its anchor and the name of its template), `TITLE`, and `view(inputs, choice)`, which returns
what the template shows. An input that is not there raises `Absent`: the page then says so in that section's place.
"""

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from pipelines.report_sections.inputs import Absent, Choice, Inputs, Off

ORDER = (
    "figures",
    "promotion",
    "data",
    "lists",
    "measures",
    "sources",
    "recognition",
    "pictures",
    "attributes",
    "audit",
    "sentiment",
    "opinions",
    "answers",
)


@dataclass(frozen=True)
class Section:
    """key: anchor and template. view: what the template shows. absent: why there is nothing to show.

    off: whether that is so because the shop lacks what the section is made of.
    """

    key: str
    title: str
    view: dict[str, Any] = field(default_factory=dict)
    absent: str = ""
    off: bool = False


def build_sections(inputs: Inputs, choice: Choice) -> list[Section]:
    """All sections in the page's order; one whose input is absent carries the reason instead of a view."""
    built = []
    for name in ORDER:
        module = import_module(f"pipelines.report_sections.{name}")
        try:
            built.append(Section(module.KEY, module.TITLE, module.view(inputs, choice)))
        except Absent as gap:
            off = isinstance(gap, Off)
            built.append(Section(module.KEY, module.TITLE, absent=str(gap), off=off))
    return built

"""How times, numbers and texts are written, told from their cells."""

import datetime
import re

from pipelines.sources.shop import When

ISO = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?\s*(Z|UTC|[+-]\d{2}(:?\d{2})?)?)?"
)
NUMERIC = re.compile(
    r"(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})(?:[ T](\d{1,2}:\d{2})(:\d{2})?( ?[AaPp][Mm])?)?"
)
EPOCHS = (("s", 1e8, 5e9), ("ms", 1e11, 5e12), ("us", 1e14, 5e15), ("ns", 1e17, 5e18))
OTHERS = (
    *("%Y%m%d", "%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y.%m.%d", "%Y%m%d%H%M%S"),
    *("%m %d, %Y", "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y"),
    *("%a %b %d %H:%M:%S %Y", "%Y年%m月%d日"),
)
ORDERS = {"day-first": "%d{0}%m{0}{1}", "month-first": "%m{0}%d{0}{1}"}


def guess(cells: list[str]) -> tuple[list[When], str]:
    """The ways in which all of these times can be read, and the grounds: one is sure, several are a question."""
    if not cells:
        return [], "it has no cells"
    if all(re.fullmatch(r"\d+(\.\d+)?", cell) for cell in cells):
        largest, least = max(map(float, cells)), min(float(cell) for cell in cells if float(cell))
        for unit, low, high in EPOCHS:
            if low <= least and largest < high:
                return [When(unit=unit)], f"numbers around {largest:.3g}: epochs in {unit}"  # type: ignore[arg-type]
    if all(ISO.fullmatch(cell) for cell in cells):
        zoned = any(re.search(r":\d{2}.*(Z|UTC|[+-]\d{2}(:?\d{2})?)$", cell) for cell in cells)
        clock = any(":" in cell for cell in cells)
        words = (
            "with their offset" if zoned else "clock times, zone UTC" if clock else "days, zone UTC"
        )
        return [When()], f"ISO 8601, {words}"
    matches = [NUMERIC.fullmatch(cell) for cell in cells]
    if all(matches):
        return _orders([match for match in matches if match])
    for form in OTHERS:
        if all(_reads(cell, form) for cell in cells):
            return [When(formats=[form])], f"as {cells[0]!r}"
    return [], f"no way is known to read {cells[0]!r}"


def _reads(cell: str, form: str) -> bool:
    try:
        datetime.datetime.strptime(cell, form)
    except ValueError:
        return False
    return True


def _orders(matches: list[re.Match[str]]) -> tuple[list[When], str]:
    """Day and month in either order, as far as numbers above twelve do not tell."""
    first = max(int(match[1]) for match in matches)
    second = max(int(match[3]) for match in matches)
    possible = [
        order
        for order, largest in (("day-first", second), ("month-first", first))
        if largest <= 12 and max(first, second) <= 31
    ]
    forms = [sorted({_form(match, order) for match in matches}) for order in possible]
    ways = [When(formats=form) for form in forms]
    example = matches[0][0]
    if len(possible) == 1:
        return ways, f"{possible[0]}: a number above 12 is never the month (as {example!r})"
    if not possible:
        return [], f"day and month stand in both orders (as {example!r})"
    return ways, f"{example!r} and its like can be read day-first and month-first"


def _form(match: re.Match[str], order: str) -> str:
    year = "%Y" if len(match[4]) == 4 else "%y"
    form = ORDERS[order].format(match[2], year)
    if match[5]:
        hour = "%I" if match[7] else "%H"
        form += f" {hour}:%M" + (":%S" if match[6] else "")
        form += (" %p" if match[7].startswith(" ") else "%p") if match[7] else ""
    return form


def numbers(cells: list[str]) -> tuple[list[tuple[str, str]], str]:
    """The (decimal sign, thousands separator) with which all cells are numbers, and the grounds."""
    bare = [re.sub(r"[^\d.,-]", "", cell) for cell in cells]
    bare = [cell for cell in bare if re.search(r"\d", cell)]
    ways = {
        (".", ""): r"-?\d+(\.\d+)?|-?\.\d+",
        (",", ""): r"-?\d+(,\d+)?",
        (".", ","): r"-?\d{1,3}(,\d{3})*(\.\d+)?",
        (",", "."): r"-?\d{1,3}(\.\d{3})*(,\d+)?",
    }
    fit = [way for way, form in ways.items() if all(re.fullmatch(form, cell) for cell in bare)]
    if not bare or not fit:
        return [], f"no numbers: {cells[0]!r}" if cells else "it has no cells"
    separated = [cell for cell in bare if re.search(r"[.,]", cell)]
    if not separated:
        return [(".", "")], "whole numbers"
    example = separated[0]
    # A single sign before three digits may be either; any other use of it decides.
    if fit[0] == (".", "") and not all(
        re.fullmatch(r"-?\d{1,3}\.\d{3}", cell) for cell in separated
    ):
        return [(".", "")], f"decimal point, as {example!r}"
    if fit[0] == (".", ""):
        return [(".", ""), (",", ".")], f"{example!r}: a decimal point, or thousands"
    if (",", "") in fit and (".", ",") in fit:
        return [(",", ""), (".", ",")], f"{example!r}: a decimal comma, or thousands"
    return [fit[0]], f"decimal {'comma' if fit[0][0] == ',' else 'point'}, as {example!r}"

"""Charts as static SVG, drawn by Altair when the page is made: no script runs in the page.

Colours are placeholders that the page's style sheet replaces, so that one drawing serves light and dark.
"""

import re
from typing import Any
from xml.etree import ElementTree

PAPER, INK, QUIET, LINE, ACCENT = "#010101", "#020202", "#030303", "#040404", "#050505"
FONT = "system-ui, sans-serif"
SIZE = 12
STEP = 32
"""Height of a line."""
PADDING = {"left": 22, "right": 10, "top": 4, "bottom": 4}
"""Room for a browser whose font is wider than the one that the drawing was measured with."""
RUNS_OR_LOADS = {"script", "foreignobject", "image", "a", "use", "style", "animate", "set"}


def draw(chart: Any, label: str) -> str:
    """SVG of an Altair chart, with the accessible name `label`. Equal charts give equal bytes.

    Raises `ValueError` where the drawing holds anything that could run or load.
    """
    import vl_convert

    styled = chart.configure(font=FONT, background="transparent", padding=PADDING).configure_view(
        stroke=None
    )
    styled = styled.configure_axis(
        labelColor=INK,
        titleColor=QUIET,
        titleFontWeight="normal",
        labelFontSize=SIZE,
        titleFontSize=SIZE,
        gridColor=LINE,
        domainColor=LINE,
        tickColor=LINE,
    )
    svg = vl_convert.vegalite_to_svg(styled.to_dict())
    for node in ElementTree.fromstring(svg).iter():
        names = [name.lower() for name in node.attrib]
        element = node.tag.rpartition("}")[2].lower()
        if element in RUNS_OR_LOADS or any(n.startswith("on") or n.endswith("href") for n in names):
            raise ValueError(f"the drawing of {label!r} holds {element}, which may run or load")
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    box = f"0 0 {size[1]} {size[2]}" if size else "0 0 100 100"
    width = size[1] if size else "100"
    body = svg[svg.index(">") + 1 :]
    name = label.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" aria-label="{name}" '
        f'viewBox="{box}" style="max-width:{width}px">{body}'
    )


def whiskers(rows: list[dict[str, Any]], width: int, names: bool) -> str:
    """One line a capability: the metric with its interval (filled) and its baseline (hollow).

    rows: name, value, low, high, baseline_value. names: labels at the left, else above each line (narrow screens).
    """
    import altair as alt

    floor = min(0.0, *(min(row["low"], row["baseline_value"]) for row in rows))
    ceiling = max(1.0, *(max(row["high"], row["baseline_value"]) for row in rows))
    scale = alt.Scale(domain=[floor, ceiling], nice=False)
    base, labels = _lines(rows, names)
    ticks = alt.Axis(
        values=[0, 0.2, 0.4, 0.6, 0.8, 1],
        format=".1f",
        title=None,
        domain=False,
        ticks=False,
        labelColor=QUIET,
    )
    layers = [
        base.mark_rule(color=LINE, strokeWidth=1.5).encode(
            x=alt.X("baseline_value:Q", scale=scale, axis=ticks), x2="value:Q"
        ),
        base.mark_rule(color=ACCENT, strokeWidth=3, strokeCap="round").encode(
            x=alt.X("low:Q", scale=scale), x2="high:Q"
        ),
        base.mark_point(
            filled=True, opacity=1, color=PAPER, stroke=QUIET, strokeWidth=1.5, size=62
        ).encode(x=alt.X("baseline_value:Q", scale=scale)),
        base.mark_point(filled=True, opacity=1, color=ACCENT, size=82).encode(
            x=alt.X("value:Q", scale=scale)
        ),
    ]
    label = "Metric of each capability with its 95 percent interval, beside its baseline"
    return _stacked([*layers, *labels], len(rows), width, names, label)


def gains(rows: list[dict[str, Any]], width: int, names: bool) -> str:
    """One line a capability: how much better than what stood before, with its interval, beside a line at 0.

    rows: name, mean, low, high. names: as of `whiskers`.
    """
    import altair as alt

    floor = min(0.0, *(row["low"] for row in rows), *(row["mean"] for row in rows))
    ceiling = max(0.0, *(row["high"] for row in rows), *(row["mean"] for row in rows))
    edge = 0.05 * (ceiling - floor) or 0.01
    scale = alt.Scale(domain=[floor - edge, ceiling + edge], nice=False)
    axis = alt.Axis(
        format="+.2~f", title=None, domain=False, ticks=False, labelColor=QUIET, tickCount=5
    )
    base, labels = _lines(rows, names)
    layers = [
        base.mark_rule(color=ACCENT, strokeWidth=3, strokeCap="round").encode(
            x=alt.X("low:Q", scale=scale, axis=axis), x2="high:Q"
        ),
        base.mark_point(filled=True, opacity=1, color=ACCENT, size=82).encode(
            x=alt.X("mean:Q", scale=scale)
        ),
        base.mark_tick(color=QUIET, thickness=1.5, size=STEP if names else 22).encode(
            x=alt.X(datum=0, type="quantitative", scale=scale)
        ),
    ]
    label = "Gain of each capability over what stood before it, with its 95 percent interval"
    return _stacked([*layers, *labels], len(rows), width, names, label)


def bars(rows: list[dict[str, Any]], width: int, names: bool, label: str) -> str:
    """One bar a line, with its figure at its end. rows: name, value (0 or more), told. names: as of `whiskers`."""
    import altair as alt

    base, labels = _lines(rows, names)
    room = 1.15 * max(row["value"] for row in rows) or 1.0
    scale = alt.Scale(domain=[0, room], nice=False)
    x = alt.X("value:Q", scale=scale, axis=None)
    layers = [
        base.mark_bar(color=ACCENT, size=12, orient="horizontal", cornerRadiusEnd=2).encode(x=x),
        base.mark_text(align="left", dx=5, color=QUIET, fontSize=SIZE).encode(x=x, text="told:N"),
    ]
    return _stacked([*layers, *labels], len(rows), width, names, label)


def _lines(rows: list[dict[str, Any]], names: bool) -> tuple[Any, list[Any]]:
    """A chart with one line a row, and the layers that name the lines where no axis does."""
    import altair as alt

    points = [{**row, "at": at, "above": at - 0.36} for at, row in enumerate(rows)]
    data = alt.Data(values=points)  # type: ignore[no-untyped-call] # Altair leaves it untyped
    if names:
        axis = alt.Axis(domain=False, ticks=False, labelPadding=12, labelLimit=220)
        return alt.Chart(data).encode(y=alt.Y("name:N", sort=None, title=None, axis=axis)), []
    y = alt.Y("at:Q", axis=None, scale=alt.Scale(domain=[-0.6, len(rows) - 0.6], reverse=True))
    text = alt.Chart(data).mark_text(align="left", color=INK, fontSize=SIZE, x=0)
    return alt.Chart(data).encode(y=y), [text.encode(y=alt.Y("above:Q"), text="name:N")]


def _stacked(layers: list[Any], lines: int, width: int, names: bool, label: str) -> str:
    import altair as alt

    step = STEP if names else 46
    return draw(alt.layer(*layers).properties(width=width, height=step * lines), label)

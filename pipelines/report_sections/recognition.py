"""How pictures were recognised: the confusion matrix, the commonest mix-ups, the surest mistakes."""

from typing import Any

import pandas as pd

from pipelines.report_sections.charts import ACCENT, INK, PAPER, QUIET, SIZE, draw
from pipelines.report_sections.inputs import Choice, Inputs
from pipelines.report_sections.judged import scores, surest_mistakes
from pipelines.report_sections.thumbnails import thumbnails

KEY = "recognition"
TITLE = "Recognition"
CLASSES = 20
MIXED = 5


def view(inputs: Inputs, choice: Choice) -> dict[str, Any]:
    """heat: the matrix as SVG; mixed: the commonest mix-ups; mistakes: with pictures; right: share."""
    frame = scores(inputs, KEY).rows
    wrong = surest_mistakes(frame, choice.rows)
    pictures = thumbnails(inputs, list(wrong["row_id"]))
    counts = pd.crosstab(frame["truth"], frame["prediction"])
    return {
        "heat": heat_map(counts),
        "classes": len(counts),
        "shown": min(len(counts), CLASSES),
        "mixed": _mixed(counts),
        "right": float((frame["prediction"] == frame["truth"]).mean()),
        "total": len(frame),
        "mistakes": [
            {
                "picture": pictures.get(line.row_id, ""),
                "prediction": line.prediction,
                "truth": line.truth,
                "confidence": float(line.confidence),
            }
            for line in wrong.itertuples()
        ],
    }


def _mixed(counts: pd.DataFrame) -> list[dict[str, Any]]:
    """The pairs (truth, prediction) that were mixed up most often, with their share of the truth's rows."""
    totals = counts.sum(axis=1)
    pairs = counts.stack()
    pairs = pairs[[truth != said for truth, said in pairs.index]]
    top = pairs[pairs > 0].sort_values(ascending=False, kind="stable").head(MIXED)
    return [
        {"truth": truth, "said": said, "count": int(count), "share": count / totals[truth]}
        for (truth, said), count in top.items()
    ]


def heat_map(counts: pd.DataFrame) -> str:
    """Confusion matrix as SVG; each cell is its share of the truth's row. The 20 commonest classes at most."""
    import altair as alt

    classes = sorted(counts.sum(axis=1).sort_values(ascending=False, kind="stable").index[:CLASSES])
    totals = counts.sum(axis=1)
    cells = [
        {
            "truth": str(truth),
            "said": str(said),
            "share": float(counts[said].get(truth, 0) / totals[truth]) if said in counts else 0.0,
        }
        for truth in classes
        for said in classes
    ]
    side = max(22, min(44, 440 // max(len(classes), 1)))
    plain: dict[str, Any] = {"domain": False, "ticks": False, "labelLimit": 110, "labelPadding": 6}
    across = alt.Axis(**plain, labelAngle=-45)
    data = alt.Data(values=cells)  # type: ignore[no-untyped-call] # Altair leaves it untyped
    base = alt.Chart(data).encode(
        x=alt.X("said:N", sort=classes, title="recognised as", axis=across),
        y=alt.Y("truth:N", sort=classes, title="truth", axis=alt.Axis(**plain)),
    )
    scale = alt.Scale(domain=[0, 1], range=[0.04, 1])
    boxes = base.mark_rect(color=ACCENT, stroke=PAPER, strokeWidth=1.5).encode(
        opacity=alt.Opacity("share:Q", scale=scale, legend=None)
    )
    ink = alt.condition("datum.share > 0.55", alt.value(PAPER), alt.value(INK))
    faint = alt.condition("datum.share > 0.55", alt.value(PAPER), alt.value(QUIET))
    figures = base.transform_filter("datum.share >= 0.005").transform_calculate(
        shown="round(datum.share * 100)"
    )
    text = figures.mark_text(fontSize=SIZE - 1).encode(
        text="shown:Q", color=ink if side >= 30 else faint
    )
    chart = (boxes + text) if side >= 26 else boxes
    label = "Confusion matrix: for each true class, the percentage recognised as each class"
    return draw(chart.properties(width=side * len(classes), height=side * len(classes)), label)

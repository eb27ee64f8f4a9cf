"""What each source of the recommenders is worth: the quality that is lost without it, as the stages measured it."""

from typing import Any

from models.metrics import HIGH, LOW
from pipelines.report_sections.capabilities import NAMES, named
from pipelines.report_sections.inputs import Absent, Choice, Inputs

KEY = "sources"
TITLE = "What each source is worth"
STAGES = ("collaborative", "content", "hybrid", "recommender")
WITHOUT, WORTH = "without ", "worth of "


def view(inputs: Inputs, choice: Choice) -> dict[str, Any]:
    """rows: one a recommender and source: name, source, left (quality without it), worth with low and high, or None."""
    rows = []
    for key in STAGES:
        try:
            measures = inputs.document(f"{key}/metrics.json")["measures"]
        except Absent:
            continue
        mine = [
            {
                "name": NAMES[key],
                "source": named(source),
                "left": float(left),
                "worth": _worth(measures, source),
            }
            for source, left in (
                (name.removeprefix(WITHOUT), value)
                for name, value in measures.items()
                if name.startswith(WITHOUT)
            )
        ]
        rows += sorted(mine, key=lambda row: (row["left"], row["source"]))
    if not rows:
        raise Absent("No recommender of this run was measured without one of its sources.")
    return {"rows": rows}


def _worth(measures: dict[str, float], source: str) -> dict[str, float] | None:
    """mean, low, high of the paired difference, where the stage measured it."""
    ends = {"mean": "", "low": LOW, "high": HIGH}
    names = {end: f"{WORTH}{source}{words}" for end, words in ends.items()}
    if any(name not in measures for name in names.values()):
        return None
    return {end: float(measures[name]) for end, name in names.items()}

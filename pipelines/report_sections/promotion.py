"""What was decided on each bundle that was evaluated: its gain over what stood, the conditions, what was refused and why."""

from collections.abc import Mapping
from typing import Any

from pipelines.journal import APPROVED, LATENCY, PROMOTED
from pipelines.report_sections.capabilities import NAMES, named
from pipelines.report_sections.charts import gains
from pipelines.report_sections.figures import BUNDLE
from pipelines.report_sections.inputs import Absent, Choice, Inputs

KEY = "promotion"
TITLE = "Champions and challengers"


def view(inputs: Inputs, choice: Choice) -> dict[str, Any]:
    """rows: one a decision of the journal on a bundle of this run; wide, narrow: the chart of gains, "" without any."""
    rows = []
    for key, name in NAMES.items():
        try:
            bundle = inputs.note(f"evaluate/{key}/scores.parquet", BUNDLE) or ""
        except Absent:
            continue
        line = inputs.decisions.get((key, bundle))
        if line:
            rows.append({"name": name, "bundle": bundle[:8], **_decision(line)})
    if not rows:
        raise Absent("Nothing was decided on the bundles of this run.")
    drawn = [{"name": row["name"], **row["gain"]} for row in rows if row["gain"]]
    return {
        "rows": rows,
        "wide": gains(drawn, 700, names=True) if drawn else "",
        "narrow": gains(drawn, 310, names=False) if drawn else "",
        "refused": sum(not row["won"] for row in rows),
    }


def _decision(line: Mapping[str, Any]) -> dict[str, Any]:
    """gain: mean, low and high, or None where it could not be computed. guards: those that failed first."""
    guards = sorted(map(_guard, line.get("guards", [])), key=lambda guard: bool(guard["held"]))
    return {
        "outcome": line["outcome"],
        "won": line["outcome"] in (PROMOTED, APPROVED),
        "reason": line["reason"],
        "metric": named(line.get("metric", "")),
        "reference": named(line.get("reference", "")),
        "ours": line.get("challenger_mean"),
        "theirs": line.get("reference_mean"),
        "gain": line.get("gain"),
        "guards": guards,
        "failed": sum(not guard["held"] for guard in guards),
    }


def _guard(guard: Mapping[str, Any]) -> Mapping[str, Any]:
    """As the journal has it, without the time that was measured: equal inputs must make an equal report."""
    if guard["name"] == LATENCY and guard["held"]:
        return {**guard, "found": "the journal has the time"}
    return guard

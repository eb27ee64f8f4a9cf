"""What was measured: each capability against its baseline, and what became of it in the registry."""

from typing import Any

from pipelines.report_sections.capabilities import NAMES, named
from pipelines.report_sections.charts import whiskers
from pipelines.report_sections.inputs import Absent, Choice, Inputs, Off

KEY = "figures"
TITLE = "What was measured"
BUNDLE = "vitrine.bundle"
BOUNDS = ("value", "low", "high", "baseline_value", "gain_low", "gain_high")


def view(inputs: Inputs, choice: Choice) -> dict[str, Any]:
    """rows: one a capability that was evaluated; wide, narrow: the chart at two widths.

    off: names and reasons of those that the shop has no data for; missing: names of the rest.
    """
    rows: list[dict[str, Any]] = []
    missing, off = [], []
    for key, name in NAMES.items():
        try:
            judged = inputs.document(f"evaluate/{key}/metrics.json")
        except Off as reason:
            off.append({"name": name, "why": str(reason)})
            continue
        except Absent:
            missing.append(name)
            continue
        if judged["headline"]:
            rows.append({"key": key, "name": name, **_line(judged), **_standing(inputs, key)})
    if not rows:
        lines = ["No capability has been evaluated in this run."]
        lines += [f"{line['name']} is off: {line['why']}." for line in off]
        raise Absent(" ".join(lines))
    drawn = [{"name": row["name"], **{bound: row[bound] for bound in BOUNDS[:4]}} for row in rows]
    return {
        "rows": rows,
        "missing": missing,
        "off": off,
        "wide": whiskers(drawn, 700, names=True),
        "narrow": whiskers(drawn, 310, names=False),
        "champions": sum(row["state"] == "champion" for row in rows),
        "gains": sum(row["gain_low"] > 0 for row in rows),
    }


def _line(judged: dict[str, Any]) -> dict[str, Any]:
    head = judged["headline"]
    return {
        **{bound: float(head[bound]) for bound in BOUNDS},
        "gain": float(head["value"]) - float(head["baseline_value"]),
        "metric": named(head["metric"]),
        "baseline": named(head["baseline"]),
        "test_rows": judged["rows_in"],
        "measures": {named(name): value for name, value in sorted(judged["measures"].items())},
    }


def _standing(inputs: Inputs, key: str) -> dict[str, str]:
    """Whether the bundle that was evaluated is champion, by the receipt, and why, by the journal."""
    try:
        champion = inputs.document(f"promote/{key}/receipt.json")["champion"]
    except Absent:
        return {"state": "not promoted", "bundle": "", "why": "Promotion has not run."}
    bundle = inputs.note(f"evaluate/{key}/scores.parquet", BUNDLE) or ""
    line = inputs.decisions.get((key, bundle), {})
    why = ": ".join(filter(None, (line.get("outcome"), line.get("reason"))))
    if champion == bundle:
        return {"state": "champion", "bundle": bundle[:8], "why": why}
    state = "challenger" if champion else "no champion"
    stays = f"Bundle {champion[:8]} stays champion. " if champion else ""
    return {"state": state, "bundle": bundle[:8], "why": stays + why}

"""What came in: rows a table, and the rows that were set aside, by rule, with examples."""

from typing import Any

from pipelines.report_sections.inputs import Absent, Choice, Inputs, Off
from pipelines.tables import LANGUAGES, TABLES

KEY = "data"
TITLE = "The data"
EXAMPLES = 3
SPOKEN = "language/"
"""How the figures that count reviews by language begin."""
COLUMNS = ("file", "row", "column", "value", "rule")


def view(inputs: Inputs, choice: Choice) -> dict[str, Any]:
    """tables: name, rows in, kept and set aside; rules: how often each was broken, where, with examples.

    off: the tables that the shop does not have, with the reason. unread: reviews in each language that is not supported.
    """
    rules: list[dict[str, Any]] = []
    tables, off = [], []
    for name in TABLES:
        try:
            counted = inputs.document(f"validate-{name}/metrics.json")
            aside = inputs.table(f"validate-{name}/quarantine.parquet", need=COLUMNS)
        except Off as reason:
            off.append({"name": name, "why": str(reason)})
            continue
        except Absent:
            continue
        came, kept = counted["rows_in"], counted["rows_out"]
        tables.append({"name": name, "came": came, "kept": kept, "aside": came - kept})
        for (rule, column), group in aside.groupby(["rule", "column"], dropna=False, sort=True):
            shown = group.sort_values("row", kind="stable").head(EXAMPLES)
            examples = [
                {
                    "row": line.row,
                    "file": line.file,
                    "value": "empty" if _empty(line.value) else choice.cut(str(line.value))[:80],
                }
                for line in shown.itertuples()
            ]
            rules.append(
                {
                    "table": name,
                    "rule": rule,
                    "column": "" if _empty(column) else column,
                    "count": len(group),
                    "examples": examples,
                }
            )
    if not tables:
        raise Absent("No table has been validated in this run.")
    unread = []
    if any(table["name"] == "reviews" for table in tables):
        spoken = inputs.document("validate-reviews/metrics.json").get("measures", {})
        unread = [
            {"language": name.removeprefix(SPOKEN), "count": int(count)}
            for name, count in sorted(spoken.items())
            if name.startswith(SPOKEN) and name.removeprefix(SPOKEN) not in LANGUAGES
        ]
    rules.sort(key=lambda entry: (-entry["count"], entry["table"], entry["rule"], entry["column"]))
    aside = sum(entry["aside"] for entry in tables)
    return {"tables": tables, "rules": rules, "off": off, "aside": aside, "unread": unread}


def _empty(value: Any) -> bool:
    return value is None or value != value or not str(value).strip()

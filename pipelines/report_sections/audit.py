"""What the catalogue's audit found: the first findings of each kind, with their pictures."""

from typing import Any

import pandas as pd

from pipelines.artefacts.findings import TEXTS
from pipelines.report_sections.inputs import Absent, Choice, Inputs
from pipelines.report_sections.thumbnails import thumbnails

KEY = "audit"
TITLE = "Catalogue audit"
TABLE = "audit/audit.parquet"
NEEDED = (*TEXTS, "confidence", "worth")


def view(inputs: Inputs, choice: Choice) -> dict[str, Any]:
    """kinds: how many findings of each; rows: those worth most, of each kind and field in turn, with their number."""
    found = inputs.table(TABLE, need=NEEDED)
    if found.empty:
        raise Absent("The audit found nothing.")
    found["number"] = range(1, len(found) + 1)
    turn = found.groupby(["kind", found["field"].fillna("")]).cumcount()
    first = found.iloc[turn.to_numpy().argsort(kind="stable")][: choice.rows]
    first = first.sort_values("worth", ascending=False, kind="stable")
    keys = [key for key in first["image_key"] if isinstance(key, str)]
    try:
        pictures = thumbnails(inputs, keys) if keys else {}
    except Absent:
        pictures = {}
    counts = found["kind"].value_counts()
    return {
        "total": len(found),
        "kinds": [{"name": name, "count": int(number)} for name, number in counts.items()],
        "rows": [_row(row, pictures, choice) for _, row in first.iterrows()],
    }


def _row(row: pd.Series, pictures: dict[str, str], choice: Choice) -> dict[str, Any]:
    texts = {name: row[name] if isinstance(row[name], str) else "" for name in TEXTS}
    return {
        **texts,
        "number": int(row["number"]),
        "name": choice.cut(texts["title"] or texts["item_id"]),
        "confidence": float(row["confidence"]),
        "picture": pictures.get(texts["image_key"], ""),
    }

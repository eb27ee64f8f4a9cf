"""How good each recommender's lists are by other measures than the headline, with their intervals."""

from typing import Any

from models.metrics import HIGH, LOW
from pipelines.report_sections.capabilities import NAMES, named
from pipelines.report_sections.inputs import Absent, Choice, Inputs

KEY = "measures"
TITLE = "The lists by other measures"
RECOMMENDERS = ("collaborative", "content", "hybrid", "recommender")
ALSO, SIDE = "also/", "side/"


def view(inputs: Inputs, choice: Choice) -> dict[str, Any]:
    """columns: names of the measures. rows: one a recommender: name, and cells (mean, low, high; the latter None or None)."""
    found: dict[str, dict[str, float]] = {}
    for key in RECOMMENDERS:
        try:
            found[key] = inputs.document(f"evaluate/{key}/metrics.json")["measures"]
        except Absent:
            continue
    columns = list(dict.fromkeys(name for measures in found.values() for name in _names(measures)))
    if not columns:
        raise Absent("No recommender of this run was measured by anything but its headline.")
    return {
        "columns": [named(name.partition("/")[2]) for name in columns],
        "rows": [
            {"name": NAMES[key], "cells": [_cell(measures, name) for name in columns]}
            for key, measures in found.items()
        ],
    }


def _names(measures: dict[str, float]) -> list[str]:
    return sorted(
        name
        for name in measures
        if name.startswith((ALSO, SIDE)) and not name.endswith((LOW, HIGH))
    )


def _cell(measures: dict[str, float], name: str) -> dict[str, float | None] | None:
    if name not in measures:
        return None
    return {
        "mean": measures[name],
        "low": measures.get(f"{name}{LOW}"),
        "high": measures.get(f"{name}{HIGH}"),
    }

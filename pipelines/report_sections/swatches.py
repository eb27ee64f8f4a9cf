"""Measured colours of pictures, for small squares with their names."""

from typing import Any

from pipelines.report_sections.inputs import Absent, Inputs
from pipelines.tables import Images

TABLE = "image-features/colours.parquet"
TOLD = ("hex", "name", "share")


def swatches(inputs: Inputs, keys: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Image key to hex, name and share of its dominant colours, the largest first; empty where none were measured."""
    wanted = (Images.IMAGE, sorted(set(keys)))
    try:
        table = inputs.table(TABLE, need=(Images.IMAGE, "rank", *TOLD), among=wanted)
    except Absent:
        return {}
    ordered = table.sort_values([Images.IMAGE, "rank"], kind="stable")
    return {
        key: rows[list(TOLD)].to_dict("records")
        for key, rows in ordered.groupby(Images.IMAGE, sort=False)
    }

"""What the attribute model filled in, beside the truth."""

from typing import Any

import pandas as pd

from pipelines.report_sections.capabilities import named
from pipelines.report_sections.inputs import Absent, Choice, Inputs
from pipelines.report_sections.judged import scores, slices
from pipelines.report_sections.swatches import swatches
from pipelines.report_sections.thumbnails import thumbnails
from pipelines.tables import Products as P

KEY = "attributes"
TITLE = "Attributes"
TEST = "split/attributes/test.parquet"
PREDICTION, RIGHT, SURE = "prediction_", "right_", "confidence_"


def view(inputs: Inputs, choice: Choice) -> dict[str, Any]:
    """products: some picked by hash, with each field's prediction and truth and the measured colours of the picture.

    fields: how often each was right.
    """
    judged = scores(inputs, KEY, ("row_id", "score"))
    names = [c.removeprefix(PREDICTION) for c in judged.rows if c.startswith(PREDICTION)]
    if not names:
        raise Absent(f"data/evaluate/{KEY}/scores.parquet has no column {PREDICTION}….")
    frame = judged.rows.set_index("row_id")
    truth = inputs.table(TEST, need=(P.ITEM,), like=(P.TITLE, P.IMAGE, *names)).set_index(P.ITEM)
    chosen = _chosen(choice, truth[truth.index.isin(frame.index)])
    keys = [cell(truth, item, P.IMAGE) for item in chosen]
    pictures = _pictures(inputs, [key for key in keys if key])
    colours = swatches(inputs, [key for key in keys if key])
    products = [
        {
            "title": cell(truth, item, P.TITLE),
            "picture": pictures.get(key, ""),
            "colours": colours.get(key, []),
            "fields": [
                {
                    "name": named(name),
                    "prediction": cell(frame, item, PREDICTION + name),
                    "truth": cell(truth, item, name),
                    "confidence": float(frame.at[item, SURE + name]),
                    "right": frame.at[item, RIGHT + name] == 1.0,
                }
                for name in names
                if cell(truth, item, name)
            ],
        }
        for item, key in zip(chosen, keys, strict=True)
    ]
    fields = [
        {"name": named(name), "count": int(known.sum()), "right": float(frame[RIGHT + name].mean())}
        for name in names
        if (known := frame[RIGHT + name].notna()).any()
    ]
    return {"products": products, "fields": fields, "slices": slices(judged)}


def cell(table: pd.DataFrame, row: str, column: str) -> str:
    """A cell as text; empty where the column or the value is absent."""
    value = table.at[row, column] if column in table else None
    return value if isinstance(value, str) else ""


def _chosen(choice: Choice, truth: pd.DataFrame) -> list[str]:
    """Products picked by hash: two in three with a title, where there are both kinds."""
    titled = {item for item in truth.index if cell(truth, item, P.TITLE)}
    others = set(truth.index) - titled
    few = choice.rows // 3 if titled else choice.rows
    return [
        *choice.pick(titled, choice.rows - few if others else choice.rows),
        *choice.pick(others, few),
    ]


def _pictures(inputs: Inputs, keys: list[str]) -> dict[str, str]:
    try:
        return thumbnails(inputs, keys) if keys else {}
    except Absent:
        return {}

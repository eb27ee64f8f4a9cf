"""How reviews were read: examples of each language, the surest mistakes, scores by slice."""

from typing import Any

import pandas as pd

from pipelines.report_sections.inputs import Choice, Inputs
from pipelines.report_sections.judged import scores, slices, surest_mistakes
from pipelines.tables import Reviews

KEY = "sentiment"
TITLE = "Sentiment"
TEST = "split/sentiment/test.parquet"
LANGUAGES = {"en": "English", "zh": "Chinese"}


def view(inputs: Inputs, choice: Choice) -> dict[str, Any]:
    """languages: for each, examples picked by hash and the surest mistakes; slices: scores by slice."""
    judged = scores(inputs, KEY)
    texts = inputs.table(TEST, need=(Reviews.REVIEW, Reviews.TEXT), like=(Reviews.LANGUAGE,))
    if Reviews.LANGUAGE not in texts:
        texts[Reviews.LANGUAGE] = ""
    frame = judged.rows.drop(columns=[Reviews.TEXT, Reviews.LANGUAGE], errors="ignore")
    joined = frame.merge(texts, left_on="row_id", right_on=Reviews.REVIEW, how="inner")
    half = max(choice.rows // 2, 1)
    languages = []
    for code, group in joined.groupby(Reviews.LANGUAGE, sort=True):
        chosen = group.set_index("row_id").loc[choice.pick(group["row_id"], half)].reset_index()
        languages.append(
            {
                "code": code,
                "name": LANGUAGES.get(code, code),
                "count": len(group),
                "right": float((group["prediction"] == group["truth"]).mean()),
                "examples": _lines(chosen, choice),
                "mistakes": _lines(surest_mistakes(group, half), choice),
            }
        )
    return {"languages": languages, "slices": slices(judged)}


def _lines(rows: pd.DataFrame, choice: Choice) -> list[dict[str, Any]]:
    return [
        {
            "text": choice.cut(line.text),
            "prediction": line.prediction,
            "truth": line.truth,
            "confidence": float(line.confidence),
            "right": line.prediction == line.truth,
        }
        for line in rows.itertuples()
    ]

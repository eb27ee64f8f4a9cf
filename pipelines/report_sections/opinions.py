"""What buyers say of the parts of products, with quotes, and the reviews that are left out."""

from typing import Any

import pandas as pd

from pipelines.buyers.columns import PRODUCTS
from pipelines.report_sections.inputs import Absent, Choice, Inputs
from pipelines.report_sections.sentiment import LANGUAGES

KEY = "opinions"
TITLE = "What buyers say"
TABLE = "opinions/products.parquet"
FLAGS = "review-trust/flags.parquet"


def view(inputs: Inputs, choice: Choice) -> dict[str, Any]:
    """products: of each language the one most spoken of and one picked by hash; flags: by reason, with examples."""
    table = inputs.table(TABLE, need=tuple(PRODUCTS.names))
    flags = inputs.table(FLAGS, need=("review_id", "item_id", "reason", "because", "text"))
    if not len(table) and not len(flags):
        raise Absent(f"data/{TABLE} holds no product of which something is said.")
    shown = []
    for language, group in table.groupby("language", sort=True):
        spoken = group.groupby("item_id")["reviews"].sum()
        first = str(spoken.sort_values(ascending=False, kind="stable").index[0])
        others = choice.pick([str(item) for item in spoken.index if item != first], 1)
        for item in [first, *others]:
            shown.append(_product(group[group["item_id"] == item], item, str(language), choice))
    reasons = []
    for reason, group in flags.groupby("reason", sort=True):
        chosen = group.set_index("review_id").loc[choice.pick(group["review_id"], 3)]
        lines = [
            {"review": name, "because": line.because, "text": choice.cut(line.text)}
            for name, line in chosen.iterrows()
        ]
        reasons.append({"reason": reason, "count": len(group), "lines": lines})
    return {
        "products": shown,
        "reasons": reasons,
        "flagged": int(flags["review_id"].nunique()),
        "items": int(table["item_id"].nunique()),
    }


def _product(rows: pd.DataFrame, item: str, language: str, choice: Choice) -> dict[str, Any]:
    top = rows.sort_values(["reviews", "category"], ascending=[False, True]).head(choice.rows)
    lines = []
    for line in top.itertuples():
        moved = line.share_after - line.share_before
        others = [term for term in line.terms if term != line.category]
        lines.append(
            {
                "category": line.category,
                "terms": ", ".join(others[:6]),
                "reviews": int(line.reviews),
                "positive": int(line.positive),
                "negative": int(line.negative),
                "share": None if pd.isna(line.share) else float(line.share),
                "low": float(line.low),
                "high": float(line.high),
                "moved": None if pd.isna(moved) else float(moved),
                "said_for": _quotes(line.quotes_for, choice),
                "said_against": _quotes(line.quotes_against, choice),
            }
        )
    return {
        "item": item or "all products",
        "language": LANGUAGES.get(language, language),
        "code": language,
        "lines": lines,
    }


def _quotes(quotes: Any, choice: Choice) -> list[dict[str, str]]:
    """At most two; the whole sentence as it stands in its review."""
    return [
        {"review": quote["review_id"], "text": choice.cut(quote["text"])}
        for quote in list(quotes)[:2]
    ]

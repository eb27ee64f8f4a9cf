"""What buyers say of products, as the `opinions` stage wrote it. Read when it is asked for, so a new run is followed."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pipelines.buyers.columns import PRODUCTS
from pipelines.harness.absent import lacking

ASPECTS, QUOTES = 12, 3


class Said:
    """The votes of reviews on the parts of products, by product."""

    def __init__(self, path: Path) -> None:
        """path: `products.parquet` of the stage; where it is absent nobody said anything."""
        self._path = path
        self._mark = 0
        self._spoken: dict[str, int] = {}

    @property
    def spoken(self) -> dict[str, int]:
        """Item to its mentions by reviews, most spoken of first; "" are the reviews that name no product."""
        mark = self._path.stat().st_mtime_ns if self._path.exists() else 0
        if mark != self._mark:
            self._spoken, self._mark = self._count(), mark
        return self._spoken

    def _count(self) -> dict[str, int]:
        if lacking(self._path):
            return {}
        table = pq.read_table(self._path, columns=["item_id", "reviews"]).to_pandas()
        sums = table.groupby("item_id")["reviews"].sum().sort_values(ascending=False, kind="stable")
        return {str(item): int(count) for item, count in sums.items()}

    def of(self, item: str) -> list[dict[str, Any]] | None:
        """The parts that most reviews of an item speak of; None where none does.

        Each: of, language, others (further names), reviews, positive, negative, share with its 95 % bounds low and high
        (share is None of no vote), and quotes for and against, each with its review.
        """
        if item not in self.spoken:
            return None
        where = [("item_id", "==", item)]
        table = pq.read_table(self._path, columns=PRODUCTS.names, filters=where).to_pandas()
        top = table.sort_values(["reviews", "category"], ascending=[False, True]).head(ASPECTS)
        return [
            {
                "of": line.category,
                "language": line.language,
                "others": [term for term in line.terms if term != line.category][:QUOTES],
                "reviews": int(line.reviews),
                "positive": int(line.positive),
                "negative": int(line.negative),
                "share": None if np.isnan(line.share) else float(line.share),
                "low": float(line.low),
                "high": float(line.high),
                "praise": _quotes(line.quotes_for),
                "blame": _quotes(line.quotes_against),
            }
            for line in top.itertuples()
        ]


def _quotes(quotes: Any) -> list[dict[str, str]]:
    return [{"text": one["text"], "review": one["review_id"]} for one in list(quotes)[:QUOTES]]

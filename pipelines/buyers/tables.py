"""The tables that tell what buyers say: the votes on each product, the quotes."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.language.aspects import wilson
from models.language.opinions import NEGATIVE, POSITIVE, SIDES
from pipelines.buyers.columns import PRODUCTS
from pipelines.harness import Run
from pipelines.tables import Reviews

GROUP = 8192
KEYS = ["item_id", "language", "category"]
HALVES = ("before", "after")
"""Of a product's reviews, by their time."""


def write(frame: pd.DataFrame, schema: pa.Schema, run: Run, name: str) -> None:
    """In groups of rows, so that one product's are found without reading all."""
    table = pa.Table.from_pandas(frame, schema, preserve_index=False)
    pq.write_table(table, run.output(name), row_group_size=GROUP)


def products(said: pd.DataFrame, reviews: pd.DataFrame, shown: int, longest: int) -> pd.DataFrame:
    """PRODUCTS: a review has one vote on a category, that of most of its mentions; of a tie none.

    shown, longest: see `quotes`.
    """
    if not len(said):
        return pd.DataFrame(columns=PRODUCTS.names)
    table = counted(votes(said))
    terms = said.groupby(KEYS, sort=True)["term"].agg(lambda of: sorted(set(of))).reset_index()
    table = table.merge(terms.rename(columns={"term": "terms"}), on=KEYS, how="left")
    texts = dict(zip(reviews[Reviews.REVIEW], reviews[Reviews.TEXT], strict=True))
    for name, side in (("quotes_for", POSITIVE), ("quotes_against", NEGATIVE)):
        quoted = quotes(said[said["polarity"] == side], texts, shown, longest)
        table[name] = [
            quoted.get(key, []) for key in table[KEYS].itertuples(index=False, name=None)
        ]
    return table.sort_values(
        ["item_id", "language", "reviews", "category"],
        ascending=[True, True, False, True],
        ignore_index=True,
    )


def votes(said: pd.DataFrame) -> pd.DataFrame:
    """One line a review and category: side (above 0: praise), timestamp, and whether it is of the earlier half.

    Half of a product's dated reviews are before its middle moment, half after; before, after: booleans, of an undated
    review neither.
    """
    table = said.assign(side=said["polarity"].map(SIDES))
    table = table.groupby([*KEYS, "review_id"], sort=True).agg(
        side=("side", "sum"), timestamp=("timestamp", "first")
    )
    table = table.reset_index()
    moments = table.drop_duplicates(["item_id", "review_id"]).groupby("item_id")["timestamp"]
    dated = table["timestamp"].notna()
    later = table["timestamp"] > table["item_id"].map(moments.median())
    return table.assign(before=~later & dated, after=later & dated)


def counted(votes: pd.DataFrame) -> pd.DataFrame:
    """Reviews of each product's category, those that praise and blame, the share of praise, and how it moved."""
    praise, blame = votes["side"] > 0, votes["side"] < 0
    columns = {"positive": praise, "negative": blame}
    for half in HALVES:
        columns[f"for_{half}"] = praise & votes[half]
        columns[f"all_{half}"] = (praise | blame) & votes[half]
    groups = votes.assign(**columns).groupby(KEYS, sort=True)
    table = groups.agg(
        reviews=("review_id", "size"), **{name: (name, "sum") for name in columns}
    ).reset_index()
    total = (table["positive"] + table["negative"]).to_numpy()
    table["share"] = share(table["positive"].to_numpy(), total)
    low, high = wilson(table["positive"].to_numpy(), total)
    table["low"], table["high"] = low.round(6), high.round(6)
    for half in HALVES:
        table[f"share_{half}"] = share(
            table[f"for_{half}"].to_numpy(), table[f"all_{half}"].to_numpy()
        )
    return table


def share(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    """(n,): rounded; NaN of nothing."""
    return np.divide(part, total, out=np.full(len(total), np.nan), where=total > 0).round(6)


def quotes(
    said: pd.DataFrame, texts: dict[str, str], shown: int, longest: int
) -> dict[tuple[str, ...], list[dict[str, str | int]]]:
    """Of each product's category up to `shown` sentences that are surest of their side, one a review.

    longest: in characters; what is longer is not shown. texts: of the reviews.
    """
    short = said[said["quote_end"] - said["quote_start"] <= longest]
    order = short.sort_values(["confidence", "review_id", "start"], ascending=[False, True, True])
    chosen = order.drop_duplicates([*KEYS, "review_id"]).groupby(KEYS, sort=True).head(shown)
    found: dict[tuple[str, ...], list[dict[str, str | int]]] = {}
    for line in chosen.itertuples(index=False):
        start, end = int(line.quote_start), int(line.quote_end)
        quote = {
            "review_id": line.review_id,
            "start": start,
            "end": end,
            "text": texts[line.review_id][start:end],
        }
        found.setdefault((line.item_id, line.language, line.category), []).append(quote)
    return found

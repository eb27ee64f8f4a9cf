"""Tell which reviews are not to be trusted, before anything is learned from them.

`flags.parquet`: reviews that are copies, repeat themselves or came in a burst; no one is quoted from them. `early.parquet`:
what could be told of that when training ended and when validation ended. Sentiment and answers learn from a part without
the reviews that were suspect at its end: what was written later must not tell them, either.
"""

import datetime
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.language import trust
from models.language.opinions import SIDES
from models.language.settings import TrustSettings
from models.language.tongue import language_of
from pipelines.harness import Params, Run, stage
from pipelines.tables import Reviews

ENDS = {"train": "valid_from", "valid": "test_from"}
"""Part of the split to the moment of `cut.json` at which it ends."""
FLAGS = pa.schema(
    [
        ("review_id", pa.string()),
        ("item_id", pa.string()),
        ("language", pa.string()),
        ("reason", pa.string()),
        ("because", pa.string()),
        ("text", pa.string()),
    ]
)
EARLY = pa.schema([("review_id", pa.string()), ("part", pa.string())])
STARS_FOR, STARS_AGAINST = 4.0, 2.0
TEXT = 300
"""Characters of a flagged review that are kept for the reader."""


class ReviewTrustParams(Params):
    """What is suspect."""

    trust: TrustSettings


@stage
def review_trust(run: Run, params: ReviewTrustParams) -> None:
    table = pq.read_table(run.input("validate-reviews/table.parquet")).to_pandas()
    cut = json.loads(run.input("split/cut.json").read_text("utf-8"))
    reviews = whole_reviews(table)
    run.advance(0.1, "reviews of all times")
    found = flags(reviews, params.trust)
    early = []
    for at, (part, end) in enumerate(ENDS.items()):
        run.advance(0.4 + 0.3 * at, f"as it was at the end of {part}")
        then = before(reviews, cut[end])
        mine = found if len(then) == len(reviews) else flags(then, params.trust)
        names = with_sentences(set(mine["review_id"]), table)
        early.append(pd.DataFrame({"review_id": sorted(names), "part": part}))
    for name, frame, schema in (
        ("flags.parquet", found, FLAGS),
        ("early.parquet", pd.concat(early, ignore_index=True), EARLY),
    ):
        whole = pa.Table.from_pandas(frame, schema, preserve_index=False)
        pq.write_table(whole, run.output(name))
    run.rows_in, run.rows_out = len(reviews), len(found)
    for reason, rows in found.groupby("reason", sort=True):
        run.measure(f"flagged/{reason}", rows["review_id"].nunique())
    run.measure("flagged", found["review_id"].nunique())


def before(reviews: pd.DataFrame, moment: str | None) -> pd.DataFrame:
    """The reviews that were written before `moment` (ISO 8601), and the undated; None: all."""
    if moment is None:
        return reviews
    late = reviews[Reviews.TIME] >= pd.Timestamp(datetime.datetime.fromisoformat(moment))
    return reviews[~late].reset_index(drop=True)


def with_sentences(names: set[str], table: pd.DataFrame) -> set[str]:
    """The reviews of `names`, and those of `table` that are sentences of one of them."""
    if Reviews.GROUP not in table:
        return names
    return names | set(table[table[Reviews.GROUP].isin(names)][Reviews.REVIEW])


def suspects(early: pd.DataFrame, part: str) -> set[str]:
    """Of `early.parquet`, the reviews and sentences that were suspect at the end of `part`."""
    return set(early[early["part"] == part]["review_id"])


def whole_reviews(table: pd.DataFrame) -> pd.DataFrame:
    """Reviews but not the sentences that others of them are cut into; columns that are absent are added, empty."""
    table = table.copy()
    for name in (Reviews.ITEM, Reviews.USER, Reviews.LABEL, Reviews.GROUP):
        if name not in table:
            table[name] = None
    if Reviews.RATING not in table:
        table[Reviews.RATING] = np.nan
    if Reviews.TIME not in table:
        table[Reviews.TIME] = pd.Series(pd.NaT, index=table.index, dtype="datetime64[us, UTC]")
    if Reviews.LANGUAGE not in table:
        table[Reviews.LANGUAGE] = None
    unknown = table[Reviews.LANGUAGE].isna()
    table.loc[unknown, Reviews.LANGUAGE] = [
        language_of(text) for text in table.loc[unknown, Reviews.TEXT]
    ]
    group, name = table[Reviews.GROUP], table[Reviews.REVIEW]
    part = group.isin(set(name)) & (group != name)
    table = table[~part].sort_values(Reviews.REVIEW, ignore_index=True)
    table[Reviews.ITEM] = table[Reviews.ITEM].fillna("").astype(str)
    return table


def flags(reviews: pd.DataFrame, settings: TrustSettings) -> pd.DataFrame:
    """The flagged of `reviews`, as whole: a line a reason."""
    times = reviews[Reviews.TIME]
    seconds = times.dt.as_unit("us").astype("int64").to_numpy(np.float64) / 1e6
    found = trust.flags(
        reviews[Reviews.REVIEW].tolist(),
        reviews[Reviews.TEXT].tolist(),
        reviews[Reviews.ITEM].tolist(),
        [None if user is None or user != user else user for user in reviews[Reviews.USER]],
        np.where(times.isna(), np.nan, seconds),
        sides_of(reviews),
        settings,
    )
    chosen = reviews.iloc[found["row"].to_numpy()].reset_index(drop=True)
    return pd.DataFrame(
        {
            "review_id": chosen[Reviews.REVIEW],
            "item_id": chosen[Reviews.ITEM],
            "language": chosen[Reviews.LANGUAGE],
            "reason": found["reason"],
            "because": found["because"],
            "text": chosen[Reviews.TEXT].str[:TEXT],
        }
    )


def sides_of(reviews: pd.DataFrame) -> np.ndarray:
    """(n,): 1 for praise, -1 for blame, 0 for neither or unknown; by label, else by stars."""
    stars = reviews[Reviews.RATING].to_numpy(np.float64)
    by_stars = np.where(stars >= STARS_FOR, 1, np.where(stars <= STARS_AGAINST, -1, 0))
    label = reviews[Reviews.LABEL]
    return np.where(label.notna(), label.map(SIDES).fillna(0), by_stars).astype(np.int64)


if __name__ == "__main__":
    review_trust.main()

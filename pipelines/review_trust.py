"""Whole reviews, and those of them that are not to be trusted."""

import numpy as np
import pandas as pd

from models.language import trust
from models.language.opinions import SIDES
from models.language.sentiment import language_of
from models.language.settings import TrustSettings
from pipelines.tables import Reviews

STARS_FOR, STARS_AGAINST = 4.0, 2.0
TEXT = 300
"""Characters of a flagged review that are kept for the reader."""


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

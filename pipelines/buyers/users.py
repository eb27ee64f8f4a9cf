"""What users care for: the aspects that each one's reviews speak of, and how their verdicts lie against those of others."""

import numpy as np
import pandas as pd

from pipelines.buyers.columns import USERS
from pipelines.buyers.tables import votes
from pipelines.tables import Reviews

DOUBT = 5.0
"""Reviews' worth of the shop's own habit that is added to each user's: who wrote one review cares for nothing surely."""
DIGITS = 6
OF_PRODUCT = ["item_id", "language", "category"]
OF_USER = ["user_id", "language", "category"]


def users(said: pd.DataFrame, reviews: pd.DataFrame) -> pd.DataFrame:
    """USERS, of users who are named: one row a user, language and category that they speak of, what they care for most first.

    care: how many times as often the user's reviews speak of the category as all reviews of the language do, with
    `DOUBT` reviews of the common habit added. against: how much larger the share of praise of their votes is than that
    of other users' votes on the same categories of the same products, a mean of `compared` votes; NaN where no other
    user spoke of these.
    """
    writers = reviews.dropna(subset=[Reviews.USER])
    if not len(said) or not len(writers):
        return pd.DataFrame(columns=USERS.names)
    cast = votes(said)
    cast = cast.assign(user_id=cast["review_id"].map(writers.set_index("review_id")["user_id"]))
    cast = cast.assign(praise=cast["side"] > 0, blame=cast["side"] < 0)
    cast = cast.assign(against=against_others(cast))
    groups = cast.dropna(subset=["user_id"]).groupby(OF_USER, sort=True)
    table = groups.agg(
        reviews=("review_id", "nunique"),
        positive=("praise", "sum"),
        negative=("blame", "sum"),
        against=("against", "mean"),
        compared=("against", "count"),
    ).reset_index()
    written = writers.groupby(["user_id", "language"]).size().rename("written")
    table = table.merge(written.reset_index(), on=["user_id", "language"], how="left")
    habit = habits(cast, reviews)
    common = habit.reindex(pd.MultiIndex.from_frame(table[["language", "category"]])).to_numpy()
    often = (table["reviews"] + DOUBT * common) / (table["written"] + DOUBT)
    table = table.assign(
        care=(often / common).round(DIGITS), against=table["against"].round(DIGITS)
    )
    return table.sort_values(
        ["user_id", "language", "care", "category"],
        ascending=[True, True, False, True],
        ignore_index=True,
    )[USERS.names]


def habits(cast: pd.DataFrame, reviews: pd.DataFrame) -> pd.Series:
    """The share of all reviews of a language that speak of a category, by (language, category)."""
    speaking = cast.groupby(["language", "category"])["review_id"].nunique()
    written = reviews.groupby("language").size()
    return speaking / speaking.index.get_level_values("language").map(written)


def against_others(cast: pd.DataFrame) -> pd.Series:
    """Of each vote: 1 for praise, 0 for blame, less the share of praise in other users' votes on the same category of
    the same product; NaN for a vote of neither, of no user, on no product, or beside no other's."""
    voter = cast["user_id"].fillna(cast["review_id"])
    sided = cast["praise"] | cast["blame"]
    frame = cast[OF_PRODUCT].assign(voter=voter, praise=cast["praise"].astype(float), sided=sided)
    product, own = frame.groupby(OF_PRODUCT), frame.groupby([*OF_PRODUCT, "voter"])
    others = product["sided"].transform("sum") - own["sided"].transform("sum")
    praise = product["praise"].transform("sum") - own["praise"].transform("sum")
    comparable = sided & (others > 0) & (cast["item_id"] != "") & cast["user_id"].notna()
    share = np.divide(praise, others, out=np.zeros(len(cast)), where=(others > 0).to_numpy())
    return (frame["praise"] - share).where(comparable)

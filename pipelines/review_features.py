"""What reviews tell of products and of users: the features that recommenders read, and their readable side.

Only whole reviews of the shop's own products count, written before the validation part begins (which of those without a
moment were, nobody knows) and not suspect at its end (`review_trust`): nothing that is written later changes a byte.

`reviews.parquet`: one row a review, for models, which have to forget what was written after their own cuts; `side` is 1
for praise, -1 for blame, 0 for neither. `items.parquet`: per product the mean vector, the number of reviews, mean stars,
praise, blame and the share of praise with its 95 % interval (Wilson). `users.parquet`: per user the mean vector (what they
write about), number, mean stars, praise, blame, and `against`: how many stars more they give than the other reviewers of
the same products, on average, over `compared` reviews.
"""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from models.language.aspects import wilson
from pipelines.artefacts.vectors import read_vectors, write_vectors
from pipelines.harness import Params, Run, stage
from pipelines.review_trust import sides_of, suspects, whole_reviews
from pipelines.tables import SIDE, Products, Reviews

TASK = "split/recommending"
OUTS = ("reviews.parquet", "items.parquet", "users.parquet")
DIGITS = 6


class ReviewFeaturesParams(Params):
    """Nothing is to be chosen."""


@stage
def review_features(run: Run, params: ReviewFeaturesParams) -> None:
    split = run.input(TASK)
    vectors = run.input("text-features/reviews.parquet")
    table = pq.read_table(run.input("validate-reviews/table.parquet")).to_pandas()
    run.rows_in = len(table)
    items = pq.read_table(split / "products.parquet", columns=[Products.ITEM])[0].to_pandas()
    cut = json.loads((split / "cut.json").read_text("utf-8"))["valid_from"]
    reviews = early(whole_reviews(table), pd.Timestamp(cut))
    reviews = reviews[reviews[Reviews.ITEM].isin(items)].reset_index(drop=True)
    if not len(reviews):
        why = "no review has a moment before the validation part and a product of the shop"
        for name in OUTS:
            run.absent(name, why)
        return
    told = pq.read_table(run.input("review-trust/early.parquet")).to_pandas()
    suspect = reviews[Reviews.REVIEW].isin(suspects(told, "train"))
    run.measure("reviews", len(reviews))
    run.measure("suspect", int(suspect.sum()))
    reviews = reviews[~suspect].reset_index(drop=True)
    keys, of_keys, model = read_vectors(vectors, Reviews.REVIEW)
    place = pd.Index(keys).get_indexer(reviews[Reviews.REVIEW])
    run.measure("with a vector", int((place >= 0).sum()))
    matrix = np.zeros((len(reviews), of_keys.shape[1]), dtype=np.float32)
    matrix[place >= 0] = of_keys[place[place >= 0]]
    reviews[SIDE] = sides_of(reviews)
    beside = pa.Table.from_pandas(
        reviews[[Reviews.ITEM, Reviews.USER, Reviews.TIME, Reviews.RATING, SIDE]],
        pa.schema(
            [
                (Reviews.ITEM, pa.string()),
                (Reviews.USER, pa.string()),
                (Reviews.TIME, pa.timestamp("us", "UTC")),
                (Reviews.RATING, pa.float64()),
                (SIDE, pa.int8()),
            ]
        ),
        preserve_index=False,
    )
    names = reviews[Reviews.REVIEW].tolist()
    write_vectors(run.output(OUTS[0]), Reviews.REVIEW, names, matrix, model, beside=beside)
    reviews["against"] = against_others(reviews)
    for name, key in ((OUTS[1], Reviews.ITEM), (OUTS[2], Reviews.USER)):
        if reviews[key].isna().all():
            run.absent(name, f"no review names its {key}")
            continue
        of, figures = summed(reviews, key)
        means = mean_vectors(of, matrix)
        table = pa.Table.from_pandas(figures.reset_index(drop=True), preserve_index=False)
        write_vectors(run.output(name), key, figures.index.tolist(), means, model, beside=table)
        run.measure(key.removesuffix("_id") + "s", len(figures))
    run.rows_out = len(reviews)


def early(reviews: pd.DataFrame, until: pd.Timestamp) -> pd.DataFrame:
    """The reviews that are known to have been written before `until`."""
    return reviews[reviews[Reviews.TIME] < until]


def against_others(reviews: pd.DataFrame) -> pd.Series:
    """Stars of each review less the mean of those that others gave to the same product; NaN where no other did."""
    stars = reviews[Reviews.RATING]
    user = reviews[Reviews.USER].fillna(reviews[Reviews.REVIEW])
    rated = pd.DataFrame({"item": reviews[Reviews.ITEM], "user": user, "stars": stars})
    of_item = rated.groupby("item")["stars"]
    own = rated.groupby(["item", "user"])["stars"]
    count = of_item.transform("count") - own.transform("count")
    rest = of_item.transform("sum") - own.transform("sum")
    return stars - (rest / count).where(count > 0)


def summed(reviews: pd.DataFrame, key: str) -> tuple[np.ndarray, pd.DataFrame]:
    """The number of the group of each review by `key`, -1 for none, and a row of figures a group, in order of its name."""
    of, names = pd.factorize(reviews[key], sort=True)
    groups = reviews.assign(praise=reviews[SIDE] > 0, blame=reviews[SIDE] < 0).groupby(key)
    table = groups.agg(
        reviews=(Reviews.REVIEW, "size"),
        stars=(Reviews.RATING, "mean"),
        praise=("praise", "sum"),
        blame=("blame", "sum"),
    ).reindex(names)
    if key == Reviews.USER:
        told = groups["against"].agg(against="mean", compared="count").reindex(names)
        return of, table.join(told).round(DIGITS)
    total = (table["praise"] + table["blame"]).to_numpy()
    low, high = wilson(table["praise"].to_numpy(), total)
    share = (table["praise"] / table["praise"].add(table["blame"])).where(total > 0)
    return of, table.assign(share=share, low=low, high=high).round(DIGITS)


def mean_vectors(of: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Means (groups, d) of the vectors (n, d) of each group, those of zeros left out. of: (n,), -1 for none."""
    rows = np.flatnonzero((of >= 0) & vectors.any(1))
    groups = int(of.max(initial=-1)) + 1
    ones = np.ones(len(rows), dtype=np.float32)
    sums = sp.csr_matrix((ones, (of[rows], rows)), shape=(groups, len(of))) @ vectors
    return sums / np.maximum(np.bincount(of[rows], minlength=groups), 1)[:, None]


if __name__ == "__main__":
    review_features.main()

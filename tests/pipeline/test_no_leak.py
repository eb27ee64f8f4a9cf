"""What happened after the cut teaches nothing: other later rows, the same fitted artefacts."""

import datetime
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from models.bundle import save
from models.kinds import load_model
from tests.pipeline.shop import Shop, differing

# In one worker: they look at the same shop, and some change it.
pytestmark = pytest.mark.xdist_group("tiny")

FITTED = (
    *("behaviour", "collaborative", "content", "hybrid", "recommender"),
    *("recognition", "attributes", "sentiment", "answers"),
)
READ_REVIEWS = (
    *("review_trust", "text_features", "review_features", "content", "hybrid", "recommender"),
    *("sentiment", "answers"),
)
LIBRARY = "answers/bundle/library/"
SERVED = (
    *(LIBRARY, "answers/bundle/manifest.json", "answers/answers.parquet"),
    *("sentiment/reviews.parquet", "sentiment/metrics.json"),
    "recommender/bundle/",
)
"""What follows the newest rows by right, and no fit reads: the library that answers are quoted from and the answers,
what the fitted model tells of every review and of how many, and the users whose features a recommender holds (see `learned`)."""


LATE = [
    "It still hums along in my kitchen; this was written after the cut.",
    "Bought for my uncle. The lid is loose, and that was written after the cut, too.",
]


def test_rows_edited_and_added_after_the_cut_change_no_fitted_artefact(
    tiny_shop: Shop, tmp_path: Path
) -> None:
    shop = tiny_shop.copy(tmp_path / "shop")
    cut = json.loads((shop.root / "data/split/recommending/cut.json").read_text("utf-8"))
    fix_the_cut(shop, cut["test_from"])
    date_reviews(shop, cut)
    run(shop, "split", *READ_REVIEWS)
    before = fitted(shop)
    late = pd.Timestamp(cut["test_from"])
    for change in (other_events, other_reviews):
        change(shop, late)
    run(shop, "split")
    for path in sorted((shop.root / "data" / "split").glob("*/test.parquet")):
        rows = pq.read_table(path)
        edited = rows.take(list(range(rows.num_rows))[::-1])
        overwrite(path, pa.concat_tables([edited.slice(1), rows]))
    run(shop, "review_trust", "text_features", "review_features", *FITTED)
    assert differing(before, fitted(shop)) == []
    library = next((shop.root / "data" / LIBRARY).glob("vocabulary.json"))
    assert "written after the cut" in library.read_text("utf-8")


def test_a_planted_bomb_is_neither_learned_nor_quoted(tiny_shop: Shop, tmp_path: Path) -> None:
    shop = tiny_shop.copy(tmp_path / "shop")
    cut = json.loads((shop.root / "data/split/cut.json").read_text("utf-8"))
    date_reviews(shop, cut)
    learned = ("split", "review_trust", "text_features", "sentiment", "answers", "opinions")
    run(shop, *learned)
    before = bundles(shop)
    plant(shop, pd.Timestamp(cut["valid_from"]) - pd.Timedelta(days=40))
    run(shop, *learned)
    assert differing(before, bundles(shop)) == []
    flagged = pq.read_table(shop.root / "data/review-trust/flags.parquet")["review_id"].to_pylist()
    assert {name for name in flagged if name.startswith("bomb")} == {
        f"bomb-{at}" for at in range(12)
    }
    for path in (
        "answers/answers.parquet",
        "opinions/aspects.parquet",
        "opinions/products.parquet",
        "opinions/users.parquet",
    ):
        assert "bomb" not in str(pq.read_table(shop.root / "data" / path).to_pylist())
    library = (shop.root / "data" / LIBRARY / "vocabulary.json").read_text("utf-8")
    assert "bomb" not in library


def bundles(shop: Shop) -> dict[str, str]:
    """Path to SHA-256 of the fitted models; baselines, which figures tell of, do learn from all reviews."""
    return {name: value for name, value in fitted(shop).items() if "/bundle/" in name}


def plant(shop: Shop, moment: pd.Timestamp) -> None:
    """Twelve reviews of one product within an hour, all blame, each by a user who never wrote before."""
    path = shop.root / "data/validate-reviews/table.parquet"
    table = pq.read_table(path).to_pandas()
    names = [f"bomb-{at}" for at in range(12)]
    bombs = pd.DataFrame(
        {
            "review_id": names,
            "group_id": names,
            "user_id": [f"stranger-{at}" for at in range(12)],
            "item_id": "made-radio",
            "text": [f"The sound of number {at} is terrible and it bombed." for at in range(12)],
            "language": "en",
            "label": "negative",
            "timestamp": moment,
        }
    )
    table["user_id"] = None
    whole = pd.concat([table, bombs], ignore_index=True)
    overwrite(path, pa.Table.from_pandas(whole, preserve_index=False))


def fitted(shop: Shop) -> dict[str, str]:
    """Path to SHA-256 of all that was fitted."""
    found = {
        name: value
        for name, value in shop.outputs().items()
        if name.startswith(FITTED) and not name.startswith(SERVED)
    }
    return {**found, "recommender/bundle/": learned(shop.root / "data/recommender/bundle")}


def learned(folder: Path) -> str:
    """Hash of a recommender without the users that it can be asked for: who is new has features and no part in the fit."""
    model = load_model(folder)
    nobody = replace(model.newcomers, users=[], values=model.newcomers.values[:0])
    with tempfile.TemporaryDirectory() as scratch:
        return save(replace(model, newcomers=nobody).to_bundle(), Path(scratch) / "bundle")


def run(shop: Shop, *stages: str) -> None:
    for stage in stages:
        done = shop.run(f"pipelines.{stage}")
        assert done.returncode == 0, done.stdout[-3000:]


def overwrite(path: Path, table: pa.Table) -> None:
    """Write anew, as one part: the file or the parts that are there are DVC's."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    pq.write_table(table, path)


def fix_the_cut(shop: Shop, moment: str) -> None:
    path = shop.root / "params.yaml"
    document = yaml.safe_load(path.read_text("utf-8"))
    document["split"]["test_from"] = moment
    path.write_text(yaml.safe_dump(document), "utf-8")


def date_reviews(shop: Shop, cut: dict[str, str]) -> None:
    """Reviews with times over all three parts, a review's sentences at its own."""
    path = shop.root / "data/validate-reviews/table.parquet"
    rows = pq.read_table(path)
    groups = rows["group_id"].to_pandas().fillna("")
    codes = pd.factorize(groups)[0]
    end = pd.Timestamp(cut["end"])
    start = pd.Timestamp(cut["valid_from"]) - 4 * (end - pd.Timestamp(cut["valid_from"]))
    times = start + (end - start) * pd.Series(codes / codes.max())
    moments = pa.array(times.dt.floor("us"), pa.timestamp("us", "UTC"))
    at = rows.column_names.index("timestamp")
    overwrite(path, rows.set_column(at, rows.schema.field(at).with_type(moments.type), moments))


def other_events(shop: Shop, late: pd.Timestamp) -> None:
    """Events after the cut: some go, some are of other items, some are new, with users and products never seen before."""
    folder = shop.root / "data"
    path = folder / "validate-interactions/table.parquet"
    rows = pq.read_table(path)
    table = rows.to_pandas()
    after = np.flatnonzero(table["timestamp"] >= late)
    table.loc[after[::3], "item_id"] = table["item_id"][0]
    fresh = table.iloc[after[:40]].assign(user_id="user-new", timestamp=late)
    table = pd.concat([table.drop(index=after[1::3]), fresh], ignore_index=True)
    overwrite(path, pa.Table.from_pandas(table, rows.schema, preserve_index=False))
    path = folder / "validate-users/table.parquet"
    rows = pq.read_table(path)
    table = pd.concat([rows.to_pandas(), pd.DataFrame({"user_id": ["user-new"]})])
    overwrite(path, pa.Table.from_pandas(table, rows.schema, preserve_index=False))


def other_reviews(shop: Shop, late: pd.Timestamp) -> None:
    """Reviews after the cut: all say something else, some have another label, and there are twice as many.

    `LATE` are of products that are asked about.
    """
    path = shop.root / "data/validate-reviews/table.parquet"
    rows = pq.read_table(path)
    table = rows.to_pandas()
    after = table["timestamp"] >= late
    assert after.sum() > 10
    texts = table["text"] + " It was written after the cut: the battery is dreadful."
    table["text"] = table["text"].mask(after, texts)
    table["label"] = table["label"].mask(after & table["label"].notna(), "negative")
    more = table[after].assign(text="New: " + table["text"])
    asked = pq.read_table(shop.root / "data/validate-questions/table.parquet")["item_id"]
    told = table[table["item_id"].isin(asked.to_pylist())].drop_duplicates("item_id")
    told = told.head(len(LATE)).assign(timestamp=late, text=LATE)
    more = pd.concat([more, told])
    for name in ("review_id", "group_id"):
        more[name] = "new-" + more[name]
    more["timestamp"] += datetime.timedelta(hours=1)
    table = pd.concat([table, more], ignore_index=True)
    overwrite(path, pa.Table.from_pandas(table, rows.schema, preserve_index=False))

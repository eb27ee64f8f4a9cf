"""How product attributes are judged: of each product the share of its known fields that are right.

Baselines: each field's most frequent value, and per source what is nearest to hand: words of the title counted (TF-IDF)
with logistic regression, the five nearest training pictures on raw pixel features.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from models.vision.recognition import pixels
from pipelines.tables import Images, Products

METRIC = "right fields"
ROWS = "products.parquet"
KEYS = (Products.ITEM, Products.TITLE, Products.IMAGE, Images.BYTES)
NEIGHBOURS = 5
MAX_FITTED = 8_000
"""Training rows of the word counts: beyond, the baseline takes minutes and gains little."""


def freeze(split: Path, part: str, rows: Path) -> None:
    rows.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(split / f"{part}.parquet", rows / ROWS)


def frozen(rows: Path) -> pd.DataFrame:
    """The frozen products that have at least one known field."""
    table = pq.read_table(rows / ROWS).to_pandas()
    return table[table[fields_of(table)].notna().any(axis=1)].reset_index(drop=True)


def fields_of(table: pd.DataFrame) -> list[str]:
    """The attribute columns."""
    return [name for name in table.columns if name not in KEYS]


def score(model: Any, rows: Path) -> pd.DataFrame:
    table = frozen(rows)
    found = model.predict(table)
    fields = fields_of(table)
    answers = {
        name: found[name] if name in found else pd.Series([None] * len(table)) for name in fields
    }
    right = {name: rights(table[name], answers[name].to_numpy(object)) for name in fields}
    columns = {
        "row_id": table[Products.ITEM],
        "score": np.nanmean(np.stack(list(right.values())), axis=0),
        "slice_source": np.where(filled(table[Images.BYTES]), "picture", "title"),
        "prediction": together(pd.DataFrame(answers), fields),
        "truth": together(table, fields),
    }
    for name in fields:
        columns[f"right_{name}"] = right[name]
        columns[f"prediction_{name}"] = answers[name].to_numpy(object)
        sure = f"{name}_confidence"
        columns[f"confidence_{name}"] = found.get(sure, 0.0)
    return pd.DataFrame(columns)


def filled(cells: pd.Series) -> pd.Series:
    """Whether each cell of titles or bytes holds anything, (n,) booleans."""
    return cells.map(lambda cell: isinstance(cell, str | bytes) and bool(cell)).astype(bool)


def rights(truth: pd.Series, answers: np.ndarray) -> np.ndarray:
    """1 and 0 for right and wrong, NaN where the truth is not known, (n,)."""
    return np.where(truth.notna(), (truth.to_numpy(object) == answers).astype(float), np.nan)


def together(table: pd.DataFrame, fields: list[str]) -> list[str]:
    """The known fields of each row as one text: `field: value; …`."""
    return [
        "; ".join(f"{name}: {value}" for name, value in zip(fields, row, strict=True) if value)
        for row in table[fields]
        .astype(object)
        .where(table[fields].notna(), None)
        .itertuples(index=False)
    ]


def example(rows: Path, count: int) -> pd.DataFrame:
    table = frozen(rows)[[Products.TITLE, Images.BYTES]]
    # One row with a picture among them, where there is one: the example shows both kinds of input.
    with_picture = table[filled(table[Images.BYTES])].head(1)
    others = table.drop(with_picture.index).head(count - len(with_picture))
    return pd.concat([others, with_picture], ignore_index=True)


def baselines(split: Path, rows: Path, seed: int) -> dict[str, np.ndarray]:
    train, table = pq.read_table(split / "train.parquet").to_pandas(), frozen(rows)
    fields = [name for name in fields_of(table) if train[name].notna().any()]
    frequent, fitted = [], []
    for name in fields:
        known = train[train[name].notna()]
        most = known[name].value_counts().sort_index().idxmax()
        frequent.append(rights(table[name], np.full(len(table), most, object)))
        fitted.append(rights(table[name], _nearest_to_hand(known, table, name, most, seed)))
    return {
        "majority": np.nanmean(np.stack(frequent), axis=0),
        "word counts, nearest pixels": np.nanmean(np.stack(fitted), axis=0),
    }


def _nearest_to_hand(
    known: pd.DataFrame, table: pd.DataFrame, field: str, most: str, seed: int
) -> np.ndarray:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    answers = np.full(len(table), most, object)
    asked = table[field].notna()
    for column in (Images.BYTES, Products.TITLE):
        rows = known[filled(known[column])]
        wanted = np.flatnonzero(asked & filled(table[column]))
        if rows[field].nunique() < 2 or not len(wanted):
            continue
        cells = table[column].iloc[wanted].tolist()
        if column == Images.BYTES:
            nearest = KNeighborsClassifier(min(NEIGHBOURS, len(rows)))
            nearest.fit(pixels(rows[column].tolist()), rows[field].tolist())
            answers[wanted] = nearest.predict(pixels(cells))
        else:
            rows = rows.sample(min(MAX_FITTED, len(rows)), random_state=seed)
            words = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10.0, max_iter=100))
            answers[wanted] = words.fit(rows[column], rows[field]).predict(cells)
    return answers

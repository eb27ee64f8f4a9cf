"""How product attributes are judged: of each product the share of its known fields that are right.

Baselines: each field's most frequent value, and per source what is nearest to hand: words of the title counted (TF-IDF)
with logistic regression, the five nearest training pictures on raw pixel features.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.metrics import honesty
from models.vision.attributes import PACK, PICTURE, SOURCES, TITLE, present
from models.vision.sight import pixels
from pipelines.artefacts.packs import texts_of
from pipelines.tables import Images, Products

METRIC = "right fields"
KEY: str | None = Products.ITEM
TIME: str | None = None
SIDES: tuple[str, ...] = ("confidence",)
ROWS = "products.parquet"
PACKS = SOURCES[PACK]
KEYS = (Products.ITEM, Products.TITLE, Products.IMAGE, Images.BYTES, PACKS)
NEIGHBOURS = 5
WORD = r"(?u)\b\w+\b"


def freeze(split: Path, part: str, rows: Path, beside: Path | None = None) -> None:
    """beside: the texts that were read on packs; those of these rows are frozen with them, where there is any."""
    rows.mkdir(parents=True, exist_ok=True)
    source = split / f"{part}.parquet"
    items = pq.read_table(source, columns=[Products.ITEM])[0].to_pandas()
    texts = texts_of(beside, items) if beside is not None else items.iloc[:0]
    if not texts.any():
        shutil.copyfile(source, rows / ROWS)
        return
    packs = pa.array(texts.where(texts != "", None), pa.string())
    pq.write_table(pq.read_table(source).append_column(PACKS, packs), rows / ROWS)


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
    sure = {
        name: np.asarray(found.get(f"{name}_confidence", np.zeros(len(table)))) for name in fields
    }
    columns = {
        "row_id": table[Products.ITEM],
        "score": np.nanmean(np.stack(list(right.values())), axis=0),
        "side_confidence": np.nanmean(
            [honesty(sure[name], right[name]) for name in fields], axis=0
        ),
        "slice_source": np.where(
            np.isin(np.arange(len(table)), present(table, PICTURE)), PICTURE, TITLE
        ),
        "prediction": together(pd.DataFrame(answers), fields),
        "truth": together(table, fields),
    }
    for name in fields:
        columns[f"right_{name}"] = right[name]
        columns[f"prediction_{name}"] = answers[name].to_numpy(object)
        columns[f"confidence_{name}"] = sure[name]
    return pd.DataFrame(columns)


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
    table = frozen(rows)
    packed = [PACKS] if PACKS in table else []
    table = table[[Products.TITLE, Images.BYTES, *packed]]
    # One row with a picture among them, where there is one: the example shows both kinds of input.
    with_picture = table.iloc[present(table, PICTURE)[:1]]
    others = table.drop(with_picture.index).head(count - len(with_picture))
    shown = pd.concat([others, with_picture], ignore_index=True)
    # A model is asked without text on packs, too.
    shown.loc[:0, packed] = None
    return shown


def most_frequent(values: pd.Series) -> Any:
    """The most frequent filled value, the first by name among equals; None where none is filled."""
    counts = values.dropna().value_counts().sort_index()
    return counts.idxmax() if len(counts) else None


def baselines(split: Path, rows: Path, seed: int) -> dict[str, np.ndarray]:
    train, table = pq.read_table(split / "train.parquet").to_pandas(), frozen(rows)
    vectors = {
        "train": pixels(train[Images.BYTES].iloc[present(train, PICTURE)].tolist()),
        "asked": pixels(table[Images.BYTES].iloc[present(table, PICTURE)].tolist()),
    }
    frequent, fitted = [], []
    for name in fields_of(table):
        answers = np.full(len(table), most_frequent(train[name]), object)
        frequent.append(rights(table[name], answers))
        # Where both are there the title answers: on products it tells more than raw pixels.
        for guess in (
            _nearest_pixels(train, table, name, vectors),
            _word_counts(train, table, name),
        ):
            answers = np.where(guess == None, answers, guess)  # noqa: E711 elementwise
        fitted.append(rights(table[name], answers))
    return {
        "majority": np.nanmean(np.stack(frequent), axis=0),
        "word counts, nearest pixels": np.nanmean(np.stack(fitted), axis=0),
    }


def _nearest_pixels(
    train: pd.DataFrame, table: pd.DataFrame, field: str, vectors: dict[str, np.ndarray]
) -> np.ndarray:
    """The answer of the five nearest training pictures for each row, None where there is no picture, (n,)."""
    from sklearn.neighbors import KNeighborsClassifier

    answers = np.full(len(table), None, object)
    asked, known = present(table, PICTURE), train[field].iloc[present(train, PICTURE)]
    labelled = known.notna().to_numpy()
    if len(asked) and known.nunique() > 1:
        nearest = KNeighborsClassifier(min(NEIGHBOURS, int(labelled.sum())))
        nearest.fit(vectors["train"][labelled], known[labelled].tolist())
        answers[asked] = nearest.predict(vectors["asked"])
    return answers


def _word_counts(train: pd.DataFrame, table: pd.DataFrame, field: str) -> np.ndarray:
    """The answer of logistic regression on the title's words for each row, None where there is no title, (n,).

    Equal pairs of title and value are fitted as one with their number as weight: the same optimum, sooner.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    answers = np.full(len(table), None, object)
    asked, known = present(table, TITLE), train.iloc[present(train, TITLE)]
    known = known[known[field].notna() & known[Products.TITLE].str.contains(r"\w")]
    if not len(asked) or known[field].nunique() < 2:
        return answers
    words = TfidfVectorizer(token_pattern=WORD).fit(known[Products.TITLE])
    pairs = known.groupby([Products.TITLE, field]).size().reset_index(name="count")
    fitted = LogisticRegression(C=10.0, max_iter=100).fit(
        words.transform(pairs[Products.TITLE]), pairs[field].tolist(), pairs["count"]
    )
    answers[asked] = fitted.predict(words.transform(table[Products.TITLE].iloc[asked]))
    return answers

"""How sentiment is judged: balanced accuracy within each language, languages weighing by their rows.

A right row scores rows of its language / (rows of its class there x classes there), a wrong one 0. So the mean over
a language's rows is that language's balanced accuracy (the mean of its classes' recalls), a class weighs the same
however rare it is, and always answering one class of k gives 1/k. A row of a rare class scores above 1.

Baselines: the most frequent class of each language; word counts (Chinese: characters and pairs of them) with
logistic regression; VADER, whose lexicon is English, with the most frequent class elsewhere.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from models.metrics import honesty
from pipelines.tables import Reviews

METRIC = "balanced accuracy"
KEY: str | None = Reviews.REVIEW
TIME: str | None = Reviews.TIME
SIDES: tuple[str, ...] = ("confidence",)
ROWS = "reviews.parquet"
VADER_THRESHOLD = 0.05
"""The compound score beyond which VADER's authors call a text positive or negative."""


def freeze(split: Path, part: str, rows: Path, beside: Path | None = None) -> None:
    rows.mkdir(parents=True, exist_ok=True)
    table = pq.read_table(split / f"{part}.parquet")
    chosen = table.select([Reviews.REVIEW, Reviews.TEXT, Reviews.LANGUAGE, Reviews.LABEL])
    pq.write_table(chosen.sort_by(Reviews.REVIEW).replace_schema_metadata(None), rows / ROWS)


def frozen(rows: Path) -> pd.DataFrame:
    """review_id, text, language and label of the frozen reviews."""
    return pq.read_table(rows / ROWS).to_pandas()


def weights(table: pd.DataFrame) -> np.ndarray:
    """What a right answer to each row of `table` (language, label) scores, (n,).

    >>> weights(pd.DataFrame({"language": ["en"] * 3, "label": ["positive", "positive", "negative"]})).tolist()
    [0.75, 0.75, 1.5]
    """
    language = table[Reviews.LANGUAGE]
    of_language = language.map(language.value_counts())
    of_class = table.groupby([Reviews.LANGUAGE, Reviews.LABEL])[Reviews.LABEL].transform("size")
    classes = table.groupby(Reviews.LANGUAGE)[Reviews.LABEL].transform("nunique")
    return (of_language / (of_class * classes)).to_numpy(dtype=np.float64)


def score(model: Any, rows: Path) -> pd.DataFrame:
    table = frozen(rows)
    found = model.predict(table[[Reviews.TEXT, Reviews.LANGUAGE]])
    right = (found["label"] == table[Reviews.LABEL]).to_numpy()
    return pd.DataFrame(
        {
            "row_id": table[Reviews.REVIEW],
            "score": right * weights(table),
            "side_confidence": honesty(found["confidence"], right),
            "slice_language": table[Reviews.LANGUAGE],
            "prediction": found["label"],
            "truth": table[Reviews.LABEL],
            "confidence": found["confidence"],
        }
    )


def example(rows: Path, count: int) -> pd.DataFrame:
    return frozen(rows)[[Reviews.TEXT, Reviews.LANGUAGE]].head(count)


def baselines(split: Path, rows: Path, seed: int) -> dict[str, np.ndarray]:
    train = pq.read_table(split / "train.parquet").to_pandas()
    table = frozen(rows)
    majority = np.empty(len(table), dtype=object)
    counted = np.empty(len(table), dtype=object)
    for language in sorted(table[Reviews.LANGUAGE].unique()):
        here = (table[Reviews.LANGUAGE] == language).to_numpy()
        known = train[train[Reviews.LANGUAGE] == language]
        known = known if len(known) else train
        majority[here] = known[Reviews.LABEL].value_counts().sort_index().idxmax()
        counted[here] = count_words(known, table[Reviews.TEXT][here].tolist(), language, seed)
    english = (table[Reviews.LANGUAGE] == "en").to_numpy()
    lexicon = majority.copy()
    lexicon[english] = vader(table[Reviews.TEXT][english].tolist())
    truth, gained = table[Reviews.LABEL].to_numpy(object), weights(table)
    return {
        "VADER": (truth == lexicon) * gained,
        "majority": (truth == majority) * gained,
        "word counts": (truth == counted) * gained,
    }


def count_words(train: pd.DataFrame, texts: list[str], language: str, seed: int) -> np.ndarray:
    """Labels (n,) of `texts` by word counts with logistic regression, classes balanced."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    if train[Reviews.LABEL].nunique() < 2:
        return np.full(len(texts), train[Reviews.LABEL].iloc[0], dtype=object)
    by_character = {"analyzer": "char", "ngram_range": (1, 2)} if language == "zh" else {}
    model = make_pipeline(
        CountVectorizer(**by_character),
        LogisticRegression(class_weight="balanced", max_iter=1000, random_state=seed),
    )
    return model.fit(train[Reviews.TEXT], train[Reviews.LABEL]).predict(texts)


def vader(texts: list[str]) -> np.ndarray:
    """Labels (n,) of English `texts` by VADER with its authors' thresholds."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    scores = np.array([analyzer.polarity_scores(text)["compound"] for text in texts], dtype=float)
    chosen = [scores >= VADER_THRESHOLD, scores <= -VADER_THRESHOLD]
    return np.select(chosen, ["positive", "negative"], "neutral").astype(object)

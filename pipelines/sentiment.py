"""Train the sentiment model, one a language; judged on validation rows, which no part of it has seen."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from models.bundle import save
from models.language.lexicon import Lexicon
from models.language.polarity import Polarity, Reading, passages
from models.language.polarity_training import FEWEST, Encoding, fit
from models.language.sentiment import CHINESE, LABELS, Sentiment
from models.language.settings import EncoderSettings, GramSettings, PolaritySettings
from pipelines import lexicons
from pipelines.capabilities import sentiment as judge
from pipelines.encoders import text_encoder
from pipelines.harness import BadConfig, BadData, Params, Run, stage
from pipelines.judging import judge_on_validation
from pipelines.tables import Reviews
from pipelines.vectors import read_vectors


class SentimentParams(Params):
    """encoder: as of text-features. It reads every text."""

    encoder: str
    grams: GramSettings
    polarity: PolaritySettings


@stage
def sentiment(run: Run, params: SentimentParams) -> None:
    encoder = text_encoder(params.encoder, run.input("ingest-encoders/text"))
    keys, vectors, made_by = read_vectors(
        run.input("text-features/reviews.parquet"), Reviews.REVIEW
    )
    if made_by != encoder.identity:
        raise BadConfig(
            "params.yaml: sentiment.encoder is another than text-features.encoder; give both the same"
        )
    place = {key: at for at, key in enumerate(keys)}
    train = pq.read_table(run.input("split/sentiment/train.parquet")).to_pandas()
    check(train)
    every = EncoderSettings(len(train), len(train), freely=len(train), share=1.0)
    models: dict[str, Polarity] = {}
    languages = sorted(train[Reviews.LANGUAGE].unique())
    for at, language in enumerate(languages):
        run.advance(0.1 + 0.6 * at / len(languages), f"reviews in {language}")
        rows = train[train[Reviews.LANGUAGE] == language]
        labels = [label for label in LABELS if label in set(rows[Reviews.LABEL])]
        grams = params.grams.of(spaced=language != CHINESE)
        encoding = None
        if rows[Reviews.REVIEW].isin(place.keys()).sum() >= FEWEST:
            encoding = Encoding(encoder, every, vectors_of(rows, place, vectors))
        models[language] = fit(
            passages(rows[Reviews.TEXT].tolist()),
            rows[Reviews.LABEL].map(labels.index).to_numpy(np.int64),
            labels,
            None,
            Reading(grams, grams, aspects=False),
            Lexicon(lexicons.english()),
            encoding,
            params.polarity,
            run.seed,
            say=run.say,
        )
    model = Sentiment(models)
    save(model.to_bundle(), run.output("bundle"))
    run.rows_in, run.rows_out = len(train), len(LABELS)
    run.advance(0.75, "judging on validation")
    table = judge_on_validation(run, judge, "sentiment", model)
    for language, rows in table.groupby("slice_language", sort=True):
        right = rows["prediction"] == rows["truth"]
        run.measure(f"balanced_accuracy/{language}", float(rows["score"].mean()))
        run.measure(f"accuracy/{language}", float(right.mean()))
        run.measure(f"confidence/{language}", float(rows["confidence"].mean()))


def check(train: pd.DataFrame) -> None:
    """Raise `BadData` for a label of another name."""
    strange = train[~train[Reviews.LABEL].isin(LABELS)]
    if len(strange):
        raise BadData(
            f"split/sentiment/train.parquet, column label, row {strange.index[0]}: {strange[Reviews.LABEL].iloc[0]!r} "
            f"is none of {', '.join(LABELS)}; correct it where the reviews come from"
        )


def vectors_of(table: pd.DataFrame, place: dict[str, int], vectors: np.ndarray) -> np.ndarray:
    """The vectors (n, width) of the rows of `table`; NaN where text-features read no such review."""
    rows = table[Reviews.REVIEW].map(place)
    found = np.full((len(table), vectors.shape[1]), np.nan, dtype=np.float32)
    known = rows.notna().to_numpy()
    found[known] = vectors[rows[known].to_numpy(np.int64)]
    return found


if __name__ == "__main__":
    sentiment.main()

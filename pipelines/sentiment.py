"""Train the sentiment model, one for all languages; its best epoch and calibration are chosen on validation."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from models.bundle import save
from models.encoders.ngrams import Grams
from models.language.sentiment import LABELS, Inputs, Reading, read_texts
from models.language.sentiment_training import Settings, train
from pipelines.capabilities import sentiment as judge
from pipelines.encoders import text_encoder
from pipelines.harness import BadConfig, BadData, Params, Run, stage
from pipelines.judging import judge_on_validation
from pipelines.tables import Reviews
from pipelines.vectors import read_vectors


class SentimentParams(Params):
    """encoder: as of text-features. words, characters, buckets: see `Grams`. The others: see `Settings`."""

    encoder: str
    words: int
    characters: list[int]
    buckets: int
    hidden: int
    epochs: int
    batch: int
    penalty: float
    wide_rate: float
    rate: float
    decay: float


@stage
def sentiment(run: Run, params: SentimentParams) -> None:
    encoder = text_encoder(
        params.encoder,
        run.input("ingest-encoders/text") if params.encoder == "package" else None,
    )
    keys, vectors, made_by = read_vectors(
        run.input("text-features/reviews.parquet"), Reviews.REVIEW
    )
    if made_by != encoder.identity:
        raise BadConfig(
            "params.yaml: sentiment.encoder is another than text-features.encoder; give both the same"
        )
    place = {key: at for at, key in enumerate(keys)}
    parts = {
        part: pq.read_table(run.input(f"split/sentiment/{part}.parquet")).to_pandas()
        for part in ("train", "valid")
    }
    reading = reading_of(parts["train"], place, params)
    data = {part: inputs_of(table, place, vectors, reading, part) for part, table in parts.items()}
    settings = Settings(
        hidden=params.hidden,
        epochs=params.epochs,
        batch=params.batch,
        penalty=params.penalty,
        wide_rate=params.wide_rate,
        rate=params.rate,
        decay=params.decay,
    )
    model, curves = train(
        reading,
        encoder,
        data["train"],
        data["valid"],
        settings,
        run.seed,
        lambda done, what: run.advance(0.1 + 0.6 * done, what),
    )
    for name, values in curves.items():
        run.tracker.curve(name, values)
    save(model.to_bundle(), run.output("bundle"))
    run.rows_in, run.rows_out = len(parts["train"]), len(LABELS)
    run.advance(0.75, "judging on validation")
    table = judge_on_validation(run, judge, "sentiment", model)
    for language, rows in table.groupby("slice_language", sort=True):
        right = rows["prediction"] == rows["truth"]
        run.measure(f"balanced_accuracy/{language}", float(rows["score"].mean()))
        run.measure(f"accuracy/{language}", float(right.mean()))
        run.measure(f"confidence/{language}", float(rows["confidence"].mean()))


def reading_of(train: pd.DataFrame, place: dict[str, int], params: SentimentParams) -> Reading:
    """Languages and their labels as the training rows have them. Raises `BadData` for a label of another name."""
    strange = train[~train[Reviews.LABEL].isin(LABELS)]
    if len(strange):
        raise BadData(
            f"split/sentiment/train.parquet, column label, row {strange.index[0]}: {strange[Reviews.LABEL].iloc[0]!r} "
            f"is none of {', '.join(LABELS)}; correct it where the reviews come from"
        )
    languages = sorted(train[Reviews.LANGUAGE].unique())
    seen = set(zip(train[Reviews.LANGUAGE], train[Reviews.LABEL], strict=True))
    encoded = train[Reviews.REVIEW].isin(place.keys())
    low, high = params.characters
    return Reading(
        grams=Grams(params.words, low, high, params.buckets),
        languages=tuple(languages),
        labels=tuple(
            tuple((language, label) in seen for label in LABELS) for language in languages
        ),
        encoded=tuple(sorted(train[Reviews.LANGUAGE][encoded].unique())),
    )


def inputs_of(
    table: pd.DataFrame, place: dict[str, int], vectors: np.ndarray, reading: Reading, part: str
) -> tuple[Inputs, np.ndarray]:
    """Arrays of the rows of `table` and their labels (n,). Raises `BadData` where a vector is missing."""
    encoded = table[Reviews.LANGUAGE].isin(reading.encoded).to_numpy()
    rows = table[Reviews.REVIEW][encoded].map(place)
    if rows.isna().any():
        missing = table[Reviews.REVIEW][encoded][rows.isna()].iloc[0]
        raise BadData(
            f"text-features/reviews.parquet has no vector of {missing}, a row of split/sentiment/{part}.parquet: "
            "run `dvc repro text-features`"
        )
    filled = np.zeros((len(table), vectors.shape[1]), dtype=np.float32)
    filled[encoded] = vectors[rows.to_numpy(np.int64)]
    inputs = read_texts(
        table[Reviews.TEXT].tolist(), table[Reviews.LANGUAGE].tolist(), filled, reading
    )
    code = {label: at for at, label in enumerate(LABELS)}
    return inputs, table[Reviews.LABEL].map(code).to_numpy(np.int64, copy=True)


if __name__ == "__main__":
    sentiment.main()

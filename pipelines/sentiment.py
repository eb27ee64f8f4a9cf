"""Train the sentiment model, one a language; judged on validation rows, which no part of it has seen.

`reviews.parquet`: label, chances, tone and expected stars of every review and sentence of the shop.
Reviews that were suspect when training ended (see `review_trust`) teach it nothing.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.bundle import save
from models.encoders.tuned import LONGEST
from models.language.lexicon import Lexicon
from models.language.polarity import Polarity, Reading, passages
from models.language.polarity_training import FEWEST, Encoding, Tuning, fit
from models.language.sentiment import CHINESE, LABELS, Sentiment
from models.language.settings import (
    EncoderSettings,
    GramSettings,
    PolarityReaderSettings,
    PolaritySettings,
)
from models.language.tone import tones
from models.language.tongue import ENGLISH
from pipelines.artefacts.vectors import read_vectors
from pipelines.aspect_marks import marked
from pipelines.capabilities import sentiment as judge
from pipelines.harness import BadConfig, BadData, Run, stage
from pipelines.packaged import lexicons
from pipelines.packaged.encoders import text_encoder
from pipelines.packaged.unpacked import folder
from pipelines.packaged.weights import Layers, packed_encoder
from pipelines.review_trust import suspects
from pipelines.tables import Reviews
from pipelines.training.judging import judge_on_validation
from pipelines.training.trained import TrainedParams

BLOCK = 16384
RATED, STEPS = 200, 10
"""Rated reviews of a language from which on stars are learned; different numbers of them at most."""
TOLD = pa.schema(
    [
        ("review_id", pa.string()),
        ("language", pa.string()),
        ("label", pa.string()),
        ("confidence", pa.float64()),
        *((label, pa.float64()) for label in LABELS),
        ("tone", pa.string()),
        ("stars", pa.float64()),
    ]
)


class SentimentParams(TrainedParams):
    """encoder: as of text-features. It reads every text. tuned: by language, what is trained on its labelled reviews, as
    tuning says.
    """

    encoder: str
    grams: GramSettings
    polarity: PolaritySettings
    tuned: dict[str, Layers]
    tuning: PolarityReaderSettings


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
    early = pq.read_table(run.input("review-trust/early.parquet")).to_pandas()
    train = train[~train[Reviews.REVIEW].isin(suspects(early, "train"))].reset_index(drop=True)
    every = EncoderSettings(len(train), len(train), freely=len(train), share=1.0)
    models: dict[str, Polarity] = {}
    languages = sorted(train[Reviews.LANGUAGE].unique())
    for at, language in enumerate(languages):
        run.advance(0.1 + 0.6 * at / len(languages), f"reviews in {language}")
        rows = train[train[Reviews.LANGUAGE] == language]
        labels = [label for label in LABELS if label in set(rows[Reviews.LABEL])]
        encoding = None
        if rows[Reviews.REVIEW].isin(place.keys()).sum() >= FEWEST:
            encoding = Encoding(encoder, every, vectors_of(rows, place, vectors))
        truth = rows[Reviews.LABEL].map(labels.index).to_numpy(np.int64)
        tuning = tuning_of(language, len(rows), params, run)
        models[language] = fitted(rows, truth, labels, None, params, run, encoding, tuning)
    model = Sentiment(models, starred(train, params, run))
    save(model.to_bundle(), run.output("bundle"))
    run.advance(0.7, "reading all reviews")
    told = read_all(run, model, place, vectors)
    pq.write_table(told, run.output("reviews.parquet"))
    run.rows_in, run.rows_out = len(train), told.num_rows
    run.advance(0.8, "judging on validation")
    table = judge_on_validation(run, judge, "sentiment", model)
    for language, rows in table.groupby("slice_language", sort=True):
        right = rows["prediction"] == rows["truth"]
        run.measure(f"balanced_accuracy/{language}", float(rows["score"].mean()))
        run.measure(f"accuracy/{language}", float(right.mean()))
        run.measure(f"confidence/{language}", float(rows["confidence"].mean()))


def starred(train: pd.DataFrame, params: SentimentParams, run: Run) -> dict[str, Polarity]:
    """By language what tells the stars of a text, where enough of `train` have some of several numbers."""
    found: dict[str, Polarity] = {}
    if Reviews.RATING not in train:
        return found
    rated = train[train[Reviews.RATING].notna()]
    for language, rows in rated.groupby(Reviews.LANGUAGE, sort=True):
        levels, truth = np.unique(rows[Reviews.RATING].to_numpy(np.float64), return_inverse=True)
        if len(rows) < RATED or not 3 <= len(levels) <= STEPS:
            continue
        names = [f"{level:g}" for level in levels]
        found[str(language)] = fitted(rows, truth, names, levels, params, run)
    return found


def tuning_of(language: str, rows: int, params: SentimentParams, run: Run) -> Tuning | None:
    """The encoder that is trained on the `rows` of a language; None where none is to be, or they are too few."""
    layers = params.tuned.get(language)
    if layers is None or rows < params.tuning.fewest:
        return None
    encoder = packed_encoder(layers.encoder, folder(layers.encoder, run), layers.depth, LONGEST)
    marks = marked(language) if language in (ENGLISH, CHINESE) else ()
    return Tuning(encoder, params.tuning, params.devices, marks)


def fitted(
    rows: pd.DataFrame,
    truth: np.ndarray,
    labels: list[str],
    levels: np.ndarray | None,
    params: SentimentParams,
    run: Run,
    encoding: Encoding | None = None,
    tuning: Tuning | None = None,
) -> Polarity:
    """What tells the label of a text, fitted on `rows` (n) of one language; truth (n,): places in `labels`.

    levels: numbers of the labels where they are steps; encoding, tuning: see `polarity_training.fit`.
    """
    grams = params.grams.of(spaced=rows[Reviews.LANGUAGE].iloc[0] != CHINESE)
    return fit(
        passages(rows[Reviews.TEXT].tolist()),
        truth,
        labels,
        levels,
        Reading(grams, grams, aspects=False),
        Lexicon(lexicons.english()),
        encoding,
        params.polarity,
        run.seed,
        run.say,
        tuning,
    )


def read_all(run: Run, model: Sentiment, place: dict[str, int], vectors: np.ndarray) -> pa.Table:
    """What the model says of each review and sentence of the shop: TOLD, by review_id. Vectors as of `vectors_of`."""
    path = run.input("validate-reviews/table.parquet")
    quick, parts = model.quick(), []
    for batch in pq.ParquetFile(path).iter_batches(BLOCK):
        rows = batch.to_pandas()
        names = [name for name in (Reviews.TEXT, Reviews.LANGUAGE) if name in rows]
        found = model.predict(rows[names], vectors_of(rows, place, vectors))
        for label in (name for name in LABELS if name not in found):
            found[label] = 0.0
        if "stars" not in found:
            found["stars"] = np.nan
        found["tone"] = tones(found, rows[Reviews.TEXT].tolist(), quick)
        parts.append(found.assign(review_id=rows[Reviews.REVIEW]))
    whole = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=TOLD.names)
    whole = whole.sort_values("review_id", kind="stable")
    return pa.Table.from_pandas(whole, TOLD, preserve_index=False)


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

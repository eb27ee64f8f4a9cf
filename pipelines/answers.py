"""Train the model that answers questions from reviews, or says that they hold no answer.

The scorer is fitted on the training questions, over the reviews that were written before validation begins; how sure
it must be is chosen by cross-fitting among them. Then all reviews go on the shelves that it answers from: what is
served knows the newest ones, and they have taught it nothing. The headline is on the validation questions, answered from
the reviews of their time. As those are few, the same model fitted without each fold of training and
validation questions together is measured on all of them too: the figures `cross_fitted/…`.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from models.bundle import save
from models.encoders.text import TextEncoder
from models.language.answers import Answers, Found, Shelf, answer
from models.language.answers_training import (
    Marked,
    best_margin,
    cross_fitted,
    fit_scorer,
    right_candidates,
)
from models.language.library import Review
from models.language.settings import ScorerSettings
from models.metrics import interval
from pipelines.capabilities import answers as judge
from pipelines.encoders import reranker, text_encoder
from pipelines.harness import BadData, Params, Run, stage
from pipelines.judging import headline, judge_on_validation
from pipelines.tables import Questions, Reviews
from pipelines.vectors import read_vectors

PARTS = ("train", "valid")


class AnswersParams(Params):
    """What the model is made of and how it is fitted."""

    encoder: str
    """package, hub:NAME or hashing."""
    reranker: str
    """package or overlap."""
    max_tokens: int
    """Of a question with a passage."""
    candidates: int
    """Sentences that are read with each question."""
    scorer: ScorerSettings


@stage
def answers(run: Run, params: AnswersParams) -> None:
    tables = {
        part: pq.read_table(run.input(f"split/answers/{part}.parquet")).to_pandas()
        for part in PARTS
    }
    split = run.input("split/answers")
    if not len(tables["train"]):
        raise BadData("split/answers/train.parquet has no question: bring questions, or mark some")
    encoder = text_encoder(params.encoder, run.input("ingest-encoders/text"))
    reader = reranker(params.reranker, run.input("ingest-encoders/reranker"), params.max_tokens)
    model = Answers.untrained(
        library(judge.readable(split, "train")),
        encoder,
        reader,
        params.candidates,
        lambda done, what: run.advance(0.3 * done, what),
        known_vectors(run, encoder),
    )
    reading = {"train": model, "valid": model.shelved(library(judge.readable(split, "valid")))}
    questions = pd.concat([tables[part] for part in PARTS], ignore_index=True)
    shelves = [reading[part].shelf(item) for part in PARTS for item in tables[part][Questions.ITEM]]
    found = model.find(
        questions[Questions.TEXT].tolist(),
        shelves,
        lambda done, what: run.advance(0.4 + 0.3 * done, what),
    )
    right = right_candidates(found, shelves, marked(questions))
    train = np.arange(len(tables["train"]))
    of_train = Found(found.rows[train], found.features[train])
    margin = best_margin(
        cross_fitted(of_train, right[train], params.scorer, run.seed), right[train]
    )
    scorer, losses = fit_scorer(of_train, right[train], params.scorer, run.seed)
    scorer.margin.fill_(margin)
    run.tracker.curve("train_loss", losses)
    run.advance(0.8, "judging on validation")
    reading["valid"].scorer = scorer
    table = judge_on_validation(run, judge, "answers", reading["valid"])
    reviews = judge.readable(split, "test")
    run.rows_in, run.rows_out = len(questions), len(reviews)
    save(reading["valid"].shelved(library(reviews)).to_bundle(), run.output("bundle"))
    for name, rows in table.groupby("slice_marked", sort=True):
        run.measure(f"answer_f1/{name}", float(rows["score"].mean()))
    run.measure("margin", margin)
    run.measure("candidates_hold_answer", float(right[~right[:, -1], :-1].any(1).mean()))
    logits = cross_fitted(found, right, params.scorer, run.seed)
    cross_fitted_figures(run, questions, shelves, found, logits, margin)


def known_vectors(run: Run, encoder: TextEncoder) -> dict[str, np.ndarray]:
    """Texts of reviews, sentences among them, with the vectors of text-features where the encoder is the same."""
    keys, vectors, made_by = read_vectors(
        run.input("text-features/reviews.parquet"), Reviews.REVIEW
    )
    if made_by != encoder.identity:
        return {}
    table = pq.read_table(
        run.input("validate-reviews/table.parquet"), columns=[Reviews.REVIEW, Reviews.TEXT]
    )
    texts = dict(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
    return {texts[key]: vector for key, vector in zip(keys, vectors, strict=True) if key in texts}


def library(reviews: pd.DataFrame) -> dict[str, list[Review]]:
    """Item to its reviews, with day and stars where the shop has them."""
    none = pd.Series(None, reviews.index, dtype=object)
    moments = pd.to_datetime(reviews.get(Reviews.TIME, none), utc=True)
    stars = pd.to_numeric(reviews.get(Reviews.RATING, none)).astype(object)
    rows = pd.DataFrame(
        {
            "name": reviews[Reviews.REVIEW],
            "text": reviews[Reviews.TEXT],
            "date": moments.dt.strftime("%Y-%m-%d").fillna(""),
            "stars": stars.where(stars.notna(), None),
        }
    )
    return {
        item: [Review(*line) for line in part.itertuples(index=False)]
        for item, part in rows.groupby(reviews[Reviews.ITEM], sort=True)
    }


def marked(questions: pd.DataFrame) -> list[Marked]:
    """Where the answers are marked."""
    return [
        Marked(review, int(start), int(end))
        if isinstance(review, str) and review
        else Marked(None, 0, 0)
        for review, start, end in zip(
            questions[Questions.REVIEW],
            questions[Questions.START],
            questions[Questions.END],
            strict=True,
        )
    ]


def cross_fitted_figures(
    run: Run,
    questions: pd.DataFrame,
    shelves: list[Shelf],
    found: Found,
    logits: np.ndarray,
    margin: float,
) -> None:
    """Measure what scorers that never saw a question answer to it, on training and validation questions together.

    The baseline's threshold was fitted on the training ones among them, which favours the baseline.
    """
    said = dict(
        zip(
            questions[Questions.QUESTION],
            (
                answer(shelf, rows, line, margin)[0]
                for shelf, rows, line in zip(shelves, found.rows, logits, strict=True)
            ),
            strict=True,
        )
    )
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as scratch:
        split = run.input("split/answers")
        for part in PARTS:
            rows = Path(scratch) / part
            judge.freeze(split, part, rows)
            table = judge.frozen(rows)
            texts = table[Questions.QUESTION].map(said)
            ours += list(map(judge.f1, texts, table[judge.ANSWER]))
            theirs.append(judge.baselines(split, rows, run.seed))
    together = {name: np.concatenate([part[name] for part in theirs]) for name in theirs[0]}
    whole = headline(judge.METRIC, np.asarray(ours), together, run.seed)
    spread = interval(np.asarray(ours), run.seed)
    run.measure("cross_fitted/questions", len(ours))
    run.measure("cross_fitted/answer_f1", spread.mean)
    run.measure("cross_fitted/answer_f1_low", spread.low)
    run.measure("cross_fitted/answer_f1_high", spread.high)
    run.measure("cross_fitted/best_baseline", whole.baseline_value)
    run.measure("cross_fitted/gain_low", whole.gain_low)
    run.measure("cross_fitted/gain_high", whole.gain_high)


if __name__ == "__main__":
    answers.main()

"""Train the model that answers questions from reviews, or says that they hold no answer.

It is fitted on the training questions, over the reviews that were written before validation begins (which model that
is: see `models.language.answering_training`), without those that were suspect then (see `review_trust`). Then all reviews
that are to be trusted go on the shelves that it answers from: what is served
knows the newest ones, and they have taught it nothing. The headline is on the validation questions, answered from the
reviews of their time. `answers.parquet`: the reply to each question of the shop, from all reviews.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.bundle import save
from models.encoders.text import TextEncoder
from models.kinds import load_model
from models.language.answers import Answers
from models.language.library import Library, Review
from models.language.marked import Asked, Marked, merged
from models.language.quoting import Quoter
from models.language.sentiment import Sentiment
from pipelines.artefacts.vectors import read_vectors
from pipelines.capabilities import answers as judge
from pipelines.harness import BadData, Run, stage
from pipelines.packaged.unpacked import folder
from pipelines.review_trust import suspects
from pipelines.tables import Questions, Reviews
from pipelines.training import answering
from pipelines.training.answering import AnsweringParams
from pipelines.training.judging import judge_on_validation

PARTS = ("train", "valid")
INGESTED = ("text", "reranker")
QUOTE = pa.struct(
    [
        ("review_id", pa.string()),
        ("date", pa.string()),
        ("stars", pa.float64()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("text", pa.string()),
    ]
)
ANSWERS = pa.schema(
    [
        ("question_id", pa.string()),
        ("item_id", pa.string()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("review_id", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("date", pa.string()),
        ("stars", pa.float64()),
        ("confidence", pa.float64()),
        ("evidence", pa.list_(QUOTE)),
        ("asks", pa.string()),
        ("says_yes", pa.list_(pa.string())),
        ("says_no", pa.list_(pa.string())),
    ]
)


@stage
def answers(run: Run, params: AnsweringParams) -> None:
    split = run.input("split/answers")
    tables = {part: pq.read_table(split / f"{part}.parquet").to_pandas() for part in PARTS}
    if not len(tables["train"]):
        raise BadData("split/answers/train.parquet has no question: bring questions, or mark some")
    early = pq.read_table(run.input("review-trust/early.parquet")).to_pandas()
    trusted = {
        part: library(without(judge.readable(split, part), suspects(early, part))) for part in PARTS
    }
    model = answering.fit(
        params,
        trusted["train"],
        [one for one in marked(tables["train"]) if answered_in(trusted["train"], one)],
        lambda name: packaged(run, name),
        run.seed,
        run.say,
        lambda done, what: run.advance(0.6 * done, what),
        lambda encoder: known_vectors(run, encoder),
    )
    model.sides = sides(run)
    run.say(f"answered by the {type(model).__name__.lower()}")
    model = model.shelved(trusted["valid"])
    flagged = pq.read_table(run.input("review-trust/flags.parquet"))["review_id"].to_pylist()
    served = model.shelved(library(without(judge.readable(split, "test"), set(flagged))))
    save(served.to_bundle(), run.output("bundle"))
    run.advance(0.6, "judging on validation")
    table = judge_on_validation(run, judge, "answers", model)
    for name, rows in table.groupby("slice_marked", sort=True):
        run.measure(f"answer_f1/{name}", float(rows["score"].mean()))
    run.measure("confidence", float(table["confidence"].mean()))
    run.advance(0.8, "answering all questions")
    asked = pq.read_table(run.input("validate-questions/table.parquet")).to_pandas()
    replies = answered(served, asked)
    pq.write_table(replies, run.output("answers.parquet"))
    run.rows_in = sum(map(len, tables.values()))
    run.rows_out = replies.num_rows


def packaged(run: Run, name: str) -> Path:
    """The folder of a packaged encoder: those of the ingest stage, and what only some shops need, fetched then."""
    return run.input(f"ingest-encoders/{name}") if name in INGESTED else folder(name, run)


def without(reviews: pd.DataFrame, names: set[str]) -> pd.DataFrame:
    """`reviews` but those of `names`."""
    return reviews[~reviews[Reviews.REVIEW].isin(names)]


def answered_in(library: Library, one: Asked) -> bool:
    """Whether the reviews hold what is marked, where something is."""
    return one.spans.keys() <= {review.review_id for review in library.get(one.item, ())}


def sides(run: Run) -> Sentiment | None:
    """What tells praise from blame, where the shop has labels to learn it from."""
    bundle = run.optional("sentiment/bundle")
    return load_model(bundle).quick() if bundle else None


def answered(model: Answers | Quoter, questions: pd.DataFrame) -> pa.Table:
    """The reply to each of `questions`, in their order; columns as of `telling.told`, without the reviews that speak of it."""
    asked = questions.sort_values(Questions.QUESTION, ignore_index=True)
    replies = model.predict(asked[[Questions.ITEM, Questions.TEXT]])
    names = [Questions.QUESTION, Questions.ITEM, Questions.TEXT]
    table = pd.concat([asked[names], replies[ANSWERS.names[len(names) :]]], axis=1)
    return pa.Table.from_pandas(table, ANSWERS, preserve_index=False)


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


def marked(questions: pd.DataFrame) -> list[Asked]:
    """The questions with the places where their answers are marked; none is: no review answers."""
    marks = [
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
    return merged(questions[Questions.ITEM].tolist(), questions[Questions.TEXT].tolist(), marks)


if __name__ == "__main__":
    answers.main()

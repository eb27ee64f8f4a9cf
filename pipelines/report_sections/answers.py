"""Questions with the passage of a review that answers them, or none."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipelines.report_sections.inputs import Absent, Choice, Inputs
from pipelines.report_sections.judged import scores, slices
from pipelines.tables import Questions as Q
from pipelines.tables import Reviews

KEY = "answers"
TITLE = "Answers"
TEST = "split/answers/test.parquet"
REVIEWS = "split/answers/reviews.parquet"
REPLIES = "answers/answers.parquet"
NEED = ("row_id", "score", "answer", "review_id", "start", "end", "confidence")


def view(inputs: Inputs, choice: Choice) -> dict[str, Any]:
    """questions: some picked by hash, with the quote inside its review, the marked answer, and how all reviews divide; total."""
    judged = scores(inputs, KEY, NEED)
    frame = judged.rows.set_index("row_id")
    asked = inputs.table(TEST, need=(Q.QUESTION, Q.ITEM, Q.TEXT), like=(Q.REVIEW, Q.START, Q.END))
    asked = asked.drop_duplicates(Q.QUESTION).set_index(Q.QUESTION)
    chosen = choice.pick(set(asked.index) & set(frame.index), choice.rows)
    if not chosen:
        raise Absent(f"data/{TEST} holds none of the questions that were scored.")
    ids = {*frame.loc[chosen, "review_id"], *asked.loc[chosen, Q.REVIEW]}
    wanted = sorted(key for key in ids if isinstance(key, str) and key)
    read = inputs.table(
        REVIEWS,
        need=(Reviews.REVIEW, Reviews.TEXT),
        like=(Reviews.TIME, Reviews.RATING),
        among=(Reviews.REVIEW, wanted),
    )
    reviews = {line[Reviews.REVIEW]: line for line in read.to_dict("records")}
    replies = inputs.table(
        REPLIES, need=(Q.QUESTION, "says_yes", "says_no"), among=(Q.QUESTION, chosen)
    )
    divided = {
        line[Q.QUESTION]: (len(line["says_yes"]), len(line["says_no"]))
        for line in replies.to_dict("records")
    }
    questions = []
    for key in chosen:
        ours, row = frame.loc[key], asked.loc[key]
        said = sourced(reviews, ours["review_id"], ours["start"], ours["end"], choice.length)
        true = sourced(reviews, row[Q.REVIEW], row[Q.START], row[Q.END], choice.length)
        yes, no = divided.get(key, (0, 0))
        questions.append(
            {
                "question": row[Q.TEXT],
                "item": row[Q.ITEM],
                "said": said,
                "true": true,
                "yes": yes,
                "no": no,
                "score": float(ours["score"]),
                "confidence": float(ours["confidence"]),
            }
        )
    return {"questions": questions, "total": len(frame), "slices": slices(judged)}


def sourced(
    reviews: Mapping[str, Mapping[str, Any]], review: Any, start: Any, end: Any, length: int
) -> dict[str, Any] | None:
    """`quote` with the day and stars of the review, None where the shop has none.

    reviews: by id, as rows of the canonical table.
    """
    texts = {name: line[Reviews.TEXT] for name, line in reviews.items()}
    found = quote(texts, review, start, end, length)
    if found is None:
        return None
    day, stars = (reviews[review].get(name) for name in (Reviews.TIME, Reviews.RATING))
    return {
        **found,
        "day": None if pd.isna(day) else f"{day:%Y-%m-%d}",
        "stars": None if pd.isna(stars) else f"{stars:g}",
    }


def quote(
    texts: Mapping[str, str], review: Any, start: Any, end: Any, length: int
) -> dict[str, str] | None:
    """The review's text before, in and after the slice start:end, cut to `length` around it; None without one.

    texts: of the reviews, by their ids.
    """
    if not isinstance(review, str) or review not in texts or start != start or end != end:
        return None
    text, start, end = texts[review], int(start), int(end)
    if end <= start:
        return None
    room = max((length - (end - start)) // 2, 40)
    before, after = text[:start], text[end:]
    if len(before) > room:
        before = "… " + before[-room:].partition(" ")[2]
    if len(after) > room:
        after = after[:room].rpartition(" ")[0] + " …"
    return {"review": review, "before": before, "quoted": text[start:end], "after": after}

"""Questions with the passage of a review that answers them, or none."""

from typing import Any

from pipelines.report_sections.inputs import Absent, Choice, Inputs
from pipelines.report_sections.judged import scores, slices
from pipelines.tables import Questions as Q
from pipelines.tables import Reviews

KEY = "answers"
TITLE = "Answers"
TEST = "split/answers/test.parquet"
REVIEWS = "split/answers/reviews.parquet"
NEED = ("row_id", "score", "answer", "review_id", "start", "end", "confidence")


def view(inputs: Inputs, choice: Choice) -> dict[str, Any]:
    """questions: some picked by hash, with the quote inside its review and the marked answer; total."""
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
        REVIEWS, need=(Reviews.REVIEW, Reviews.TEXT), among=(Reviews.REVIEW, wanted)
    )
    texts = dict(zip(read[Reviews.REVIEW], read[Reviews.TEXT], strict=True))
    questions = []
    for key in chosen:
        ours, row = frame.loc[key], asked.loc[key]
        said = quote(texts, ours["review_id"], ours["start"], ours["end"], choice.length)
        true = quote(texts, row[Q.REVIEW], row[Q.START], row[Q.END], choice.length)
        questions.append(
            {
                "question": row[Q.TEXT],
                "item": row[Q.ITEM],
                "said": said,
                "true": true,
                "score": float(ours["score"]),
                "confidence": float(ours["confidence"]),
            }
        )
    return {"questions": questions, "total": len(frame), "slices": slices(judged)}


def quote(
    texts: dict[str, str], review: Any, start: Any, end: Any, length: int
) -> dict[str, str] | None:
    """The review's text before, in and after the slice start:end, cut to `length` around it; None without one."""
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

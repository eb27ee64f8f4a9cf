"""`answer`: questions about items answered by a part of one of their reviews, or not at all."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.door.verb import Asked, File, Verb
from pipelines.harness import BadData
from pipelines.training.answering import AnsweringParams

if TYPE_CHECKING:
    import pandas as pd

    from models.language.answers import Answers
    from models.language.library import Review
    from models.language.quoting import Quoter

SECTION = "door-answer"


class DoorAnswerParams(AnsweringParams):
    """As of the answers stage."""


@dataclass(frozen=True)
class Answerer:
    """The fitted model, and the type of the reviews' ids."""

    model: "Answers | Quoter"
    review_type: pa.DataType


def fit(asked: Asked) -> Answerer:
    from models.language.marked import merged
    from pipelines.packaged.unpacked import folder
    from pipelines.training import answering

    params = asked.params(SECTION, DoorAnswerParams)
    library, review_type = read_reviews(asked)
    asked.say(f"{sum(map(len, library.values()))} reviews of {len(library)} items")
    questions = []
    if "train" in asked.files:
        table = read_questions(asked, "train")
        marked = marks(asked, table, library)
        kept = [row for row, mark in enumerate(marked) if mark is not None]
        table = table.iloc[kept]
        questions = merged(
            table["item"].tolist(), table["question"].tolist(), [marked[row] for row in kept]
        )
    model = answering.fit(
        params, library, questions, lambda name: folder(name, asked), asked.seed, asked.say
    )
    return Answerer(model, review_type)


def read_reviews(asked: Asked) -> tuple[dict[str, list["Review"]], pa.DataType]:
    """Item to its reviews, and the type of their ids. Raises `BadData` where an id comes with two texts."""
    from models.language.library import Review
    from pipelines.door import files

    path = asked.files["reviews"]
    table = files.read(path, {"review_id": None, "item": None}, {"text": pa.string()}, ["text"])
    library: dict[str, list[Review]] = {}
    seen: set[tuple[str, str]] = set()
    names = [str(name) for name in table["review_id"].to_pylist()]
    items = [str(item) for item in table["item"].to_pylist()]
    for name, item, text in zip(names, items, table["text"].fill_null("").to_pylist(), strict=True):
        if (item, name) not in seen:
            seen.add((item, name))
            library.setdefault(item, []).append(Review(name, text))
    return library, table.schema.field("review_id").type


def read_questions(asked: Asked, flag: str) -> "pd.DataFrame":
    """id, question, item, and of marked ones answer, review_id, start, end."""
    import pandas as pd

    from pipelines.door import files

    path = asked.files[flag]
    optional = {
        "question": pa.string(),
        "answer": pa.string(),
        "start": pa.int64(),
        "end": pa.int64(),
    }
    table = files.read(path, {"id": None}, optional, ["question"])
    columns = {"id": table["id"], "question": table["question"].fill_null("")}
    found = pd.DataFrame({name: column.to_pylist() for name, column in columns.items()})
    for name in ("item", "review_id", "answer"):
        values = table[name].to_pylist() if name in table.column_names else [None] * len(found)
        found[name] = ["" if value is None else str(value) for value in values]
    for name in ("start", "end"):
        values = table[name].to_pylist() if name in table.column_names else [None] * len(found)
        found[name] = [-1 if value is None else value for value in values]
    found.attrs["id"] = table.schema.field("id").type
    return found


def marks(asked: Asked, questions: "pd.DataFrame", library: dict[str, list["Review"]]) -> list[Any]:
    """Where the answers are marked; None for a mark that is no part of a review of the item, which is told."""
    from models.language.marked import Marked

    texts = {
        (item, review.review_id): review.text
        for item, reviews in library.items()
        for review in reviews
    }
    found: list[Marked | None] = []
    for line in questions.itertuples():
        if not line.answer and not line.review_id:
            found.append(Marked(None, 0, 0))
            continue
        text = texts.get((line.item, line.review_id), "")
        start, end = line.start, line.end
        if line.answer and text[max(start, 0) : max(end, 0)] != line.answer:
            start = text.find(line.answer)
            end = start + len(line.answer)
        marked = Marked(line.review_id, start, end)
        found.append(marked if 0 <= start < end <= len(text) else None)
    strange = [row for row, mark in enumerate(found, start=1) if mark is None]
    if strange:
        asked.say(
            f"{asked.files['train']}: the answers of {len(strange)} rows are no part of a review of their item, the "
            f"first in row {strange[0]} (count characters from 0, the end not included); they are left out"
        )
    if len(strange) == len(found):
        raise BadData(f"{asked.files['train']}: no row's answer is part of a review of its item")
    return found


def predict(answerer: Answerer, asked: Asked) -> Iterator[pa.RecordBatch]:
    import pandas as pd

    questions = read_questions(asked, "test")
    frame = pd.DataFrame({"item_id": questions["item"], "question": questions["question"]})
    found = answerer.model.predict(frame)
    told = answerer.review_type

    def ids(names: list[str]) -> list[Any]:
        return [name if pa.types.is_string(told) else int(name) if name else None for name in names]

    yield pa.record_batch(
        {
            "id": pa.array(questions["id"].tolist(), questions.attrs["id"]),
            "answer": pa.array(found["answer"].tolist(), pa.string()),
            "review_id": pa.array(ids(found["review_id"].tolist()), told),
            "start": pa.array(found["start"].clip(lower=0).tolist(), pa.int64()),
            "end": pa.array(found["end"].clip(lower=0).tolist(), pa.int64()),
            "conf": pa.array(found["confidence"].round(6).tolist(), pa.float64()),
            "reviews": pa.array([ids(names) for names in found["reviews"]], pa.list_(told)),
        }
    )


VERB = Verb(
    summary="Answer questions about items by quoting their reviews, or say that they hold no answer.",
    files=(
        File("reviews", "review_id, item, text"),
        File("test", "id, question, item"),
        File(
            "train",
            "id, question, item, answer, review_id, start, end (characters of the review's text; all empty: no answer)",
            required=False,
        ),
    ),
    writes="id, answer (a part of the review's text; empty: none), review_id, start, end, conf, reviews (best first)",
    fit=fit,
    predict=predict,
    asks=lambda asked: read_questions(asked, "test"),
)

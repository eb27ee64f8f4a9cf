"""`sentiment`: the label of each review, or of one aspect in it, learned from labelled ones in any language."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from models.language.settings import (
    EncoderSettings,
    GramSettings,
    PolarityReaderSettings,
    PolaritySettings,
)
from pipelines.door.verb import Asked, File, Verb
from pipelines.harness import BadData
from pipelines.training.trained import TrainedParams

if TYPE_CHECKING:
    import pandas as pd

    from models.encoders.text import TextEncoder
    from models.language.polarity import Reading
    from models.language.polarity_training import Encoding, Tuning
    from models.language.sentiment import Sentiment

SECTION = "door-sentiment"
ENGLISH, CHINESE, ANY = "en", "zh", "any"
FUNCTION_WORDS_TEXT = (
    "the a an and or but of to in on at for with is are was were be it its this that i my you they we he she not have "
    "has had as so very if from by than when will would can all no just me there what which your"
)
FUNCTION_WORDS = frozenset(FUNCTION_WORDS_TEXT.split())
ENGLISH_SHARE = 0.15
"""Of the words of English, far more are function words; of other languages in Latin letters, few are these."""
PLAIN = 0.999
"""Of the letters of English that have no accent: short English texts may have few function words."""
FEWEST = 200
"""Rows of a script that get a model of their own."""
WORD = re.compile("[a-z']+")


class DoorSentimentParams(TrainedParams):
    """near: words and fewest and most characters of an n-gram around an aspect. depth, max_tokens: of the frozen encoder.

    tuning: how an encoder is trained on the rows, whose `freely` is of given aspects, of which the quick voices know less;
    tuned_depth: its layers, 0: none is.
    """

    grams: GramSettings
    near: tuple[int, int, int]
    polarity: PolaritySettings
    encoder: EncoderSettings
    depth: dict[str, int]
    max_tokens: int
    tuning: PolarityReaderSettings
    tuned_depth: dict[str, int]


@dataclass(frozen=True)
class Judge:
    """A fitted model, and how its labels are written: text to what stood in the file."""

    model: "Sentiment"
    labels: dict[str, Any]
    type: pa.DataType
    aspects: bool


def fit(asked: Asked) -> Judge:
    import numpy as np

    from models.language.lexicon import Lexicon
    from models.language.polarity import passages
    from models.language.polarity_training import fit as fit_polarity
    from models.language.sentiment import Sentiment
    from pipelines.packaged import lexicons

    params = asked.params(SECTION, DoorSentimentParams)
    table, types = read_rows(asked, "train", labelled=True)
    if not len(table):
        raise BadData(f"{asked.files['train']}: there is no row to learn from")
    written = dict(zip(table["label"].map(str), table["label"], strict=True))
    labels, levels = scale_of(written)
    aspects = "start" in table
    truth = table["label"].map(str).map({label: at for at, label in enumerate(labels)})
    truth = truth.to_numpy(np.int64)
    models = {}
    for language, rows in groups(table["text"].tolist(), truth).items():
        asked.say(f"{len(rows)} rows of {language}")
        part = table.iloc[rows]
        spans = list(zip(part["start"], part["end"], strict=True)) if aspects else None
        tuning = tuning_of(language, asked, params, len(rows), aspects)
        if tuning is None:
            asked.say(f"{language}: no encoder is trained on the rows")
        models[language] = fit_polarity(
            passages(part["text"].tolist(), spans),
            truth[rows],
            labels,
            levels,
            reading_of(language, params, aspects),
            Lexicon(lexicons.english()),
            # What an encoder that is trained on aspects knows of them, a frozen one does not better.
            None if aspects and tuning else encoding_of(language, asked, params),
            params.polarity,
            asked.seed,
            asked.say,
            tuning,
        )
    return Judge(Sentiment(models), written, types["label"], aspects)


def read_rows(asked: Asked, flag: str, labelled: bool) -> tuple["pd.DataFrame", dict[str, Any]]:
    """The file's rows: id, text, [label], [start, end], and the types of its columns.

    Raises `BadData` where an aspect is without its place.
    """
    import pandas as pd

    from pipelines.door import files

    path = asked.files[flag]
    optional = {"text": pa.string(), "aspect": pa.string(), "start": pa.int64(), "end": pa.int64()}
    key = "label" if labelled else "id"
    table = files.read(path, {key: None}, optional, ["text"])
    table = table.set_column(table.column_names.index("text"), "text", table["text"].fill_null(""))
    kept = {name: table[name].to_pylist() for name in (key, "text")}
    if "aspect" in table.column_names or "start" in table.column_names:
        kept["start"], kept["end"] = spans_of(path, table)
    types = {name: table.schema.field(name).type for name in table.column_names}
    return pd.DataFrame(kept), types


def spans_of(path: Any, table: pa.Table) -> tuple[list[int], list[int]]:
    """Where each row's aspect is; found by its words where no place is given, the whole text where it has no aspect."""
    columns = {
        name: table[name].to_pylist() if name in table.column_names else [None] * table.num_rows
        for name in ("aspect", "start", "end")
    }
    starts, ends = [], []
    for row, (text, aspect, start, end) in enumerate(
        zip(table["text"].to_pylist(), *columns.values(), strict=True), start=1
    ):
        if start is None or end is None:
            start = text.lower().find(aspect.lower()) if aspect else 0
            end = start + len(aspect) if aspect else 0
            if start < 0:
                start = end = 0
        if not 0 <= start <= end <= len(text):
            raise BadData(
                f"{path}, columns start and end, row {row}: [{start}, {end}) is no part of a text of {len(text)} "
                "characters; count characters from 0, the end not included"
            )
        starts.append(start)
        ends.append(end)
    return starts, ends


def scale_of(written: dict[str, Any]) -> tuple[list[str], Any]:
    """The labels in order, and their numbers where all are numbers and there are more than two."""
    import numpy as np

    try:
        numbers = {label: float(label) for label in written}
    except ValueError:
        return sorted(written), None
    labels = sorted(written, key=numbers.__getitem__)
    if len(labels) < 3 or not all(np.isfinite(list(numbers.values()))):
        return labels, None
    return labels, np.asarray([numbers[label] for label in labels])


def groups(texts: list[str], truth: Any) -> dict[str, Any]:
    """Rows of each language that has enough of at least two labels; the rest go with the largest, which comes first.

    English is told from other languages in its letters for all of a file at once.
    """
    import numpy as np

    from models.language.sentiment import language_of

    of = np.array([language_of(text) for text in texts], dtype=object)
    parts = {name: np.flatnonzero(of == name) for name in (ENGLISH, CHINESE)}
    kept = {
        name: rows
        for name, rows in parts.items()
        if len(rows) >= FEWEST and len(np.unique(truth[rows])) == len(np.unique(truth))
    }
    order = sorted(kept, key=lambda name: -len(kept[name]))
    if not order:
        name = max(parts, key=lambda name: len(parts[name]))
        name = name if len(parts[name]) > 0.95 * len(texts) else ANY
        return {name if name != ENGLISH or is_english(texts) else ANY: np.arange(len(texts))}
    rest = np.setdiff1d(np.arange(len(texts)), np.concatenate(list(kept.values())))
    kept[order[0]] = np.sort(np.concatenate([kept[order[0]], rest]))
    found = {name: kept[name] for name in order}
    if ENGLISH in found and not is_english([texts[row] for row in found[ENGLISH]]):
        found = {ANY if name == ENGLISH else name: rows for name, rows in found.items()}
    return found


def is_english(texts: list[str]) -> bool:
    """Whether texts in Latin letters are English, by their function words."""
    whole = " ".join(texts[:2000]).lower()
    words = WORD.findall(whole)
    share = sum(word in FUNCTION_WORDS for word in words) / max(len(words), 1)
    letters = [sign for sign in whole if sign.isalpha()]
    plain = sum(map(str.isascii, letters)) / max(len(letters), 1)
    return share >= ENGLISH_SHARE or (plain > PLAIN and share > ENGLISH_SHARE / 3)


def reading_of(language: str, params: DoorSentimentParams, aspects: bool) -> "Reading":
    """The n-grams of a language."""
    from models.encoders.ngrams import Grams
    from models.language.polarity import Reading

    near = Grams(*params.near, params.grams.buckets)
    return Reading(params.grams.of(spaced=language != CHINESE), near, aspects)


def encoding_of(language: str, asked: Asked, params: DoorSentimentParams) -> "Encoding | None":
    """The frozen encoder of a language; None where none is asked."""
    from models.language.polarity_training import Encoding

    encoder = encoder_of(language, asked, params, params.depth)
    return Encoding(encoder, params.encoder) if encoder else None


def tuning_of(
    language: str, asked: Asked, params: DoorSentimentParams, rows: int, aspects: bool
) -> "Tuning | None":
    """The encoder of a language that is trained on its `rows`; None where none is, as they are too few."""
    from models.language.polarity_training import Tuning
    from pipelines.aspect_marks import marked

    if rows < params.tuning.fewest:
        return None
    encoder = encoder_of(language, asked, params, params.tuned_depth)
    if encoder is None:
        return None
    marks = marked(ENGLISH) if language == ENGLISH else ()
    freely = params.tuning.freely if aspects else params.encoder.freely
    return Tuning(encoder, replace(params.tuning, freely=freely), params.devices, marks)


def encoder_of(
    language: str, asked: Asked, params: DoorSentimentParams, depth: dict[str, int]
) -> "TextEncoder | None":
    """As many layers as `depth` says of the packaged encoder of a language; None for no layer."""
    from pipelines.packaged.unpacked import folder
    from pipelines.packaged.weights import packed_encoder

    name = "english" if language == ENGLISH else "multilingual"
    if not depth[name]:
        return None
    return packed_encoder(name, folder(name, asked), depth[name], params.max_tokens)


def predict(judge: Judge, asked: Asked) -> Iterator[pa.RecordBatch]:
    table, types = read_rows(asked, "test", labelled=False)
    if judge.aspects and "start" not in table:
        table["start"] = table["end"] = 0
    found = judge.model.predict(table)
    yield pa.record_batch(
        {
            "id": pa.array(table["id"].tolist(), types["id"]),
            "pred": pa.array([judge.labels[label] for label in found["label"]], judge.type),
            "conf": pa.array(found["confidence"].round(6).tolist(), pa.float64()),
        }
    )


ASPECT = (
    "[aspect, start, end: then the label is the polarity of these characters of the text, counted from 0, the end not "
    "included]"
)

VERB = Verb(
    summary="Tell the sentiment of reviews, or of aspects in them, by labels that a file shows.",
    files=(
        File("train", f"id, text, label (any texts or whole numbers), {ASPECT}"),
        File("test", f"id, text, {ASPECT}"),
    ),
    writes="id, pred (a label as in train), conf (its probability)",
    fit=fit,
    predict=predict,
    asks=lambda asked: read_rows(asked, "test", labelled=False),
)

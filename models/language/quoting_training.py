"""Fitting of the quoter: the reader on most of the marked questions, what decides on those that were held back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.encoders.ngrams import normal
from models.encoders.text import TextEncoder
from models.language.library import Library
from models.language.marked import Asked, gained
from models.language.polarity import Linear
from models.language.polarity_training import fit_head
from models.language.quoting import FEATURES, Quoter, Span, features, find
from models.language.reader import SpanReader
from models.language.reader_training import Example, train
from models.language.settings import QuoterSettings
from models.language.sureness_training import fit_sureness
from models.language.telling import Reply

STRENGTH = 0.1
NEGATIVES = 2
"""Reviews of an item, besides those with the answer, that a question is read with in training."""


@dataclass(frozen=True)
class Held:
    """What the questions that were held back tell. asked: those; gained (n,): by the quoter, that was not fitted on them."""

    asked: Sequence[Asked]
    gained: np.ndarray


def fit(
    library: Library,
    asked: Sequence[Asked],
    encoder: TextEncoder,
    settings: QuoterSettings,
    f1: Callable[[str, str], float],
    seed: int,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Quoter, Held]:
    """The quoter fitted on `asked`. f1: how good a given answer is for a marked one, from 0 to 1."""
    rng = np.random.default_rng(seed)
    items = sorted({one.item for one in asked})
    held = set(rng.permutation(items)[: max(round(settings.held * len(items)), 1)].tolist())
    examples = [
        example for one in asked if one.item not in held for example, _, _ in pairs_of(one, library)
    ]
    reader = SpanReader.fresh(encoder, settings.reader.limit)
    say(f"training the reader on {len(examples)} pairs of a question and a review")
    train(reader, examples, settings.reader, seed)
    judged = [one for one in asked if one.item in held]
    say(f"choosing when to answer by {len(judged)} questions that were held back")
    halves = [judged[0::2], judged[1::2]]
    told = [
        replies_of(halves[1 - at], half, library, reader, settings, f1)
        for at, half in enumerate(halves)
    ]
    replies, judged = [*told[0], *told[1]], [*halves[0], *halves[1]]
    said = [reply.quotes[0].text if reply.quotes else "" for reply in replies]
    scores = np.asarray(gained(said, judged, library, f1))
    weigh, threshold = decide(judged, library, reader, f1)
    known: dict[tuple[str, str], Span] = {}
    for one in asked:
        for name, spans in one.spans.items():
            known.setdefault((one.item, normal(one.question)), (name, *spans[0]))
    made = Quoter(library, reader, weigh, threshold, settings.reviews_read, known)
    made.sureness = fit_sureness(
        np.asarray([reply.confidence for reply in replies]),
        np.asarray([bool(text) for text in said]),
        scores,
    )
    return made, Held(judged, scores)


def replies_of(
    learned: Sequence[Asked],
    asked: Sequence[Asked],
    library: Library,
    reader: SpanReader,
    settings: QuoterSettings,
    f1: Callable[[str, str], float],
) -> list[Reply]:
    """To `asked`, by the reader with what decides learned from `learned`: other questions."""
    weigh, threshold = decide(learned, library, reader, f1)
    frame = pd.DataFrame(
        {"item_id": [one.item for one in asked], "question": [one.question for one in asked]}
    )
    return Quoter(library, reader, weigh, threshold, settings.reviews_read, {}).replies(frame)


def pairs_of(one: Asked, library: Library) -> list[tuple[Example, np.ndarray, int]]:
    """A question with the reviews that answer it and those that look most as if; scores of `find`, and the place."""
    reviews = library.get(one.item, [])
    if not reviews:
        return []
    scores = find(one.question, reviews)
    order = np.argsort(-scores, kind="stable")
    wrong = [at for at in order if reviews[at].review_id not in one.spans][:NEGATIVES]
    right = [at for at in range(len(reviews)) if reviews[at].review_id in one.spans]
    return [
        (
            Example(one.question, reviews[at].text, one.spans.get(reviews[at].review_id, ())),
            scores,
            int(at),
        )
        for at in [*right, *wrong]
    ]


def decide(
    judged: Sequence[Asked],
    library: Library,
    reader: SpanReader,
    f1: Callable[[str, str], float],
) -> tuple[Linear, float]:
    """The weights of FEATURES, and the chance from which answering is best where half of the questions have one."""
    pairs = [pair for one in judged for pair in pairs_of(one, library)]
    truth = np.asarray([bool(example.spans) for example, _, _ in pairs], dtype=np.int64)
    if len(np.unique(truth)) < 2:
        return Linear(np.eye(len(FEATURES), 1), np.zeros(1)), 0.5
    read = reader.read([reader.passage(one.question, one.text) for one, _, _ in pairs])
    table = np.asarray(
        [
            features(one.question, one.text, (read.relevance[at], read.sureness[at]), scores, place)
            for at, (one, scores, place) in enumerate(pairs)
        ]
    )
    weigh = fit_head(table, truth, 2, STRENGTH)
    chances = 1 / (1 + np.exp(-weigh(table)[:, 0]))
    right = np.asarray(
        [
            max((f1(one.text[start:end], one.text[a:b]) for a, b in one.spans), default=0.0)
            for (one, _, _), (start, end) in zip(pairs, read.spans.tolist(), strict=True)
        ]
    )
    return weigh, best_threshold(chances, right, truth)


def best_threshold(chances: np.ndarray, gained: np.ndarray, truth: np.ndarray) -> float:
    """From which chance on to answer, so that the mean of both is highest: what is gained by answering what has an
    answer, relative to always answering, and the share of the rest that is left unanswered.

    chances, gained (n,): of each pair; truth (n,): 1 where it has an answer.
    """
    tried = np.quantile(chances, np.linspace(0, 0.95, 39))
    right, wrong = truth == 1, truth == 0
    whole = max(float(gained[right].mean()), 1e-9)
    values = [
        (gained[right] * (chances[right] >= value)).mean() / whole + (chances[wrong] < value).mean()
        for value in tried
    ]
    return float(tried[int(np.argmax(values))])

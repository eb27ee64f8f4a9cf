"""Fitting of the quoter: the reader on most of the marked questions, what decides on those that were held back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from models.encoders.text import TextEncoder
from models.language.finding import Finder, Looked
from models.language.finding_training import fit_weights
from models.language.library import Library, Review
from models.language.marked import Asked, Span, Taken, answered, gained
from models.language.polarity import Linear
from models.language.polarity_training import fit_head
from models.language.quoting import FEATURES, Quoter, features, heeding
from models.language.reader import SpanReader
from models.language.reader_training import Example, train
from models.language.settings import QuoterSettings
from models.language.sureness_training import fit_sureness
from models.language.telling import Reply
from models.training.settings import ONE, Devices

STRENGTH = 0.1
WEIGHED = 200
"""Questions that the finder's few weights are learned from at most: looking at an item's reviews takes long."""
HEED, TRUST, MOST_HEED = 1 / 3, 5.0, 3.0
"""The reader's weight in the order where nothing was learned, as of the finder's opinions; how strongly it is drawn to that, in
questions; and the most that it can be."""
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
    finder: Finder,
    settings: QuoterSettings,
    f1: Callable[[str, str], float],
    seed: int,
    say: Callable[[str], None] = lambda text: None,
    devices: Devices = ONE,
) -> tuple[Quoter, Held]:
    """The quoter fitted on `asked`. encoder: what the reader starts from. finder: untrained.

    f1: how good a given answer is for a marked one, from 0 to 1. devices: what the reader is trained on.
    """
    rng = np.random.default_rng(seed)
    items = sorted({one.item for one in asked})
    held = set(rng.permutation(items)[: max(round(settings.held * len(items)), 1)].tolist())
    known = answered(asked)
    taught = [one for one in asked if one.item not in held]
    finder = weighed(finder, taught, library, Taken(known), say)
    examples = [
        example
        for one in taught
        for example, _ in pairs_of(one, library, -finder.words(one.question, shelf(one, library)))
    ]
    reader = SpanReader.fresh(encoder, settings.reader.limit)
    say(f"training the reader on {len(examples)} pairs of a question and a review")
    train(reader, examples, settings.reader, seed, devices=devices)
    judged = [one for one in asked if one.item in held]
    say(f"choosing when to answer by {len(judged)} questions that were held back")
    # As of items that nothing is marked about: whether a review answers is not told by what others ask.
    looked = finder.look([one.question for one in judged], [shelf(one, library) for one in judged])
    orders = ordered(judged, looked, library, reader, settings.reviews_read)
    places = [range(0, len(judged), 2), range(1, len(judged), 2)]
    replies: list[Reply] = []
    for mine, others in (places, places[::-1]):
        apart = decide(
            [judged[at] for at in others],
            [looked[at] for at in others],
            [orders[at] for at in others],
            library,
            reader,
            f1,
        )
        frame = pd.DataFrame(
            {
                "item_id": [judged[at].item for at in mine],
                "question": [judged[at].question for at in mine],
            }
        )
        seen = [looked[at] for at in mine]
        replies += apart.quoter(library, finder, reader, settings).replies(frame, seen)
    whole = decide(judged, looked, orders, library, reader, f1)
    judged = [judged[at] for half in places for at in half]
    said = [reply.quotes[0].text if reply.quotes else "" for reply in replies]
    scores = np.asarray(gained(said, judged, library, f1))
    made = whole.quoter(library, finder, reader, settings, known)
    made.sureness = fit_sureness(
        np.asarray([reply.confidence for reply in replies]),
        np.asarray([bool(text) for text in said]),
        scores,
    )
    return made, Held(judged, scores)


def weighed(
    finder: Finder,
    asked: Sequence[Asked],
    library: Library,
    taken: Taken,
    say: Callable[[str], None] = lambda text: None,
) -> Finder:
    """The finder with weights that are learned from the questions `asked`. taken: what is known of an item's other questions.

    Nothing else of it learns, so that it looks at these as at any other.
    """
    telling = [one for one in asked if one.spans and len(shelf(one, library)) > 1]
    spread = np.linspace(0, len(telling), min(len(telling), WEIGHED), endpoint=False)
    telling = [telling[at] for at in spread.astype(int)]
    say(f"weighing what finds reviews by {len(telling)} questions")
    questions, shelves = (
        [one.question for one in telling],
        [shelf(one, library) for one in telling],
    )
    marks = [taken(one.item, one.question, own) for one, own in zip(telling, shelves, strict=True)]
    right = [
        np.asarray([review.review_id in one.spans for review in own], dtype=bool)
        for one, own in zip(telling, shelves, strict=True)
    ]
    looked = finder.look(questions, shelves, marks)
    return finder.with_weights(fit_weights([one.known for one in looked], right))


def shelf(one: Asked, library: Library) -> Sequence[Review]:
    """The reviews that may answer a question."""
    return library.get(one.item, ())


def pairs_of(one: Asked, library: Library, order: np.ndarray) -> list[tuple[Example, int]]:
    """A question with the reviews that answer it and those that look most as if, each with its place.

    order: (n,) numbers of the item's reviews, the lowest of what looks most as if.
    """
    reviews = shelf(one, library)
    wrong = [
        at for at in np.argsort(order, kind="stable") if reviews[at].review_id not in one.spans
    ]
    right = [at for at in range(len(reviews)) if reviews[at].review_id in one.spans]
    return [
        (
            Example(one.question, reviews[at].text, one.spans.get(reviews[at].review_id, ())),
            int(at),
        )
        for at in [*right, *wrong[:NEGATIVES]]
    ]


@dataclass(frozen=True)
class Ordered:
    """The n reviews of an item that are read with a question: the finder's chances and what the reader, which has not learned
    from the question, says of each (n,), and whether it holds the answer."""

    chances: np.ndarray
    relevance: np.ndarray
    right: np.ndarray


def ordered(
    judged: Sequence[Asked],
    looked: Sequence[Looked],
    library: Library,
    reader: SpanReader,
    reviews_read: int,
) -> list[Ordered]:
    """Of each of `judged` the reviews that are read in answering, at most `reviews_read`; none where the question has no answer."""
    pairs = [
        (at, place)
        for at, one in enumerate(judged)
        if one.spans
        for place in looked[at].order[:reviews_read].tolist()
    ]
    reviews = [shelf(one, library) for one in judged]
    told = reader.read(
        [reader.passage(judged[at].question, reviews[at][place].text) for at, place in pairs]
    ).relevance
    whose = np.asarray([at for at, _ in pairs], dtype=np.int64)
    places = np.asarray([place for _, place in pairs], dtype=np.int64)
    found = []
    for at, one in enumerate(judged):
        mine = places[whose == at]
        right = [reviews[at][place].review_id in one.spans for place in mine.tolist()]
        found.append(
            Ordered(looked[at].chances[mine], told[whose == at], np.asarray(right, dtype=bool))
        )
    return found


@dataclass(frozen=True)
class Decision:
    """What decides which review answers and whether any does, as learned from questions."""

    heed: float
    weigh: Linear
    threshold: float

    def quoter(
        self,
        library: Library,
        finder: Finder,
        reader: SpanReader,
        settings: QuoterSettings,
        known: Mapping[tuple[str, str], Span] = MappingProxyType({}),
    ) -> Quoter:
        """The quoter that decides so."""
        given = (library, finder, reader, self.heed, self.weigh, self.threshold)
        return Quoter(*given, settings.reviews_read, known)


def decide(
    judged: Sequence[Asked],
    looked: Sequence[Looked],
    orders: Sequence[Ordered],
    library: Library,
    reader: SpanReader,
    f1: Callable[[str, str], float],
) -> Decision:
    """The weights of the reader and of FEATURES, and the chance from which answering is best where half of the questions have
    an answer. looked, orders: of the reviews of each of `judged`."""
    heed = fit_heed(orders)
    asked = [
        (at, *pair)
        for at, one in enumerate(judged)
        for pair in pairs_of(one, library, -looked[at].scores)
    ]
    truth = np.asarray([bool(one.spans) for _, one, _ in asked], dtype=np.int64)
    if len(np.unique(truth)) < 2:
        return Decision(heed, Linear(np.eye(len(FEATURES), 1), np.zeros(1)), 0.5)
    read = reader.read([reader.passage(one.question, one.text) for _, one, _ in asked])
    told = zip(read.relevance.tolist(), read.sureness.tolist(), strict=True)
    table = np.asarray(
        [
            features(one.question, one.text, pair, looked[at], place)
            for (at, one, place), pair in zip(asked, told, strict=True)
        ]
    )
    weigh = fit_head(table, truth, 2, STRENGTH)
    chances = 1 / (1 + np.exp(-weigh(table)[:, 0]))
    won = np.asarray(
        [
            max((f1(one.text[start:end], one.text[a:b]) for a, b in one.spans), default=0.0)
            for (_, one, _), (start, end) in zip(asked, read.spans.tolist(), strict=True)
        ]
    )
    return Decision(heed, weigh, best_threshold(chances, won, truth))


def fit_heed(orders: Sequence[Ordered]) -> float:
    """How much the reader counts beside the finder, so that reviews with the answer come first; HEED where nothing tells.

    By the cross-entropy of a softmax over a question's reviews, as of the finder's weights.
    """
    telling = [one for one in orders if 0 < one.right.sum() < len(one.right)]

    def cost(heed: float) -> float:
        value = TRUST * (heed - HEED) ** 2
        for one in telling:
            logs = log_softmax(heeding(one.chances, one.relevance, heed))
            value -= float(logs[one.right].mean())
        return value

    if not telling:
        return HEED
    return float(minimize_scalar(cost, bounds=(0.0, MOST_HEED), method="bounded").x)


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

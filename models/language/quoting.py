"""Answers quoted from reviews by a reader that was trained on marked questions.

A finder says which reviews are read; its order, and what the reader sees in them, say which of them answers. Whether it does
is decided by all that is known of it: what the reader sees, what the finder thinks, and how many of the question's words it has.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from models.bundle import Bundle
from models.encoders.ngrams import normal
from models.language import library as shelves_of
from models.language.finding import Finder, Looked, standing
from models.language.library import Library, Review
from models.language.marked import Span, Taken
from models.language.polarity import Linear
from models.language.reader import Passage, SpanReader
from models.language.sentiment import Sentiment
from models.language.sureness import Sureness
from models.language.telling import Quote, Reply, told

KIND = "quoter"
WORD = re.compile("[^\\W\\d_\u2e80-\u9fff\uac00-\ud7af]+|[\u2e80-\u9fff\uac00-\ud7af]{2}")
FILLING_TEXT = (
    "how what why when where who which is are was were be been do does did can could would will should has have had "
    "the a an this that these those it its of to in on for with and or not at by as so very like good great your you "
    "i my we our they their there get use using about any well many much would work works really best"
)
FILLING = frozenset(FILLING_TEXT.split())
STEM = 4
"""A word is in a text when its beginning is: all but its last two letters, at least so many."""
FEATURES = (
    "relevance",
    "sureness",
    "share",
    "last",
    "often",
    "found",
    "against others",
    "meaning",
    "reading",
    "length",
    "words",
    "alone",
)


class Quoter:
    """Which part of which review answers a question about an item, or none."""

    def __init__(
        self,
        library: Library,
        finder: Finder,
        reader: SpanReader,
        heed: float,
        weigh: Linear,
        threshold: float,
        reviews_read: int,
        known: Mapping[tuple[str, str], Span],
        sides: Sentiment | None = None,
    ) -> None:
        """library: item to its reviews. heed: how much the reader counts beside the finder in which reviews come first, in
        standard deviations of the reviews that are read. weigh: over FEATURES to a logit. threshold: the chance to answer from.

        reviews_read: at most, a question. known: answers that are marked already, by item and question. sides: tells which
        quotes praise, and so how opinions divide.
        """
        self.library = {item: list(reviews) for item, reviews in library.items()}
        self.finder, self.reader, self.heed = finder, reader, heed
        self.weigh, self.threshold = weigh, threshold
        self.reviews_read, self.known = reviews_read, dict(known)
        self._taken = Taken(known)
        self.sureness, self.sides = Sureness.untrained(), sides

    def shelved(self, library: Library) -> "Quoter":
        """The same model with other reviews."""
        made = Quoter(
            *(library, self.finder, self.reader, self.heed, self.weigh, self.threshold),
            *(self.reviews_read, self.known, self.sides),
        )
        made.sureness = self.sureness
        return made

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """One line a line of `frame`, and what it may give, as of `Answers.predict`."""
        return told(self.replies(frame), frame.index, self.sureness, self.sides)

    def replies(self, frame: pd.DataFrame, looked: Sequence[Looked] | None = None) -> list[Reply]:
        """To each line of `frame`. looked: at the reviews of each line, where that was done already."""
        questions, items = frame["question"].tolist(), frame["item_id"].tolist()
        given = frame["reviews"].tolist() if "reviews" in frame else [None] * len(frame)
        shelves = [
            self.library.get(item, [])
            if own is None
            else [Review(one["review_id"], one["text"]) for one in own]
            for item, own in zip(items, given, strict=True)
        ]
        pairs: list[tuple[int, int]] = []
        passages: list[Passage] = []
        if looked is None:
            taken = [self._taken(*one) for one in zip(items, questions, shelves, strict=True)]
            looked = self.finder.look(questions, shelves, taken)
        for row, (question, reviews) in enumerate(zip(questions, shelves, strict=True)):
            for place in looked[row].order[: self.reviews_read]:
                if question.strip() and reviews[place].text.strip():
                    pairs.append((row, int(place)))
                    passages.append(self.reader.passage(question, reviews[place].text))
        read = self.reader.read(passages)
        table = np.asarray(
            [
                features(
                    questions[row],
                    shelves[row][place].text,
                    (read.relevance[at], read.sureness[at]),
                    looked[row],
                    place,
                )
                for at, (row, place) in enumerate(pairs)
            ]
        ).reshape(-1, len(FEATURES))
        chances = 1 / (1 + np.exp(-self.weigh(table)[:, 0]))
        of: dict[int, list[int]] = {}
        for at, (row, _) in enumerate(pairs):
            of.setdefault(row, []).append(at)
        replies = []
        for row, reviews in enumerate(shelves):
            mine = of.get(row, [])
            known = [pairs[at][1] for at in mine]
            order = heeding(looked[row].chances[known], read.relevance[mine], self.heed)
            mine = [mine[at] for at in np.argsort(-order, kind="stable")]
            places = [pairs[at][1] for at in mine]
            rest = [at for at in looked[row].order.tolist() if at not in places]
            quotes = [
                Quote(reviews[pairs[at][1]], *read.spans[at].tolist())
                for at in mine
                if chances[at] >= self.threshold and read.spans[at, 1] > read.spans[at, 0]
            ]
            best = float(chances[mine[0]]) if mine else 0.0
            if quotes and quotes[0].review is not reviews[places[0]]:
                quotes = []
            speak = [reviews[place].review_id for place in [*places, *rest]]
            found = Reply(questions[row], quotes, best if quotes else 1 - best, speak)
            replies.append(self._marked(items[row], found))
        return replies

    def _marked(self, item: str, found: Reply) -> Reply:
        """What is found, the mark of the same question first where there is one."""
        name, start, end = self.known.get((item, normal(found.question)), ("", 0, 0))
        review = next((one for one in self.library.get(item, []) if one.review_id == name), None)
        if review is None:
            return found
        others = [quote for quote in found.quotes if quote.review.review_id != name]
        speak = [name, *(other for other in found.speak if other != name)]
        sure = max(found.confidence if found.quotes else 1 - found.confidence, 0.5)
        return Reply(found.question, [Quote(review, start, end), *others], sure, speak)

    def to_bundle(self) -> Bundle:
        """Weights and what is marked; as members the reviews and the reader."""
        spans = np.asarray([[s, e] for _, s, e in self.known.values()], dtype=np.int64)
        return Bundle(
            KIND,
            {
                "heed": self.heed,
                "threshold": self.threshold,
                "reviews_read": self.reviews_read,
            },
            {
                "weigh.weights": self.weigh.weights,
                "weigh.bias": self.weigh.bias,
                "known": spans.reshape(-1, 2),
                "sureness": self.sureness.lines,
            },
            {
                "known_items": [item for item, _ in self.known],
                "known_questions": [question for _, question in self.known],
                "known_reviews": [name for name, _, _ in self.known.values()],
            },
            {
                **({"sides": self.sides.to_bundle()} if self.sides else {}),
                "finder": self.finder.to_bundle(),
                "library": shelves_of.to_bundle(self.library),
                "reader": self.reader.to_bundle(),
            },
        )

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Quoter":
        """The model that `to_bundle` gave."""
        words, tensors = bundle.vocabulary, bundle.tensors
        known = {
            (item, question): (name, int(start), int(end))
            for item, question, name, (start, end) in zip(
                words["known_items"],
                words["known_questions"],
                words["known_reviews"],
                tensors["known"],
                strict=True,
            )
        }
        sides = bundle.members.get("sides")
        made = cls(
            shelves_of.from_bundle(bundle.members["library"]),
            Finder.from_bundle(bundle.members["finder"]),
            SpanReader.from_bundle(bundle.members["reader"]),
            bundle.config["heed"],
            Linear(tensors["weigh.weights"], tensors["weigh.bias"]),
            bundle.config["threshold"],
            bundle.config["reviews_read"],
            known,
            Sentiment.from_bundle(sides) if sides else None,
        )
        made.sureness = Sureness(tensors["sureness"])
        return made


def heeding(chances: np.ndarray, relevance: np.ndarray, heed: float) -> np.ndarray:
    """How likely each of n reviews of one item is to answer, (n,): the finder's chances and `heed` times what the reader says."""
    return chances + heed * standing(relevance[:, None])[:, 0]


def hits(question: str, text: str) -> tuple[float, float, float, float]:
    """Of the question's telling words: the share that the text has, whether it has the last, how often, how many.

    >>> hits("How is the battery life?", "Batteries last, life is good.")[:2]
    (1.0, 1.0)
    """
    words = [word for word in WORD.findall(normal(question)) if word not in FILLING]
    if not words:
        return 0.5, 0.5, 0.0, 0.0
    body = normal(text)
    often = [body.count(word[: max(STEM, len(word) - 2)]) for word in words]
    share = sum(count > 0 for count in often) / len(words)
    return share, float(often[-1] > 0), float(np.log1p(sum(often))), float(len(words))


def features(
    question: str, text: str, read: tuple[float, float], looked: Looked, place: int
) -> list[float]:
    """The values of FEATURES of one question with one review. looked: at the item's reviews."""
    share, last, often, words = hits(question, text)
    scores = looked.scores
    others = np.delete(scores, place)
    ahead = float(scores[place] - others.max()) if len(others) else 0.0
    alone = float(not len(others))
    length = float(np.log1p(len(text)))
    _, meaning, reading, _ = looked.known[place].tolist()
    found = [float(scores[place]), ahead, meaning, reading]
    return [*read, share, last, often, *found, length, words, alone]

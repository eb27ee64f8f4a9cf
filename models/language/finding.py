"""Which of an item's reviews speak of what a question asks.

Three frozen opinions of each review, put side by side within the item's reviews and summed: how many of the question's rare
words it has, how near its nearest sentence is in meaning, and what a cross-encoder says of its nearest sentences. Beside
these it is known whether another question's answer is marked in a review. How much each counts is learned from questions whose
reviews are marked. Source of reading again what words and vectors found: Nogueira and Cho (2019), Passage Re-ranking with BERT.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.bundle import Bundle
from models.encoders.ngrams import Grams, bucket_ids, hashed_ngrams
from models.encoders.reranker import Reranker
from models.encoders.text import TextEncoder
from models.language.library import Library, Review
from models.language.passages import sentences

KIND = "finder"
OPINIONS = ("words", "meaning", "reading")
COLUMNS = (*OPINIONS, "taken")
"""What is known of a review: the opinions of what it says, and whether another question's answer is marked in it (1, else 0)."""
EVEN = np.array([1 / len(OPINIONS)] * len(OPINIONS) + [0.0])
"""What each counts where nothing was learned."""
GRAMS = Grams(words=1, low=0, high=0, buckets=1 << 20)
SKIMMED = 24
"""Reviews of an item whose meaning is looked at: the best by words."""
READ = 12
"""Of these, how many the cross-encoder reads with the question: the best by words and meaning."""
SENTENCES = 3
"""Of each: those nearest to the question."""
LEAST = np.array([0.0, -1.0, -20.0])
"""Of each opinion, what is below all that it gives."""
BATCH = 64
KEPT = 20_000
"""Sentences whose vectors stay in memory for the next question."""


@dataclass(frozen=True)
class Rarity:
    """How rare words are in a shop's reviews. ids (m,): buckets, ascending; counts (m,): texts that have each; texts: all."""

    ids: np.ndarray
    counts: np.ndarray
    texts: int

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Rarity":
        values, _ = hashed_ngrams(texts, GRAMS)
        ids, counts = np.unique(bucket_ids(values, GRAMS.buckets), return_counts=True)
        return cls(ids, counts, len(texts))

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        """The inverse document frequency of each bucket (n,): log of (1 + texts) / (1 + texts with it), plus 1."""
        found = np.zeros(len(ids))
        if len(self.ids):
            at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
            found = np.where(self.ids[at] == ids, self.counts[at], 0)
        return np.log((1 + self.texts) / (1 + found)) + 1


@dataclass(frozen=True)
class Looked:
    """What is thought of n reviews. known (n, 4): COLUMNS as they are; scores (n,): how well each answers by what it says;
    chances (n,): logarithms, up to a constant, of how likely each is to be the one that answers, by all that is known."""

    known: np.ndarray
    scores: np.ndarray
    chances: np.ndarray

    @property
    def order(self) -> np.ndarray:
        """Places of the reviews, the likeliest first."""
        return np.argsort(-self.chances, kind="stable")


class Finder:
    """Puts reviews in the order in which they are likely to answer."""

    def __init__(
        self,
        encoder: TextEncoder,
        reranker: Reranker | None,
        rarity: Rarity,
        weights: np.ndarray = EVEN,
    ) -> None:
        """reranker: None where it can't read the language; meaning then speaks for it. weights (4,): of COLUMNS."""
        self.encoder, self.reranker, self.rarity, self.weights = encoder, reranker, rarity, weights
        self._kept: dict[str, np.ndarray] = {}

    @classmethod
    def untrained(
        cls, library: Library, encoder: TextEncoder, reranker: Reranker | None
    ) -> "Finder":
        """All opinions count the same, and what is taken not at all."""
        texts = [review.text for reviews in library.values() for review in reviews]
        return cls(encoder, reranker, Rarity.of(texts))

    def with_weights(self, weights: np.ndarray) -> "Finder":
        """The same with other weights (4,)."""
        return Finder(self.encoder, self.reranker, self.rarity, weights)

    def words(self, question: str, reviews: Sequence[Review]) -> np.ndarray:
        """(n,): cosine of the question and each review as sets of words, the rare ones longer.

        Source: Salton and Buckley (1988), Term-weighting approaches in automatic text retrieval (binary tf).
        """
        values, offsets = hashed_ngrams([question, *(one.text for one in reviews)], GRAMS)
        ids = bucket_ids(values, GRAMS.buckets)
        squares = self.rarity(ids) ** 2
        owner = np.repeat(np.arange(len(reviews) + 1), np.diff(offsets))
        lengths = np.sqrt(np.bincount(owner, squares, len(reviews) + 1))
        shared = np.where(np.isin(ids, ids[: offsets[1]]), squares, 0.0)
        products = np.bincount(owner, shared, len(reviews) + 1)
        return products[1:] / np.maximum(lengths[1:] * lengths[0], 1e-9)

    def look(
        self,
        questions: Sequence[str],
        shelves: Sequence[Sequence[Review]],
        taken: Sequence[np.ndarray] | None = None,
    ) -> list[Looked]:
        """What is thought of the reviews on each question's shelf. taken: of each shelf (n,) whether another question's answer
        is marked in the review; None: in none.

        A review that was not skimmed, or not read, is thought as much of as the worst that was.
        """
        found = []
        skimmed: list[tuple[int, int, list[str]]] = []
        for at, (question, reviews) in enumerate(zip(questions, shelves, strict=True)):
            table = np.full((len(reviews), len(OPINIONS)), -np.inf)
            table[:, 0] = self.words(question, reviews)
            for place in np.argsort(-table[:, 0], kind="stable")[:SKIMMED]:
                text = reviews[place].text
                slices = [text[start:end] for start, end in sentences(text)]
                skimmed.append((at, int(place), slices))
            found.append(table)
        near = self._meaning(questions, skimmed, found)
        if self.reranker is None:
            for table in found:
                table[:, 2] = table[:, 1]
        else:
            self._reading(questions, near, found, self.reranker)
        for table in found:
            least = np.where(np.isfinite(table), table, np.inf).min(0, initial=np.inf)
            least = np.where(np.isfinite(least), least, LEAST)
            table[:] = np.where(np.isfinite(table), table, least)
        told = [np.zeros(len(table)) for table in found] if taken is None else taken
        return [
            self.weighed(np.column_stack([table, marks]))
            for table, marks in zip(found, told, strict=True)
        ]

    def weighed(self, known: np.ndarray) -> Looked:
        """What is thought of reviews by what is known of them (n, 4)."""
        parts = standing(known) * self.weights
        return Looked(known, parts[:, : len(OPINIONS)].sum(1), parts.sum(1))

    def _meaning(
        self,
        questions: Sequence[str],
        skimmed: Sequence[tuple[int, int, list[str]]],
        found: Sequence[np.ndarray],
    ) -> list[list[tuple[int, list[str]]]]:
        """Fill in how near each of the reviews `skimmed` (question, place, sentences) is; of each question, the places of
        those to be read, with their nearest sentences."""
        vectors = self._vectors([text for *_, texts in skimmed for text in texts])
        asked = self.encoder.encode(questions, BATCH)
        nearest: dict[tuple[int, int], list[str]] = {}
        start = 0
        for at, place, texts in skimmed:
            cosines = vectors[start : start + len(texts)] @ asked[at]
            start += len(texts)
            found[at][place, 1] = cosines.max(initial=LEAST[1])
            order = np.argsort(-cosines, kind="stable")[:SENTENCES]
            nearest[at, place] = [texts[row] for row in order]
        near = []
        for at, table in enumerate(found):
            places = np.flatnonzero(np.isfinite(table[:, 1]))
            order = np.argsort(-standing(table[places, :2]).sum(1), kind="stable")[:READ]
            near.append([(place, nearest[at, place]) for place in places[order].tolist()])
        return near

    def _vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Of sentences (n, width); those that were asked for lately are not encoded again."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._kept]
        if len(self._kept) + len(fresh) > KEPT:
            self._kept, fresh = {}, list(dict.fromkeys(texts))
        self._kept.update(zip(fresh, self.encoder.encode(fresh, BATCH), strict=True))
        found = [self._kept[text] for text in texts]
        return np.stack(found) if found else np.zeros((0, self.encoder.width), np.float32)

    def _reading(
        self,
        questions: Sequence[str],
        near: Sequence[Sequence[tuple[int, list[str]]]],
        found: Sequence[np.ndarray],
        reranker: Reranker,
    ) -> None:
        """Fill in what the cross-encoder says: of all sentences of a review that are read, as one logit."""
        pairs = [
            (at, place, text)
            for at, read in enumerate(near)
            for place, texts in read
            for text in texts
        ]
        told = reranker.score([questions[at] for at, *_ in pairs], [text for *_, text in pairs])
        for (at, place, _), logit in zip(pairs, told.tolist(), strict=True):
            found[at][place, 2] = np.logaddexp(found[at][place, 2], logit)

    def to_bundle(self) -> Bundle:
        """Rarity and weights; as members encoder and reranker."""
        members = {"encoder": self.encoder.to_bundle()}
        if self.reranker is not None:
            members["reranker"] = self.reranker.to_bundle()
        tensors = {"ids": self.rarity.ids, "counts": self.rarity.counts, "weights": self.weights}
        return Bundle(KIND, {"texts": self.rarity.texts}, tensors, {}, members)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Finder":
        """The finder that `to_bundle` gave."""
        reranker = bundle.members.get("reranker")
        tensors = bundle.tensors
        return cls(
            TextEncoder.from_bundle(bundle.members["encoder"]),
            Reranker.from_bundle(reranker) if reranker else None,
            Rarity(tensors["ids"], tensors["counts"], bundle.config["texts"]),
            tensors["weights"],
        )


def standing(opinions: np.ndarray) -> np.ndarray:
    """Opinions (n, k) of one item's reviews, less their mean, in standard deviations; 0 where all are alike.

    >>> standing(np.array([[1.0, 5.0], [3.0, 5.0]])).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    if not len(opinions):
        return opinions
    apart = opinions - opinions.mean(0)
    spread = opinions.std(0)
    return np.divide(apart, spread, out=np.zeros_like(apart), where=spread > 1e-9)

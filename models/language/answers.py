"""Answers to questions about an item, quoted from its reviews, or none.

The sentences of the item's reviews are found by their words (BM25) and by their meaning (the vector of a frozen
encoder), read together with the question by a frozen cross-encoder, and scored by a small trained model that weighs
them against "no answer". What is answered is always a slice of a review.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from models.arrays import load_arrays, state_arrays
from models.bundle import Bundle
from models.encoders.reranker import Progress, Reranker
from models.encoders.text import TextEncoder
from models.language import library as shelves_of
from models.language.library import Library, Review
from models.language.passages import Index, sentences
from models.language.polarity import CJK
from models.language.sentiment import Sentiment
from models.language.sureness import Sureness
from models.language.telling import Quote, Reply, told

ENCODER_BATCH = 32
FUSION = 10
"""Ranks are fused as 1 / (FUSION + rank). Source: Cormack, Clarke and Büttcher (2009), Reciprocal Rank Fusion."""
ENOUGH, UNRELATED = 4, 0.86
"""Sentences from which on their mean cosine with a question is what those that don't answer have; else so much is taken."""
AMOUNT_ASKED = re.compile(
    r"\bhow (?:many|much|long|far|heavy|often|high|fast|big|large|small|old|late|soon)\b|\bwhat .*\b(?:cost|charge|price|weigh)"
    "|\\b(?:largest|highest|fastest|longest) \\w+|多少|几|多[久大长重远]"
)
AMOUNT_TOLD = re.compile(r"\d|[一二三四五六七八九十百千万两]")
FEATURES = (
    "reading",  # logit of the cross-encoder
    "lead",  # that less the best of the question's other candidates
    "meaning",  # cosine of the encoder's vectors
    "words",  # BM25 over the best of the item's sentences
    "length",  # logarithm of characters
    "amount",  # an amount is asked for: 1 where the sentence has one, -1 where not; else 0
    "asks",  # the sentence is a question itself
)


@dataclass(frozen=True)
class Shelf:
    """The sentences of one item's reviews: n of them.

    owner (n,): which review; starts, ends (n,): slices of its text. vectors (n, width) float32.
    """

    reviews: Sequence[Review]
    owner: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    texts: list[str]
    vectors: np.ndarray
    index: Index

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Found:
    """The candidates of q questions, at most k each, best first by rank fusion.

    rows (q, k): sentences of the question's shelf, -1 where there are fewer. features (q, k, len(FEATURES)) float32.
    """

    rows: np.ndarray
    features: np.ndarray

    @property
    def present(self) -> np.ndarray:
        return self.rows >= 0


class Scorer(nn.Module):
    """Logits (q, k + 1): one a candidate, minus infinity where there is none, and at last that of "no answer"."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Linear(len(FEATURES), 1, bias=False)
        self.none = nn.Parameter(torch.zeros(1))
        self.mean: torch.Tensor
        self.scale: torch.Tensor
        self.margin: torch.Tensor
        self.register_buffer("mean", torch.zeros(len(FEATURES)))
        self.register_buffer("scale", torch.ones(len(FEATURES)))
        self.register_buffer("margin", torch.zeros(1))

    @classmethod
    def plain(cls, none: float) -> "Scorer":
        """Untrained: candidates in the order of the cross-encoder, no answer where it says less than `none`."""
        made = cls()
        with torch.no_grad():
            made.weigh.weight.zero_()
            made.weigh.weight[0, FEATURES.index("reading")] = 1.0
            made.none.fill_(none)
        return made

    def forward(self, features: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        logits = self.weigh((features - self.mean) / self.scale).squeeze(-1)
        none = self.none.expand(len(logits), 1)
        return torch.cat([logits.masked_fill(~present, -torch.inf), none], dim=1)


class Answers:
    """The best sentence of an item's reviews for a question, or "" where none answers it."""

    def __init__(
        self,
        library: Library,
        vectors: Mapping[str, np.ndarray],
        encoder: TextEncoder,
        reranker: Reranker,
        scorer: Scorer,
        candidates: int,
        sides: Sentiment | None = None,
        meant: Sequence[float] | None = None,
    ) -> None:
        """library: item to its reviews. vectors: item to those of their sentences. candidates: read a question.

        sides: tells which quotes praise, and so how opinions divide. meant: slope and shift that make the logit of
        what is Chinese from how far a sentence's cosine is above that of the others, where the encoder can read Chinese and
        the reranker can't.
        """
        self.library = {item: list(library[item]) for item in sorted(library)}
        self.vectors = dict(vectors)
        self.encoder, self.reranker, self.scorer = encoder, reranker, scorer.eval()
        self.candidates = candidates
        self.sureness, self.sides = Sureness.untrained(), sides
        self.meant = meant
        self._shelves: dict[str, Shelf] = {}

    @classmethod
    def untrained(
        cls,
        library: Library,
        encoder: TextEncoder,
        reranker: Reranker,
        candidates: int,
        progress: Progress = lambda done, what: None,
        known: Mapping[str, np.ndarray] | None = None,
    ) -> "Answers":
        """Everything but the trained scorer; the sentences of all reviews are encoded.

        known: texts with the vectors (width,) that this encoder gave them before.
        """
        texts = {
            item: [
                review.text[start:end]
                for review in library[item]
                for start, end in sentences(review.text)
            ]
            for item in sorted(library)
        }
        flat = [text for item in texts for text in texts[item]]
        known = known or {}
        encoded = np.zeros((len(flat), encoder.width), dtype=np.float16)
        fresh = [row for row, text in enumerate(flat) if text not in known]
        encoded[fresh] = encoder.encode([flat[row] for row in fresh], ENCODER_BATCH, progress)
        for row, text in enumerate(flat):
            if text in known:
                encoded[row] = known[text]
        bounds = np.cumsum([0, *(len(found) for found in texts.values())])
        vectors = {
            item: encoded[a:b] for item, a, b in zip(texts, bounds, bounds[1:], strict=False)
        }
        return cls(library, vectors, encoder, reranker, Scorer(), candidates)

    def shelved(self, library: Library, progress: Progress = lambda done, what: None) -> "Answers":
        """The same model with other reviews; of sentences that it has already the vectors stay."""
        known = {
            text: vector
            for item, reviews in self.library.items()
            for text, vector in zip(
                (one.text[a:b] for one in reviews for a, b in sentences(one.text)),
                self.vectors[item],
                strict=True,
            )
        }
        made = Answers.untrained(
            library, self.encoder, self.reranker, self.candidates, progress, known
        )
        made.scorer, made.sureness, made.sides = self.scorer, self.sureness, self.sides
        made.meant = self.meant
        return made

    def shelf(self, item: str) -> Shelf:
        """The sentences of the item's own reviews; empty where none is known."""
        if item not in self._shelves:
            reviews = self.library.get(item, [])
            self._shelves[item] = self._stack(reviews, self.vectors.get(item))
        return self._shelves[item]

    def _stack(self, reviews: Sequence[Review], vectors: np.ndarray | None) -> Shelf:
        slices = [
            (at, start, end)
            for at, review in enumerate(reviews)
            for start, end in sentences(review.text)
        ]
        texts = [reviews[at].text[start:end] for at, start, end in slices]
        if vectors is None:
            vectors = self.encoder.encode(texts, ENCODER_BATCH)
        places = np.asarray(slices, dtype=np.int64).reshape(-1, 3)
        return Shelf(
            reviews,
            places[:, 0],
            places[:, 1],
            places[:, 2],
            texts,
            np.asarray(vectors, dtype=np.float32),
            Index.of(texts),
        )

    def find(
        self,
        questions: Sequence[str],
        shelves: Sequence[Shelf],
        progress: Progress = lambda done, what: None,
    ) -> Found:
        """Candidates of each of `questions` (q,) among the sentences of its shelf (q,)."""
        count, width = len(questions), max(self.candidates, 1)
        rows = np.full((count, width), -1, dtype=np.int64)
        features = np.zeros((count, width, len(FEATURES)), dtype=np.float32)
        centres = np.full(count, UNRELATED, dtype=np.float32)
        asked = self.encoder.encode(questions, ENCODER_BATCH)
        for at, (question, shelf) in enumerate(zip(questions, shelves, strict=True)):
            if not len(shelf) or not question.strip():
                continue
            meaning = shelf.vectors @ asked[at]
            words = shelf.index.search(question)
            if len(shelf) >= ENOUGH:
                centres[at] = meaning.mean()
            fused = 1.0 / (FUSION + _ranks(meaning)) + 1.0 / (FUSION + _ranks(words))
            best = np.argsort(-fused, kind="stable")[:width]
            rows[at, : len(best)] = best
            amount = bool(AMOUNT_ASKED.search(question.lower()))
            told = [bool(AMOUNT_TOLD.search(shelf.texts[row])) for row in best]
            features[at, : len(best), 2] = meaning[best]
            features[at, : len(best), 3] = words[best] / max(words.max(), 1e-6)
            features[at, : len(best), 4] = [np.log(len(shelf.texts[row])) for row in best]
            features[at, : len(best), 5] = amount * (2.0 * np.asarray(told) - 1.0)
            features[at, : len(best), 6] = [shelf.texts[row][-1] in "?？" for row in best]
        pairs = np.argwhere(rows >= 0)
        read = self.reranker.score(
            [questions[at] for at, _ in pairs],
            [shelves[at].texts[rows[at, place]] for at, place in pairs],
            progress,
        )
        if self.meant:
            slope, shift = self.meant
            texts = [questions[at] + shelves[at].texts[rows[at, place]] for at, place in pairs]
            foreign = [bool(CJK.search(text)) for text in texts]
            ahead = features[pairs[:, 0], pairs[:, 1], 2] - centres[pairs[:, 0]]
            read = np.where(foreign, slope * ahead + shift, read)
        features[pairs[:, 0], pairs[:, 1], 0] = read
        features[..., 1] = _lead(features[..., 0], rows >= 0)
        return Found(rows, features)

    @torch.inference_mode()
    def logits(self, found: Found) -> np.ndarray:
        """(q, k + 1) float64, see `Scorer`."""
        given = torch.from_numpy(found.features), torch.from_numpy(found.present)
        return self.scorer(*given).double().numpy()

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """One line a line of `frame`: item_id, question, [reviews: list of {"review_id", "text"}].

        Where `reviews` is given for a row, they are searched; else those of the item that the model was made with.
        Columns: see `telling.told`.
        """
        questions = frame["question"].tolist()
        shelves = self.shelves(frame)
        found = self.find(questions, shelves)
        replies = self.replies(questions, shelves, found, self.logits(found))
        return told(replies, frame.index, self.sureness, self.sides)

    def shelves(self, frame: pd.DataFrame) -> list[Shelf]:
        """What is searched for each line of `frame`, as of `predict`."""
        given = frame["reviews"].tolist() if "reviews" in frame else [None] * len(frame)
        return [
            self.shelf(item) if own is None else self._own(own)
            for item, own in zip(frame["item_id"].tolist(), given, strict=True)
        ]

    def replies(
        self,
        questions: Sequence[str],
        shelves: Sequence[Shelf],
        found: Found,
        logits: np.ndarray,
    ) -> list[Reply]:
        """To each of q questions with its shelf. logits (q, k + 1): as of `Scorer`, of the candidates `found`."""
        margin = float(self.scorer.margin)
        return [
            reply(question, shelf, rows, line, margin)
            for question, shelf, rows, line in zip(
                questions, shelves, found.rows, logits, strict=True
            )
        ]

    def _own(self, reviews: Sequence[Mapping[str, str]]) -> Shelf:
        return self._stack([Review(entry["review_id"], entry["text"]) for entry in reviews], None)

    def to_bundle(self) -> Bundle:
        """The scorer; as members the reviews, with the vectors of their sentences in float16, encoder and reranker."""
        stacked = [self.vectors[item].reshape(-1, self.encoder.width) for item in self.library]
        empty = np.zeros((0, self.encoder.width), dtype=np.float16)
        vectors = np.concatenate([empty, *stacked]).astype(np.float16)
        return Bundle(
            "answers",
            {"candidates": self.candidates, "meant": self.meant and list(self.meant)},
            {**state_arrays(self.scorer), "sureness": self.sureness.lines},
            {},
            {
                **({"sides": self.sides.to_bundle()} if self.sides else {}),
                "library": shelves_of.to_bundle(self.library, {"vectors": vectors}),
                "encoder": self.encoder.to_bundle(),
                "reranker": self.reranker.to_bundle(),
            },
        )

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Answers":
        """The model that `to_bundle` gave."""
        kept = bundle.members["library"]
        library = shelves_of.from_bundle(kept)
        counts = [
            sum(len(sentences(review.text)) for review in reviews) for reviews in library.values()
        ]
        bounds = np.cumsum([0, *counts])
        flat = kept.tensors["vectors"]
        vectors = {item: flat[a:b] for item, a, b in zip(library, bounds, bounds[1:], strict=False)}
        scorer = Scorer()
        tensors = dict(bundle.tensors)
        lines = tensors.pop("sureness")
        load_arrays(scorer, tensors)
        sides = bundle.members.get("sides")
        made = cls(
            library,
            vectors,
            TextEncoder.from_bundle(bundle.members["encoder"]),
            Reranker.from_bundle(bundle.members["reranker"]),
            scorer,
            bundle.config["candidates"],
            Sentiment.from_bundle(sides) if sides else None,
            bundle.config["meant"],
        )
        made.sureness = Sureness(lines)
        return made


def reply(
    question: str, shelf: Shelf, rows: np.ndarray, logits: np.ndarray, margin: float
) -> Reply:
    """What is answered to one question.

    rows (k,), logits (k + 1,): as of `Found` and `Scorer`. margin: how far above "no answer" a quote must be.
    """
    chances = np.exp(logits - logits.max())
    chances /= chances.sum()
    order = [at for at in np.argsort(-logits[:-1], kind="stable") if rows[at] >= 0]
    best: dict[str, int] = {}
    for at in order:
        best.setdefault(shelf.reviews[shelf.owner[rows[at]]].review_id, at)
    quotes = [
        Quote(
            shelf.reviews[shelf.owner[rows[at]]],
            int(shelf.starts[rows[at]]),
            int(shelf.ends[rows[at]]),
        )
        for at in best.values()
        if logits[at] > logits[-1] + margin
    ]
    sure = chances[order[0]] if quotes else chances[-1]
    return Reply(question, quotes, float(sure), list(best))


def _ranks(scores: np.ndarray) -> np.ndarray:
    """(n,): 0 for the highest; equal scores in their order."""
    ranks = np.empty(len(scores), dtype=np.int64)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    return ranks


def _lead(read: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(q, k): each value less the highest of the row's others; 0 where there is no other."""
    filled = np.where(present, read, -np.inf)
    if filled.shape[1] < 2:
        return np.zeros_like(read)
    top = np.sort(filled, axis=1)[:, -2:]
    other = np.where(filled == top[:, 1:], top[:, :1], top[:, 1:])
    return np.where(present & np.isfinite(other), read - other, 0.0).astype(np.float32)

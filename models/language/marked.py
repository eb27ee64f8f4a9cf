"""Questions whose answers people marked in reviews."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.encoders.ngrams import normal
from models.language.library import Library, Review

Span = tuple[str, int, int]
"""A review and a slice of its text."""


@dataclass(frozen=True)
class Marked:
    """Where a question's answer is marked; review_id None: the reviews hold none."""

    review_id: str | None
    start: int
    end: int


@dataclass(frozen=True)
class Asked:
    """One question about an item. spans: review to the answers marked in it; none: it has no answer."""

    item: str
    question: str
    spans: Mapping[str, tuple[tuple[int, int], ...]]

    def answers(self, library: Library) -> list[str]:
        """All texts that are marked."""
        texts = {one.review_id: one.text for one in library.get(self.item, ())}
        return [texts[name][a:b] for name, spans in self.spans.items() for a, b in spans]


def merged(items: Sequence[str], questions: Sequence[str], marks: Sequence[Marked]) -> list[Asked]:
    """Each question once, with all answers that anyone marked: one that somebody found is there."""
    found: dict[tuple[str, str], dict[str, list[tuple[int, int]]]] = {}
    for item, question, mark in zip(items, questions, marks, strict=True):
        spans = found.setdefault((item, question), {})
        if mark.review_id is not None:
            spans.setdefault(mark.review_id, []).append((mark.start, mark.end))
    return [
        Asked(item, question, {name: tuple(sorted(set(of))) for name, of in spans.items()})
        for (item, question), spans in found.items()
    ]


def gained(
    said: Sequence[str],
    asked: Sequence[Asked],
    library: Library,
    f1: Callable[[str, str], float],
) -> list[float]:
    """How good each of the answers `said` (n,) is for what is marked, 0 to 1, by its best mark. f1: of two texts."""
    return [
        max(f1(text, mark) for mark in one.answers(library) or [""])
        for text, one in zip(said, asked, strict=True)
    ]


def answered(asked: Sequence[Asked]) -> dict[tuple[str, str], Span]:
    """Item and question, as `normal` writes it, to its first marked answer."""
    found: dict[tuple[str, str], Span] = {}
    for one in asked:
        for name, spans in one.spans.items():
            found.setdefault((one.item, normal(one.question)), (name, *spans[0]))
    return found


class Taken:
    """Which reviews hold the marked answers of which questions."""

    def __init__(self, known: Mapping[tuple[str, str], Span]) -> None:
        """known: as of `answered`."""
        self._questions: dict[tuple[str, str], set[str]] = {}
        for (item, question), (name, *_) in known.items():
            self._questions.setdefault((item, name), set()).add(question)

    def __call__(self, item: str, question: str, reviews: Sequence[Review]) -> np.ndarray:
        """(n,): 1 for each of the item's `reviews` that answers another question than this, else 0."""
        own = {normal(question)}
        found = [self._questions.get((item, one.review_id), own) - own for one in reviews]
        return np.asarray([float(bool(others)) for others in found])

"""The reviews that answers are quoted from, by item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.bundle import Bundle

KIND = "library"


@dataclass(frozen=True)
class Review:
    """One review that answers may quote. date: YYYY-MM-DD, "" where unknown; stars: None where unknown."""

    review_id: str
    text: str
    date: str = ""
    stars: float | None = None


Library = Mapping[str, Sequence[Review]]
"""Item to its reviews."""


def to_bundle(library: Library, tensors: Mapping[str, np.ndarray] | None = None) -> Bundle:
    """The reviews as vocabulary, with what else is known of them.

    It is a bundle of its own inside a model's, so that what was fitted stays the same, byte for byte, when reviews come.
    """
    flat = [(item, review) for item in library for review in library[item]]
    stars = np.asarray(
        [np.nan if one.stars is None else one.stars for _, one in flat], dtype=np.float32
    )
    words = {
        "items": [item for item, _ in flat],
        "review_ids": [review.review_id for _, review in flat],
        "texts": [review.text for _, review in flat],
        "dates": [review.date for _, review in flat],
    }
    return Bundle(KIND, {}, {"stars": stars, **(tensors or {})}, words)


def from_bundle(bundle: Bundle) -> dict[str, list[Review]]:
    """The reviews that `to_bundle` was given."""
    words = bundle.vocabulary
    library: dict[str, list[Review]] = {}
    for item, name, text, date, stars in zip(
        words["items"],
        words["review_ids"],
        words["texts"],
        words["dates"],
        bundle.tensors["stars"].tolist(),
        strict=True,
    ):
        known = stars if stars == stars else None
        library.setdefault(item, []).append(Review(name, text, date, known))
    return library

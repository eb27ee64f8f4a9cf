"""The trained recommender, at inference: two towers over one history, and a term for buying again.

A user is the decayed sum of the history's item vectors, so that a new user with a handful of events is served without
training; an item is a vector learnt from behaviour, from its content (text, picture, attributes), or from both. The
score of item i for user u is

    s(u, i) = q_i . sum_j w_uj p_j / sqrt(sum_j w_uj + 1)  +  b . g_i  +  r(u, i)

with w_uj = log(1 + decayed counts of j mixed by learnt weights), g_i how popular i is lately, and r a small network
on how often and how lately u bought i itself. Sources: Covington et al. (2016), Deep neural networks for YouTube
recommendations (histories as bags); Hu et al. (2020), Modeling personalized item frequency information for
next-basket recommendation (decayed personal counts).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd

from models.bundle import Bundle
from models.recommenders import base
from models.recommenders.base import Recommender
from models.recommenders.events import HALF_LIVES, Events, Histories

POPULARITY_HALF_LIFE = 30.0
PAIR_FEATURES = len(HALF_LIVES) + 4


def softplus(values: np.ndarray) -> np.ndarray:
    return np.logaddexp(values, 0.0)


def popularity_feature(events: Events) -> np.ndarray:
    """g_i: log of one plus the decayed number of events, scaled to at most 1, (items,) float32."""
    weight = np.log1p(events.popularity(POPULARITY_HALF_LIFE))
    return (weight / max(float(weight.max(initial=0.0)), 1e-9)).astype(np.float32)


def repeat_rate(events: Events) -> np.ndarray:
    """How often who bought an item bought it again, shrunk to the mean of all, (items,) float32."""
    histories = events.histories
    pairs = np.bincount(histories.item, minlength=len(events.items)).astype(float)
    again = np.bincount(histories.item, histories.count > 1, minlength=len(events.items))
    mean = again.sum() / max(pairs.sum(), 1.0)
    return ((again + 5.0 * mean) / (pairs + 5.0)).astype(np.float32)


def pair_features(histories: Histories, popular: np.ndarray, repeats: np.ndarray) -> np.ndarray:
    """What r sees of each entry, (P, PAIR_FEATURES) float32: logs of decayed counts, count and recency, and the item's."""
    return np.column_stack(
        [
            np.log1p(histories.decayed),
            np.log1p(histories.count),
            np.log1p(histories.recency) / 4.0,
            popular[histories.item],
            repeats[histories.item],
        ]
    ).astype(np.float32)


@dataclass(frozen=True)
class TwoTower(Recommender):
    """See the module. Shapes, for n items and d numbers a vector:

    vectors_in (p), vectors_out (q): (n, d). popular (g), repeats: (n,). weights: `mix` (H,), `popular` (1,), and the
    network of r: `w1` (PAIR_FEATURES, h), `b1` (h,), `w2` (h,), `b2` (1,). known: the events of known users.
    """

    kind: ClassVar[str]
    items: list[str]
    vectors_in: np.ndarray
    vectors_out: np.ndarray
    weights: Mapping[str, np.ndarray]
    popular: np.ndarray
    repeats: np.ndarray
    known: Events
    k: int

    def again(self, histories: Histories) -> np.ndarray:
        """r of each entry, (P,) float32."""
        seen = pair_features(histories, self.popular, self.repeats)
        hidden = np.maximum(seen @ self.weights["w1"] + self.weights["b1"], 0.0)
        return hidden @ self.weights["w2"] + self.weights["b2"][0]

    def entry_weights(self, histories: Histories) -> np.ndarray:
        """w of each entry, (P,) float32."""
        return np.log1p(histories.decayed @ softplus(self.weights["mix"])).astype(np.float32)

    def user_vectors(self, histories: Histories) -> np.ndarray:
        """(users, d) float32; zeros for a user without a history."""
        weight = self.entry_weights(histories)
        moved = weight[:, None] * self.vectors_in[histories.item]
        return _sums(moved, histories.indptr) / self._norm(weight, histories)[:, None]

    def _norm(self, weight: np.ndarray, histories: Histories) -> np.ndarray:
        return np.sqrt(_sums(weight[:, None], histories.indptr)[:, 0] + 1.0)

    def scores(self, histories: Histories) -> np.ndarray:
        scores = self.user_vectors(histories) @ self.vectors_out.T
        scores += self.weights["popular"][0] * self.popular
        scores[histories.owner, histories.item] += self.again(histories)
        return scores

    def falls(self, one: Histories, items: np.ndarray) -> np.ndarray:
        weight = self.entry_weights(one)
        parts = (weight[:, None] * self.vectors_in[one.item]) @ self.vectors_out[items].T
        total, mass = parts.sum(0), weight.sum() + 1.0
        rest = (total - parts) / np.sqrt(mass - weight)[:, None]
        own = (one.item[:, None] == items[None, :]) * self.again(one)[:, None]
        return total / np.sqrt(mass) - rest + own

    def observe(self, events: Events) -> "TwoTower":
        return replace(
            self, popular=popularity_feature(events), repeats=repeat_rate(events), known=events
        )

    def without_again(self) -> "TwoTower":
        """The same model without r: for tables of what each part is worth."""
        gone = {"w2": self.weights["w2"] * 0.0, "b2": self.weights["b2"] * 0.0}
        return replace(self, weights={**self.weights, **gone})

    def scaled(self, factor: float) -> "TwoTower":
        """The same model with the towers' share of the score multiplied."""
        return replace(self, vectors_out=self.vectors_out * np.float32(factor))

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """See `base.predict`: user_id, or user_id, item_id, timestamp; lists of `k` as user_id, item_id, rank, score."""
        return base.predict(self, self.known, frame, self.k)

    def to_bundle(self) -> Bundle:
        config, tensors, users = base.events_bundle(self.known)
        tensors |= {f"weight_{name}": value for name, value in self.weights.items()}
        tensors |= {
            "vectors_in": self.vectors_in,
            "vectors_out": self.vectors_out,
            "popular": self.popular,
            "repeats": self.repeats,
        }
        vocabulary = {"items": self.items, "users": users}
        return Bundle(self.kind, {**config, "k": self.k}, tensors, vocabulary)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "TwoTower":
        known = base.events_from_bundle(bundle)
        tensors = bundle.tensors
        return cls(
            items=known.items,
            vectors_in=tensors["vectors_in"],
            vectors_out=tensors["vectors_out"],
            weights={
                name.removeprefix("weight_"): value
                for name, value in tensors.items()
                if name.startswith("weight_")
            },
            popular=tensors["popular"],
            repeats=tensors["repeats"],
            known=known,
            k=int(bundle.config["k"]),
        )


def _sums(values: np.ndarray, indptr: np.ndarray) -> np.ndarray:
    """Sums (users, m) of the rows (P, m) of each user."""
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, 0, dtype=np.float64)])
    return (total[indptr[1:]] - total[indptr[:-1]]).astype(np.float32)

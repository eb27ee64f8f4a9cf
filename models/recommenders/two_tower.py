"""The trained recommender, at inference: two towers over one history, and a network for buying again.

A user is the decayed sum of the history's item vectors, so that a new user with a handful of events is served without
training; an item's vectors come from behaviour, from its content (text, picture, attributes), or from both. The score
of item i for user u is the log odds that u buys i within the window that was trained for:

    s(u, i) = c  +  b . g_i  +  q_i . sum_j w_uj p_j / sqrt(sum_j w_uj + 1)  +  [u bought i before] r(u, i)

with w_uj = log(1 + decayed counts of j mixed by learnt weights), g_i how popular i is lately and for long, and r a small
network on how often and how lately u bought i, and on g_i. Each term but the first two is a sum over the history, so
what an entry of it contributes is known exactly. Sources: Covington et al. (2016), Deep neural networks for YouTube
recommendations (histories as bags); Hu et al. (2020), Modeling personalized item frequency information for
next-basket recommendation (decayed personal counts).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd

from models.recommenders import base
from models.recommenders.base import Recommender, products
from models.recommenders.events import HALF_LIVES, Events, Histories
from models.recommenders.kernels import weighted

POPULARITY_HALF_LIVES = (7.0, 30.0, 180.0)
PAIR_FEATURES = len(HALF_LIVES) + len(POPULARITY_HALF_LIVES) + 4
LONG_AGO = 200.0
"""Days after which it doesn't matter how many more it were."""


def softplus(values: np.ndarray) -> np.ndarray:
    return np.logaddexp(values, 0.0)


def silu(values: np.ndarray) -> np.ndarray:
    """x times its sigmoid, written so that no exponential overflows."""
    return values * (0.5 * (1.0 + np.tanh(0.5 * values)))


def popularity_features(events: Events, until: float | None = None) -> np.ndarray:
    """g: log of one plus the decayed number of events by each half-life, (items, 3) float32. until: see `popularity`."""
    weights = [events.popularity(half_life, until) for half_life in POPULARITY_HALF_LIVES]
    return np.log1p(np.stack(weights, axis=1)).astype(np.float32)


def pair_features(histories: Histories, popular: np.ndarray) -> np.ndarray:
    """What r sees of each entry, (P, PAIR_FEATURES) float32.

    Logs of decayed counts, count and recency, the recency itself, the item's popularity and whether it is rising.
    """
    item = popular[histories.item]
    return np.column_stack(
        [
            np.log1p(histories.decayed),
            np.log1p(histories.count),
            np.log1p(histories.recency),
            np.minimum(histories.recency, LONG_AGO) / 30.0,
            item,
            item[:, 0] - item[:, -1],
        ]
    ).astype(np.float32)


@dataclass(frozen=True)
class TwoTower(Recommender):
    """See the module. Shapes, for n items and d numbers a vector:

    vectors_in (p), vectors_out (q): (n, d). popular (g): (n, 3). weights: `mix` (H,), `popular` (b, 3), `bias` (c, 1),
    and the layers of r: `w1` (PAIR_FEATURES, h), `b1` (h,), `w2` (h, h), `b2` (h,), `w3` (h, 1), `b3` (1,).
    known: the events of known users. k: items on a list.
    """

    kind: ClassVar[str]
    items: list[str]
    vectors_in: np.ndarray
    vectors_out: np.ndarray
    weights: Mapping[str, np.ndarray]
    popular: np.ndarray
    known: Events
    k: int

    def again(self, histories: Histories) -> np.ndarray:
        """r of each entry, (P,) float32."""
        found = pair_features(histories, self.popular)
        for layer in ("1", "2"):
            found = silu(found @ self.weights[f"w{layer}"] + self.weights[f"b{layer}"])
        return (found @ self.weights["w3"] + self.weights["b3"])[:, 0]

    def entry_weights(self, histories: Histories) -> np.ndarray:
        """w of each entry, (P,) float32."""
        return np.log1p(histories.decayed @ softplus(self.weights["mix"])).astype(np.float32)

    def user_vectors(self, histories: Histories) -> np.ndarray:
        """(users, d) float32; zeros for a user without a history."""
        weight = self.entry_weights(histories)
        rows = weighted(histories, weight)
        mass = np.asarray(rows.sum(1), dtype=np.float32)
        return (rows @ self.vectors_in) / np.sqrt(mass + np.float32(1.0))

    @cached_property
    def _columns(self) -> np.ndarray:
        """q with the popular term as one number more, (items, d + 1): one product makes both."""
        popular = self.popular @ self.weights["popular"] + self.weights["bias"][0]
        return np.column_stack([self.vectors_out, popular]).astype(np.float32)

    @property
    def kinds(self) -> Mapping[str, float] | None:
        return self.known.kinds

    def scores(self, histories: Histories) -> np.ndarray:
        ones = np.ones((len(histories), 1), dtype=np.float32)
        scores = np.concatenate([self.user_vectors(histories), ones], axis=1) @ self._columns.T
        scores[histories.owner, histories.item] += self.again(histories)
        return scores

    def falls(self, histories: Histories, left: np.ndarray, items: np.ndarray) -> np.ndarray:
        users, owner = np.arange(len(histories)), histories.owner_of(left)
        weight, mine = self.entry_weights(histories), histories.item[left]
        rows = weighted(histories, weight)
        mass = np.asarray(rows.sum(1), dtype=np.float32)[owner] + np.float32(1.0)
        total = products(users, rows @ self.vectors_in, items, self.vectors_out)[owner]
        weight = weight[left, None]
        parts = products(owner, weight * self.vectors_in[mine], items, self.vectors_out)
        lost: np.ndarray = total / np.sqrt(mass) - (total - parts) / np.sqrt(mass - weight)
        entry, place = np.nonzero(mine[:, None] == items[owner])
        some, which = np.unique(left[entry], return_inverse=True)
        keep = np.zeros(len(histories.item), dtype=bool)
        keep[some] = True
        lost[entry, place] += self.again(histories.kept(keep))[which]
        return lost

    def observe(self, events: Events) -> "TwoTower":
        return replace(self, popular=popularity_features(events), known=events)

    def without_again(self) -> "TwoTower":
        """The same model without r: for tables of what each part is worth."""
        gone = {name: self.weights[name] * np.float32(0.0) for name in ("w3", "b3")}
        return replace(self, weights={**self.weights, **gone})

    def scaled(self, factor: float) -> "TwoTower":
        """The same model with the towers' share of the score multiplied."""
        return replace(self, vectors_out=self.vectors_out * np.float32(factor))

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """See `base.predict`: user_id, or user_id, item_id, timestamp; lists of `k` as user_id, item_id, rank, score."""
        return base.predict(self, self.known, frame, self.k)

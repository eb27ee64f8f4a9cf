"""How much more often a user has an item's attribute values than others have: for items that nobody or hardly anybody had.

    s(u, i) = a . f_i  +  sum_c w_c log( (n_u(v) + m g(v)) / ((n_u + m) g(v)) )  +  sum_t w_t log( cos_t(u, i) / mean + 1/10 )
             +  sum_t w'_t cos_t(u, i) / max

with v the value of item i in column c, n_u(v) the user's decayed count of it, g its share among all users, f_i how items
with such values sell, and cos_t the tokens' cosine of `AttributeNeighbours` to the whole history and to its end. The weights are learnt by a softmax over the items
that could have been had in the last window, given what was before it (McFadden 1974, Conditional logit analysis of
qualitative choice behavior); the shrunk shares are a Dirichlet prior's (Zhai and Lafferty 2004, A study of smoothing methods).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from models.recommenders.attributes import FIRST_DAYS, AttributeNeighbours
from models.recommenders.base import Recommender, runs
from models.recommenders.catalogue import Catalogue
from models.recommenders.cuts import Cut, Protocol, sampled, sold
from models.recommenders.events import HALF_LIVES, Events, Histories
from models.recommenders.kernels import Fading

USUAL = 5.0
"""Events of a usual user that are added to each user's own."""
HALF_LIFE = HALF_LIVES.index(90.0)
LEARNT_ON, CELLS = 1500, 4_000_000
"""Users whom the weights are learnt from, and scores of one cut."""
OTHERS = 2000
"""Items that nobody had in the window, which take part with the weight of all of them."""
PENALTY = 1.0
"""Of the squared weights, in users."""
WINDOWS = 3
NEAREST = 64
FADINGS = (Fading(days=30.0, counted=True), Fading(place=1.0))


@dataclass(frozen=True)
class AttributeAffinity(Recommender):
    """See the module. values: (n, C) numbers of attribute values, 0 for none. usual: of each column g, (S,).

    weights: (C + 2 T,) w. common: (m,) a. figure: (n,) a . f. neighbours: for the T cosines.
    """

    kind: ClassVar[str] = "attribute-affinity"
    items: list[str]
    values: np.ndarray
    usual: Sequence[np.ndarray]
    weights: np.ndarray
    common: np.ndarray
    figure: np.ndarray
    neighbours: Sequence[AttributeNeighbours]

    @classmethod
    def fit(
        cls,
        events: Events,
        catalogue: Catalogue,
        protocol: Protocol,
        *,
        unsold: bool,
        pool: int,
        seed: int,
        start: "AttributeAffinity | None" = None,
    ) -> "AttributeAffinity":
        """unsold: learn from items that nobody had before the window. pool: items that may be listed.

        start: one whose weights are kept; what it counts is counted anew.
        """
        if start is not None:
            return start.observe(events)
        learnt = []
        for at in range(WINDOWS):
            cut = sampled(protocol.cut(events, at, unsold), LEARNT_ON, seed)
            if not len(cut.asked) or len(cut.before.user) < len(events.user) // 2:
                break
            learnt.append(_weights(cut, catalogue, unsold, pool, seed))
        if not learnt:
            columns = catalogue.codes.shape[1]
            learnt = [
                (
                    np.full(columns + 2 * len(FADINGS), 1.0),
                    np.zeros(_figures(events, catalogue.codes + 1).shape[1]),
                )
            ]
        personal, common = (np.mean(part, axis=0) for part in zip(*learnt, strict=True))
        return cls._of(events, catalogue, personal.astype(np.float32), common)

    @classmethod
    def _of(
        cls, events: Events, catalogue: Catalogue, weights: np.ndarray, common: np.ndarray
    ) -> "AttributeAffinity":
        ones = np.ones(len(events.items), dtype=np.float32)
        near = [
            AttributeNeighbours(events.items, catalogue.tokens, ones, fading) for fading in FADINGS
        ]
        blank = cls(events.items, catalogue.codes + 1, [], weights, common, ones, near)
        return blank.observe(events)

    def observe(self, events: Events) -> "AttributeAffinity":
        figure = (_figures(events, self.values) @ self.common).astype(np.float32)
        return replace(self, usual=_usual(events, self.values), figure=figure)

    def opinions(self, histories: Histories, items: np.ndarray) -> Iterator[np.ndarray]:
        """The parts that `weights` weighs, each (users, k) float32, for the positions `items` (k,)."""
        users, owner = len(histories), histories.owner
        weight = np.log1p(histories.decayed[:, HALF_LIFE].astype(np.float64))
        total = np.bincount(owner, weight, users)[:, None]
        for column, usual in enumerate(self.usual):
            key = owner * len(usual) + self.values[histories.item, column]
            own = np.bincount(key, weight, users * len(usual)).reshape(users, -1)
            lift = np.log((own + USUAL * usual) / ((total + USUAL) * usual)).astype(np.float32)
            lift[:, 0] = 0.0
            yield np.take(lift, self.values[items, column], axis=1)
        for one in self.neighbours:
            near = one.scores(histories)
            usual = np.maximum(near.mean(1, keepdims=True), 1e-9)
            yield np.log(near[:, items] / usual + 0.1)
            highest = np.maximum(near.max(1, keepdims=True), 1e-9)
            yield near[:, items] / highest

    def falls(self, histories: Histories, left: np.ndarray, items: np.ndarray) -> np.ndarray:
        """As in `base`; the highest cosine, which cosines are divided by, is looked for among the `NEAREST` items."""
        found = np.empty((len(left), items.shape[1]))
        for user, start, end in runs(histories.owner_of(left)):
            one = histories.take(np.array([user]))
            gone = left[start:end] - histories.indptr[user]
            found[start:end] = self._lost(one, gone, items[user])
        return found

    def _lost(self, one: Histories, gone: np.ndarray, items: np.ndarray) -> np.ndarray:
        """`falls` of one user's `items` (k,) without each of the entries `gone` (F,)."""
        whole_weight = np.log1p(one.decayed[:, HALF_LIFE].astype(np.float64))
        weight, total = whole_weight[gone], whole_weight.sum()
        found = np.zeros((len(gone), len(items)))
        for share, usual, values in zip(
            self.weights[: len(self.usual)], self.usual, self.values.T, strict=True
        ):
            mine, asked = values[one.item], values[items]
            own = np.bincount(mine, whole_weight, len(usual))[asked]
            prior = USUAL * usual[asked]
            left = own - weight[:, None] * (mine[gone][:, None] == asked[None, :])
            # Without the entry the user's total is less, too.
            lost = np.log((own + prior) / (total + USUAL))
            lost = lost - np.log((left + prior) / (total - weight + USUAL)[:, None])
            found += share * lost * (asked > 0)
        for at, near in enumerate(self.neighbours):
            whole = near.scores(one)[0]
            average, highest = max(float(whole.mean()), 1e-9), max(float(whole.max()), 1e-9)
            top = np.argsort(-whole, kind="stable")[:NEAREST]
            fallen = near.falls(one, gone, np.concatenate([top, items])[None])
            then = np.maximum((whole[top] - fallen[:, : len(top)]).max(1, keepdims=True), 1e-9)
            lost, here = fallen[:, len(top) :], whole[items]
            mean = near.tokens[one.item[gone]] @ np.asarray(near.tokens.mean(0)).ravel()
            rest = np.maximum(average - near.fading.weights(one)[gone] * mean, 1e-9)[:, None]
            log, straight = self.weights[len(self.usual) + 2 * at :][:2]
            found += log * (np.log(here / average + 0.1) - np.log((here - lost) / rest + 0.1))
            found += straight * (here / highest - (here - lost) / then)
        return found

    def scores(self, histories: Histories) -> np.ndarray:
        found = np.repeat(self.figure[None, :], len(histories), axis=0)
        everything = np.arange(len(self.items))
        for weight, part in zip(self.weights, self.opinions(histories, everything), strict=True):
            found += weight * part
        return found


def _usual(events: Events, values: np.ndarray) -> list[np.ndarray]:
    """The share of each value of each column among all users' decayed counts, above 0."""
    histories = events.histories
    weight = np.log1p(histories.decayed[:, HALF_LIFE].astype(np.float64))
    found = []
    for column in range(values.shape[1]):
        size = int(values[:, column].max(initial=0)) + 1
        mass = np.bincount(values[histories.item, column], weight, size) + 0.5
        found.append(mass / mass.sum())
    return found


def _figures(events: Events, values: np.ndarray) -> np.ndarray:
    """How an item and items with its values sell, (n, m) float32 logs.

    Of the item: decayed counts. Of each of its values: buyers in the last days of what was first sold in them, for each item
    that could have been, and for each that was.
    """
    n = len(events.items)
    late = events.day >= events.now - FIRST_DAYS if events.clock else events.later == 0
    open_to = np.bincount(events.item[~late], minlength=n) == 0
    buyers = np.bincount(
        np.unique(events.user[late] * np.int64(n) + events.item[late]) % n, minlength=n
    )
    found = [np.log1p(events.popularity(half)) for half in HALF_LIVES]
    for value in values.T:
        held = np.bincount(value, open_to)
        bought = np.bincount(value, buyers * open_to)
        began = np.bincount(value, (buyers > 0) * open_to)
        usual = bought.sum() / max(held.sum(), 1.0)
        found.append(np.log((bought + usual + 1e-9) / (held + 1.0))[value])
        found.append(np.log((bought + 1.0) / (began + 1.0))[value])
    return np.stack(found, axis=1).astype(np.float32)


def _weights(
    cut: Cut, catalogue: Catalogue, unsold: bool, pool: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the opinions and of the figures, learnt from one cut."""
    from scipy.optimize import minimize

    rng = np.random.default_rng(seed)
    wanted = np.unique(cut.targets.item)
    rest = np.ones(len(catalogue.codes), dtype=bool)
    rest[wanted] = False
    if unsold:
        rest &= ~sold(cut.before)
    others = np.flatnonzero(rest)
    # As many as may be listed then; some of them stand for all.
    size = max(min(pool - len(wanted), len(others)), 0)
    drawn = np.sort(rng.permutation(others)[: min(size, OTHERS)])
    items = np.concatenate([wanted, drawn])
    standing = np.zeros(len(items))
    standing[len(wanted) :] = np.log(max(size, 1) / max(len(drawn), 1))
    cut = sampled(cut, max(CELLS // len(items), 1), seed)
    events = cut.before
    figures = _figures(events, catalogue.codes + 1)
    blank = AttributeAffinity._of(events, catalogue, np.zeros(0), np.zeros(figures.shape[1]))
    histories = events.histories.take(cut.asked)
    given = np.stack(list(blank.opinions(histories, items)), axis=2)
    common = figures[items].astype(np.float64)
    users, k, columns = given.shape
    flat = given.reshape(-1, columns)
    place = np.full(len(figures), -1)
    place[items] = np.arange(k)
    asked = cut.targets
    # A user with a longer list of purchases says more, but not in proportion.
    lengths = np.maximum(np.diff(asked.indptr), 1)
    weight = np.sqrt(lengths) / np.sqrt(lengths).sum()
    inside = place[asked.item] >= 0
    owner = asked.owner[inside]
    mass = sp.csr_matrix(
        ((weight / lengths)[owner], (owner, place[asked.item[inside]])), shape=(users, k)
    ).toarray()
    penalty = PENALTY / users

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        own, shared = weights[:columns], weights[columns:]
        scores = (flat @ own.astype(np.float32)).reshape(users, k)
        scores = scores + (common @ shared + standing)
        top = scores.max(1, keepdims=True)
        powers = np.exp(scores - top)
        total = powers.sum(1, keepdims=True)
        value = -float((mass * (scores - top - np.log(total))).sum())
        slope = weight[:, None] * powers / total - mass
        ways = np.concatenate([flat.T @ slope.ravel().astype(np.float32), common.T @ slope.sum(0)])
        return value + penalty * float(weights @ weights), ways + 2 * penalty * weights

    start = np.zeros(columns + common.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 60}).x
    return found[:columns], found[columns:]

"""Item-to-item recommenders: a sparse matrix says how strongly each item of a history speaks for every other item.

A kernel is (items, items): row j holds what item j says for the others. The score of item i is the sum over the history of
the entry's weight times kernel[j, i], so that a new user is served by the history alone.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from models.recommenders.base import Recommender, products, runs
from models.recommenders.events import Events, Histories

STEPS = 10
"""Next-item counts look so many events ahead."""
BLOCK = 512
"""Columns of a square matrix that are worked on at a time."""


@dataclass(frozen=True)
class Fading:
    """How much an entry of a history counts. place: events after which it counts half; days: likewise; 0 for never.

    counted: whether several purchases of one item count more than one (by the log).
    """

    place: float = 0.0
    days: float = 0.0
    counted: bool = False

    def weights(self, histories: Histories) -> np.ndarray:
        """(P,) float32."""
        found = histories.strength.copy()
        if self.place:
            found *= np.exp2(-histories.place / self.place)
        if self.days:
            found *= np.exp2(-histories.recency / self.days)
        if self.counted:
            found *= 1.0 + np.log(np.maximum(histories.count, 1.0))
        return found


def weighted(histories: Histories, weights: np.ndarray) -> sp.csr_matrix:
    """Weights of entries as a matrix (users, items) float32."""
    shape = (len(histories), histories.items)
    return sp.csr_matrix(
        (weights.astype(np.float32), histories.item, histories.indptr), shape=shape
    )


class Fades(Recommender):
    """A recommender that reads histories as they fade."""

    @abstractmethod
    def with_fading(self, fading: Fading) -> "Fades":
        """The same model with another fading. Nothing is trained."""


@dataclass(frozen=True)
class ItemKernel(Fades):
    """See the module. matrix: (items, items) float32, rows speak."""

    kind: ClassVar[str] = "item-kernel"
    items: list[str]
    matrix: sp.csr_matrix
    fading: Fading

    def scores(self, histories: Histories) -> np.ndarray:
        return (weighted(histories, self.fading.weights(histories)) @ self.matrix).toarray()

    def falls(self, histories: Histories, left: np.ndarray, items: np.ndarray) -> np.ndarray:
        found = np.empty((len(left), items.shape[1]), dtype=np.float32)
        for user, start, end in runs(histories.owner_of(left)):
            said = self.matrix[histories.item[left[start:end]]]
            found[start:end] = said[:, items[user]].toarray()
        return self.fading.weights(histories)[left, None] * found

    def with_fading(self, fading: Fading) -> "ItemKernel":
        return replace(self, fading=fading)


def _nearest(rows: sp.csr_matrix, k: int, threads: int) -> sp.csr_matrix:
    """The k largest products of columns of `rows` (users, items), as (items, items), without the diagonal."""
    from implicit.nearest_neighbours import all_pairs_knn

    # One more: an item's nearest is itself.
    found = all_pairs_knn(
        rows.tocsr().astype(np.float64), k + 1, show_progress=False, num_threads=threads
    ).tocoo()
    kept = (found.row != found.col) & (found.data > 0)
    parts = (found.data[kept].astype(np.float32), (found.row[kept], found.col[kept]))
    matrix = sp.csr_matrix(parts, shape=found.shape)
    matrix.sort_indices()
    return matrix


def cosine(events: Events, k: int, fading: Fading, shrink: float, threads: int) -> ItemKernel:
    """Cosine of who bought two items, each user's row divided by the root of its length.

    shrink: users that are added to each item's count, so that two rare items bought by one user are no certainty.
    Source: Sarwar et al. (2001), Item-based collaborative filtering recommendation algorithms.
    """
    rows = weighted(events.histories, events.histories.strength)
    active = np.sqrt(np.maximum(np.diff(rows.indptr), 1.0))
    rows = sp.diags((1.0 / active).astype(np.float32)) @ rows
    mass = np.asarray(rows.multiply(rows).sum(0)).ravel()
    scale = 1.0 / np.sqrt(np.maximum(mass + shrink * mass.sum() / max(rows.nnz, 1), 1e-12))
    return ItemKernel(
        events.items, _nearest(rows @ sp.diags(scale.astype(np.float32)), k, threads), fading
    )


def bm25(events: Events, k: int, fading: Fading, threads: int) -> ItemKernel:
    """Neighbours by products of BM25 weights (k1 100, b 0.5): frequent buyers and popular items count less.

    Source: Robertson and Zaragoza (2009), The probabilistic relevance framework, with users as terms.
    """
    rows = weighted(events.histories, events.histories.count * events.histories.strength)
    users = rows.shape[0]
    idf = np.log(users) - np.log1p(np.bincount(rows.indices, minlength=rows.shape[1]))
    length = np.asarray(rows.sum(1)).ravel()
    norm = 0.5 + 0.5 * length / max(float(length.mean()), 1e-9)
    owner = np.repeat(np.arange(users), np.diff(rows.indptr))
    data = rows.data * 101.0 / (100.0 * norm[owner] + rows.data) * np.maximum(idf, 0)[rows.indices]
    rows = sp.csr_matrix((data.astype(np.float32), rows.indices, rows.indptr), shape=rows.shape)
    return ItemKernel(events.items, _nearest(rows, k, threads), fading)


def walks(events: Events, k: int, fading: Fading, beta: float, threads: int) -> ItemKernel:
    """Three steps of a walk from item to user to item, popular ends made less likely by the power `beta`.

    Source: Paudel et al. (2016), Updatable, accurate, diverse and scalable recommendations (RP3beta).
    """
    rows = weighted(events.histories, events.histories.strength)
    size = np.maximum(np.diff(rows.indptr), 1.0)
    degree = np.maximum(np.bincount(rows.indices, minlength=rows.shape[1]), 1.0)
    core = sp.diags(1.0 / np.sqrt(size)) @ rows @ sp.diags(degree**-beta)
    near = _nearest(core.astype(np.float32), k, threads)
    return ItemKernel(
        events.items, (sp.diags((degree ** (beta - 1.0)).astype(np.float32)) @ near).tocsr(), fading
    )


def followers(events: Events, reach: float) -> sp.csr_matrix:
    """How often an item followed another within `STEPS` events of one user, later and weaker followers counting less, (n, n).

    reach: events after which a follower counts half.
    """
    n = len(events.items)
    total = sp.csr_matrix((n, n), dtype=np.float32)
    for step in range(1, STEPS + 1):
        before, after = events.item[:-step], events.item[step:]
        same = (events.user[:-step] == events.user[step:]) & (before != after)
        share = np.full(int(same.sum()), 2.0 ** (-(step - 1) / reach), dtype=np.float32)
        if events.weight is not None:
            share *= events.weight[step:][same]
        total = total + sp.csr_matrix((share, (before[same], after[same])), shape=(n, n))
    return total


def transitions(
    events: Events, total: sp.csr_matrix, fading: Fading, source: float, target: float
) -> ItemKernel:
    """Next-item counts. total: see `followers`. source, target: powers of the items' counts that it is divided by."""
    counts = np.maximum(np.bincount(events.item, minlength=len(events.items)), 1.0)
    rows, columns = (sp.diags((counts**-power).astype(np.float32)) for power in (source, target))
    return ItemKernel(events.items, (rows @ total @ columns).tocsr(), fading)


@dataclass(frozen=True)
class Ease(Fades):
    """Item-item weights in closed form, over the items that were bought most. active: (A,) positions. weights: (A, A).

    Source: Steck (2019), Embarrassingly shallow autoencoders for sparse data.
    """

    kind: ClassVar[str] = "ease"
    items: list[str]
    active: np.ndarray
    weights: np.ndarray
    fading: Fading

    @classmethod
    def fit(cls, events: Events, penalty: float, most: int, fading: Fading) -> "Ease":
        """penalty: of the squared weights, in mean buyers an item. most: items that take part."""
        n = len(events.items)
        buyers = np.bincount(events.histories.item, minlength=n)
        active = np.sort(np.argsort(-buyers, kind="stable")[: min(most, int((buyers > 0).sum()))])
        rows = weighted(events.histories, events.histories.strength)[:, active]
        weights = _inverted_gram(rows, penalty)
        scale = -np.diag(weights).copy()
        weights /= scale[None, :]
        np.fill_diagonal(weights, 0.0)
        return cls(events.items, active, weights, fading)

    def scores(self, histories: Histories) -> np.ndarray:
        mine = weighted(histories, self.fading.weights(histories))
        found = np.zeros((len(histories), histories.items), dtype=np.float32)
        found[:, self.active] = mine[:, self.active] @ self.weights
        return found

    def falls(self, histories: Histories, left: np.ndarray, items: np.ndarray) -> np.ndarray:
        place = np.full(len(self.items), -1)
        place[self.active] = np.arange(len(self.active))
        row = place[histories.item[left]][:, None]
        column = place[items][histories.owner_of(left)]
        said = np.where((row >= 0) & (column >= 0), self.weights[row, column], 0.0)
        return self.fading.weights(histories)[left, None] * said

    def with_fading(self, fading: Fading) -> "Ease":
        return replace(self, fading=fading)


def _inverted_gram(rows: sp.csr_matrix, penalty: float) -> np.ndarray:
    """The inverse of rows' rows + penalty x mean buyers, (A, A) float32. rows: (users, A) of ones.

    One matrix of that size stands in memory, beside a block of it.
    """
    from scipy.linalg import lapack

    n = rows.shape[1]
    gram = np.empty((n, n), dtype=np.float32, order="F")
    columns, across = rows.tocsc(), rows.T.tocsr()
    steps = [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]
    for part in steps:
        gram[:, part] = (across @ columns[:, part]).toarray()
    places = np.arange(n)
    usual = float(gram[places, places].mean()) if n else 0.0
    gram[places, places] += penalty * max(usual, 1.0)
    factor, _ = lapack.spotrf(gram, lower=0, overwrite_a=1)
    inverse, _ = lapack.spotri(factor, lower=0, overwrite_c=1)
    # Only the upper half has been made.
    for part in steps:
        inverse[part, : part.start] = inverse[: part.start, part].T
        corner = inverse[part, part]
        inverse[part, part] = np.triu(corner) + np.triu(corner, 1).T
    return np.asarray(inverse)


@dataclass(frozen=True)
class ImplicitFactors(Recommender):
    """Factors by alternating least squares. vectors: (items, d). A user is solved for from the history alone.

    Source: Hu et al. (2008), Collaborative filtering for implicit feedback datasets.
    """

    kind: ClassVar[str] = "ials"
    items: list[str]
    vectors: np.ndarray
    penalty: float
    alpha: float
    fading: Fading

    @classmethod
    def fit(
        cls,
        events: Events,
        dim: int,
        penalty: float,
        alpha: float,
        rounds: int,
        fading: Fading,
        seed: int,
        threads: int,
    ) -> "ImplicitFactors":
        from implicit.als import AlternatingLeastSquares

        model = AlternatingLeastSquares(
            factors=dim,
            regularization=penalty,
            alpha=alpha,
            iterations=rounds,
            random_state=seed,
            num_threads=threads,
            use_gpu=False,
        )
        rows = weighted(events.histories, fading.weights(events.histories))
        with threadpool_limits(1, "blas"):
            model.fit(rows, show_progress=False)
        vectors = np.array(model.item_factors, dtype=np.float32)
        vectors[np.bincount(rows.indices, minlength=rows.shape[1]) == 0] = 0.0
        return cls(events.items, vectors, penalty, alpha, fading)

    @cached_property
    def _usual(self) -> np.ndarray:
        """The part of the equations that all users share, (d, d)."""
        width = self.vectors.shape[1]
        return self.vectors.T @ self.vectors + self.penalty * np.eye(width, dtype=np.float32)

    def user_vectors(self, histories: Histories) -> np.ndarray:
        """The least squares solution of each user, (users, d)."""
        weight = self.alpha * self.fading.weights(histories)
        left = np.repeat(self._usual[None], len(histories), axis=0)
        right = np.zeros((len(histories), self.vectors.shape[1]), dtype=np.float32)
        for user in range(len(histories)):
            mine = slice(histories.indptr[user], histories.indptr[user + 1])
            vectors = self.vectors[histories.item[mine]]
            # As in `implicit`: confidence is alpha times the weight; 1 of it is in `usual` already.
            extra = weight[mine] - 1.0
            left[user] += (vectors * extra[:, None]).T @ vectors
            right[user] = weight[mine] @ vectors
        return np.linalg.solve(left, right[:, :, None])[:, :, 0]

    def scores(self, histories: Histories) -> np.ndarray:
        return self.user_vectors(histories) @ self.vectors.T

    def vector_falls(self, histories: Histories, left: np.ndarray) -> np.ndarray:
        """By how much the user's vector falls without each of the entries `left` (F,), which rise, (F, d).

        Source: Sherman and Morrison (1950), Adjustment of an inverse matrix: an entry is a matrix of rank one.
        """
        weights = self.alpha * self.fading.weights(histories)
        found = np.empty((len(left), self.vectors.shape[1]), dtype=np.float32)
        for user, start, end in runs(histories.owner_of(left)):
            own = slice(histories.indptr[user], histories.indptr[user + 1])
            mine, weight = self.vectors[histories.item[own]], weights[own]
            equations = self._usual + (mine * (weight - 1.0)[:, None]).T @ mine
            whole = np.linalg.solve(equations, weight @ mine)
            gone = left[start:end] - own.start
            mine, weight, extra = mine[gone], weight[gone], weight[gone] - 1.0
            turned = np.linalg.solve(equations, mine.T).T
            size = (mine * turned).sum(1)
            rest = (mine @ whole - weight * size) / (1.0 - extra * size)
            found[start:end] = (weight - extra * rest)[:, None] * turned
        return found

    def falls(self, histories: Histories, left: np.ndarray, items: np.ndarray) -> np.ndarray:
        lost = self.vector_falls(histories, left)
        return products(histories.owner_of(left), lost, items, self.vectors)

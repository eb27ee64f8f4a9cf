"""Recommenders that serve items which were never sold: by what the items are, not by who bought them."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import lsqr, svds

from models.recommenders.base import Recommender, products, runs
from models.recommenders.catalogue import Catalogue
from models.recommenders.events import Events, Histories
from models.recommenders.kernels import Fades, Fading, ImplicitFactors, weighted

DIRECTIONS = 128
"""Directions of the tokens that factors are predicted from."""
FIRST_DAYS = 28.0
"""What was first sold in so many last days tells how new items sell."""
LEAST = 0.1
"""Share of the usual first sales below which no item is thought."""


@dataclass(frozen=True)
class AttributeNeighbours(Fades):
    """The sum of the cosines of an item's tokens to those of the items of the history, times the item's prior.

    tokens: (items, F). prior: (items,) how an item with such tokens sells at first, or ones.
    """

    kind: ClassVar[str] = "attribute-neighbours"
    items: list[str]
    tokens: sp.csr_matrix
    prior: np.ndarray
    fading: Fading

    def scores(self, histories: Histories) -> np.ndarray:
        profile = weighted(histories, self.fading.weights(histories)) @ self.tokens
        found = (self.tokens @ profile.T.toarray()).T * self.prior
        return np.ascontiguousarray(found, dtype=np.float32)

    def falls(self, histories: Histories, left: np.ndarray, items: np.ndarray) -> np.ndarray:
        found = np.empty((len(left), items.shape[1]), dtype=np.float32)
        for user, start, end in runs(histories.owner_of(left)):
            mine, asked = histories.item[left[start:end]], items[user]
            alike = (self.tokens[mine] @ self.tokens[asked].T).toarray()
            found[start:end] = alike * self.prior[asked]
        return self.fading.weights(histories)[left, None] * found

    def with_fading(self, fading: Fading) -> "AttributeNeighbours":
        return replace(self, fading=fading)


@dataclass(frozen=True)
class AttributeFactors(Recommender):
    """A behaviour model's users, over item vectors that are predicted from tokens by ridge regression.

    Source: Gantner et al. (2010), Learning attribute-to-feature mappings for cold-start recommendations.
    vectors: (items, d). users: the model whose user vectors are used. An item weighs by the root of its buyers.
    """

    kind: ClassVar[str] = "attribute-factors"
    items: list[str]
    vectors: np.ndarray
    users: ImplicitFactors

    @classmethod
    def fit(
        cls, catalogue: Catalogue, users: ImplicitFactors, events: Events, seed: int
    ) -> "AttributeFactors":
        sold = np.bincount(events.histories.item, minlength=len(events.items))
        vectors = regressed(catalogue, users.vectors, np.sqrt(np.minimum(sold, 50.0)), seed)
        return cls(users.items, vectors, users)

    def scores(self, histories: Histories) -> np.ndarray:
        return self.users.user_vectors(histories) @ self.vectors.T

    def falls(self, histories: Histories, left: np.ndarray, items: np.ndarray) -> np.ndarray:
        lost = self.users.vector_falls(histories, left)
        return products(histories.owner_of(left), lost, items, self.vectors)


@dataclass(frozen=True)
class AttributePopularity(Recommender):
    """The same list for everyone: how an item with such tokens sells at first. weight: (items,)."""

    kind: ClassVar[str] = "attribute-popularity"
    items: list[str]
    weight: np.ndarray

    @classmethod
    def fit(cls, catalogue: Catalogue, events: Events) -> "AttributePopularity":
        return cls(events.items, first_sales(catalogue, events))

    def scores(self, histories: Histories) -> np.ndarray:
        return np.repeat(self.weight[None, :], len(histories), axis=0)

    def falls(self, histories: Histories, left: np.ndarray, items: np.ndarray) -> np.ndarray:
        return np.zeros((len(left), items.shape[1]))


def first_sales(catalogue: Catalogue, events: Events) -> np.ndarray:
    """How likely an item that was never sold is soon, by its tokens, (items,) float32 above 0.

    A ridge regression over the items that nobody had before the last days: were they sold in them? Where only the order of
    events is known, over all items: how many had them?
    """
    n = len(events.items)
    buyers = np.bincount(events.item, minlength=n)
    if events.clock:
        late = events.day >= events.now - FIRST_DAYS
        asked = np.bincount(events.item[~late], minlength=n) == 0
    else:
        asked = np.ones(n, dtype=bool)
    wanted = np.log1p(buyers[asked])
    usual = float(wanted.mean()) if asked.any() else 0.0
    part = catalogue.tokens[asked].astype(np.float64)
    if not part.nnz or not usual:
        return np.ones(n, dtype=np.float32)
    slope = lsqr(part, wanted - usual, damp=1.0, iter_lim=50)[0]
    return np.maximum(usual + catalogue.tokens @ slope, LEAST * usual).astype(np.float32)


def regressed(
    catalogue: Catalogue, wanted: np.ndarray, weight: np.ndarray, seed: int
) -> np.ndarray:
    """`wanted` (items, d) as a ridge regression on the directions of the tokens gives it, (items, d) float32.

    weight: (items,) of each item in the regression.
    """
    dense = directions(catalogue.tokens, seed)
    dense = np.column_stack([dense, np.ones(len(dense), dtype=np.float32)])
    known = dense * weight.astype(np.float32)[:, None]
    penalty = np.eye(dense.shape[1], dtype=np.float32)
    scaled = wanted * weight.astype(np.float32)[:, None]
    solved = np.linalg.solve(known.T @ known + penalty, known.T @ scaled)
    return (dense @ solved).astype(np.float32)


def directions(tokens: sp.csr_matrix, seed: int) -> np.ndarray:
    """The first left singular vectors times their values, (items, up to DIRECTIONS) float32."""
    k = min(DIRECTIONS, min(tokens.shape) - 1)
    if k < 1:
        return tokens.toarray().astype(np.float32)
    start = np.random.default_rng(seed).standard_normal(min(tokens.shape))
    left, values, _ = svds(tokens.astype(np.float64), k=k, v0=start, return_singular_vectors="u")
    return np.ascontiguousarray((left * values)[:, ::-1], dtype=np.float32)

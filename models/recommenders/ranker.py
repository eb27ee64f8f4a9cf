"""The second stage of `auto`: orders a user's candidates by the members' opinions and everything else that is known.

First a blend: softmax over each user's candidates of a linear sum of the members' opinions. Then, where held-out users
gain by it, boosted trees that start from the blend. Sources: Cao et al. (2007), Learning to rank: from pairwise to listwise
approach; Burges (2010), From RankNet to LambdaRank to LambdaMART; Ke et al. (2017), LightGBM.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

ROUNDS = (30, 60, 120, 200)
"""Numbers of trees that are tried."""
FOLDS = 3
DEPTH = 10
"""The list's length that is optimised."""
DEEP = 120
"""Candidates of a user that the trees see: the best of the blend."""
SMALL = 0.3
"""Penalty of the blend's squared weights, in users."""
ENOUGH = 100
"""Users from which trees are tried."""
SURE = 0.5
"""Standard errors by which trees must be better than what is simpler."""
LITTLE = 0.02
"""A member whose weight in the blend is less than this share of the greatest is left out."""
BELOW = 1e3
"""How far the others lie under them."""


@dataclass(frozen=True)
class Rows:
    """Candidates of many users, users side by side. indptr: (U + 1,). item: (R,). opinions: (R, m) of the members,
    see `opinions`. further: (R, f). label: (R,) booleans. best: (U,) the NDCG's divisor."""

    indptr: np.ndarray
    item: np.ndarray
    opinions: np.ndarray
    further: np.ndarray
    label: np.ndarray
    best: np.ndarray

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def features(self, some: np.ndarray) -> np.ndarray:
        """What the trees see of the candidates that `some` (R,) marks."""
        return np.concatenate([self.opinions[some], self.further[some]], axis=1)

    def of_members(self, kept: Sequence[int]) -> "Rows":
        """The same with the opinions of these members alone."""
        members = self.opinions.shape[1] // 3
        columns = [part * members + at for part in range(3) for at in kept]
        return replace(self, opinions=self.opinions[:, columns])

    def take(self, users: np.ndarray) -> "Rows":
        lengths = np.diff(self.indptr)[users]
        ends = np.cumsum(lengths)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        rows = np.repeat(self.indptr[users], lengths) + within
        return Rows(
            np.concatenate([[0], ends]),
            self.item[rows],
            self.opinions[rows],
            self.further[rows],
            self.label[rows],
            self.best[users],
        )

    @classmethod
    def joined(cls, parts: Sequence["Rows"]) -> "Rows":
        shifts = np.cumsum([0, *(part.indptr[-1] for part in parts)])
        starts = [part.indptr[:-1] + shift for part, shift in zip(parts, shifts, strict=False)]
        return cls(
            np.concatenate([*starts, shifts[-1:]]),
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("item", "opinions", "further", "label", "best")
            ),
        )


def opinions(scores: np.ndarray, indptr: np.ndarray) -> np.ndarray:
    """What members say of candidates, (R, 3 m) float32, from their scores (R, m).

    For each member: the score over the user's highest, minus the log of the rank, and the score itself (log1p with sign).
    """
    users = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    starts = indptr[:-1][np.diff(indptr) > 0]
    highest = np.zeros((len(indptr) - 1, scores.shape[1]), dtype=np.float32)
    lowest = highest.copy()
    if len(starts):
        highest[np.diff(indptr) > 0] = np.maximum.reduceat(scores, starts, axis=0)
        lowest[np.diff(indptr) > 0] = np.minimum.reduceat(scores, starts, axis=0)
    width = np.maximum(highest - lowest, 1e-9)
    share = (scores - lowest[users]) / width[users]
    return np.concatenate(
        [share, -np.log1p(ranks(scores, indptr)), np.sign(scores) * np.log1p(np.abs(scores))],
        axis=1,
    ).astype(np.float32)


def ranks(scores: np.ndarray, indptr: np.ndarray) -> np.ndarray:
    """Rank from 0 of each candidate among its user's in the order of each column, (R, m) float32. scores: (R, m).

    Equal scores share the first rank, so that a tie's order tells nothing.
    """
    found = np.empty(scores.shape, dtype=np.float32)
    for member in range(scores.shape[1]):
        # Sorted by whatever is quickest: equal scores share their rank.
        order, values = _ordered(scores[:, member], indptr, None)
        fresh = np.ones(order.shape, dtype=bool)
        fresh[:, 1:] = values[:, 1:] != values[:, :-1]
        first = np.maximum.accumulate(np.where(fresh, np.arange(order.shape[1]), 0), axis=1)
        found[:, member] = _each(order, first, indptr)
    return found


def places(values: np.ndarray, indptr: np.ndarray) -> np.ndarray:
    """Place from 0 of each candidate among its user's, the highest value first, (R,); of equal ones the first comes first."""
    order, _ = _ordered(values, indptr, "stable")
    return _each(order, np.broadcast_to(np.arange(order.shape[1]), order.shape), indptr)


def _ordered(
    values: np.ndarray, indptr: np.ndarray, kind: Literal["stable"] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Each user's candidates in falling order, (U, most candidates), and minus their values; inf behind the last.

    kind: of the sort; with `None` equal ones come in any order.
    """
    lengths = np.diff(indptr)
    inside = np.arange(lengths.max(initial=0)) < lengths[:, None]
    table = np.full(inside.shape, np.inf, dtype=values.dtype)
    table[inside] = -values
    order = np.argsort(table, axis=1, kind=kind)
    return order, np.take_along_axis(table, order, axis=1)


def _each(order: np.ndarray, told: np.ndarray, indptr: np.ndarray) -> np.ndarray:
    """What is told of each place of `order`, both (U, most candidates), by candidate, (R,)."""
    found = np.empty(order.shape, dtype=np.int64)
    np.put_along_axis(found, order, told, axis=1)
    lengths = np.diff(indptr)
    return found[np.arange(order.shape[1]) < lengths[:, None]]


def gained(values: np.ndarray, rows: Rows) -> np.ndarray:
    """NDCG@`DEPTH` of each user's candidates in the order of `values` (R,), (U,)."""
    users = np.repeat(np.arange(len(rows)), np.diff(rows.indptr))
    place = places(values, rows.indptr)
    gain = rows.label * (place < DEPTH) / np.log2(place + 2.0)
    return np.bincount(users, gain, len(rows)) / np.maximum(rows.best, 1e-9)


@dataclass(frozen=True)
class Ranker:
    """weights: (2 m,) of the linear part over the first 2 m columns of opinions. trees: LightGBM's text, "" for none."""

    weights: np.ndarray
    trees: str

    @cached_property
    def grown(self) -> Any:
        """The trees, which take milliseconds to read."""
        import lightgbm

        return lightgbm.Booster(model_str=self.trees)

    def blended(self, rows: Rows) -> np.ndarray:
        """The blend's value against the mean of the user's candidates, (R,) float64: alone it tells nothing."""
        found = linear(rows) @ self.weights
        lengths = np.diff(rows.indptr)
        users = np.repeat(np.arange(len(rows)), lengths)
        mean = np.bincount(users, found, len(rows)) / np.maximum(lengths, 1)
        return found - mean[users]

    def values(self, rows: Rows) -> np.ndarray:
        """(R,) float64, higher is better."""
        found = self.blended(rows)
        return _grown(self.grown, rows, found, -1) if self.trees and len(found) else found


def _grown(trees: Any, rows: Rows, start: np.ndarray, rounds: int) -> np.ndarray:
    """The blend's values `start` (R,) plus those of so many trees, for the best `DEEP` of each user."""
    seen = deepest(rows, start)
    found = start - BELOW
    if seen.any():
        added = trees.predict(rows.features(seen), raw_score=True, num_iteration=rounds)
        found[seen] = start[seen] + added
    return found


def deepest(rows: Rows, start: np.ndarray) -> np.ndarray:
    """Which candidates are among their user's best `DEEP`, (R,) booleans."""
    return best_of_each(start, rows.indptr, DEEP)


def best_of_each(values: np.ndarray, indptr: np.ndarray, most: int) -> np.ndarray:
    """Which candidates are among their user's `most` of the highest values, (R,) booleans. values: (R,)."""
    return places(values, indptr) < most


def linear(rows: Rows) -> np.ndarray:
    """What the blend sees: shares and ranks, (R, 2 m) float64."""
    return rows.opinions[:, : rows.opinions.shape[1] * 2 // 3].astype(np.float64)


def fit_blend(rows: Rows) -> np.ndarray:
    """Weights of the listwise softmax, none below 0, by L-BFGS. The fewer the users, the smaller they are kept."""
    from scipy.optimize import minimize

    seen = np.zeros(0, np.int64)
    if len(rows):
        seen = np.flatnonzero(np.add.reduceat(rows.label, rows.indptr[:-1]) > 0)
    part = rows.take(seen)
    given = linear(part)
    if not len(part):
        return np.zeros(given.shape[1])
    users = np.repeat(np.arange(len(part)), np.diff(part.indptr))
    starts = part.indptr[:-1]
    mass = part.label / np.add.reduceat(part.label, starts)[users]
    # A user with a longer list of purchases says more, but not in proportion.
    weight = np.sqrt(np.add.reduceat(part.label, starts))
    weight = weight / weight.sum()

    penalty = SMALL / len(part)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scores = given @ weights
        top = np.maximum.reduceat(scores, starts)
        powers = np.exp(scores - top[users])
        total = np.add.reduceat(powers, starts)
        chance = powers / total[users]
        logs = scores - (top + np.log(total))[users]
        value = -float((weight[users] * mass * logs).sum())
        slope = given.T @ (weight[users] * (chance - mass))
        return value + penalty * float(weights @ weights), slope + 2 * penalty * weights

    start = np.full(given.shape[1], 0.1)
    return minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * len(start),
        options={"maxiter": 200},
    ).x


def fit_trees(rows: Rows, start: np.ndarray, rounds: int, seed: int, threads: int) -> str:
    """Trees over all features that begin at `start` (R,), as text."""
    import lightgbm

    users = np.repeat(np.arange(len(rows)), np.diff(rows.indptr))
    some = deepest(rows, start)
    some &= (np.bincount(users, some & rows.label, len(rows)) > 0)[users]
    group = np.bincount(users[some], minlength=len(rows))
    data = lightgbm.Dataset(
        rows.features(some),
        rows.label[some].astype(np.int8),
        group=group[group > 0],
        init_score=start[some],
        free_raw_data=True,
    )
    leaves = 31 if some.sum() > 100_000 else 15
    booster = lightgbm.train(
        {
            "objective": "lambdarank",
            "lambdarank_truncation_level": 30,
            "learning_rate": 0.05,
            "num_leaves": leaves,
            "min_data_in_leaf": 50,
            "lambda_l2": 5.0,
            "feature_fraction": 0.5,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "max_bin": 63,
            "deterministic": True,
            "force_row_wise": True,
            "seed": seed,
            "num_threads": threads,
            "verbosity": -1,
        },
        data,
        num_boost_round=rounds,
    )
    return booster.model_to_string()


def needed(rows: Rows, single: int) -> list[int]:
    """The members that have a say in the blend, and the member `single`."""
    members = rows.opinions.shape[1] // 3
    shares = fit_blend(rows).reshape(2, members).sum(0)
    return [at for at in range(members) if at == single or shares[at] > LITTLE * shares.max()]


def chosen(
    rows: Rows, names: Sequence[str], fallback: int, seed: int, threads: int
) -> tuple[Ranker | None, str, dict[str, np.ndarray], list[int]]:
    """The ranker that is best on held-out users, fitted on all, or None for a member's own order; its name among the ways; the NDCG of each way by user; and
    the members it needs.

    fallback: the member that is taken where there are no rows. The blend is taken where it beats, on users whom it was not
    learnt from, the member that is best on the others: the best of many on the very users that chose it is flattered. Trees
    must beat what was taken by more than `SURE` standard errors of the difference. The ranker is of the needed
    members alone: those without a weight in the blend are left out.
    """
    import lightgbm

    if not len(rows):
        return None, names[fallback], {}, [fallback]
    members = len(names)
    quality: dict[str, np.ndarray] = {
        name: gained(rows.opinions[:, at], rows) for at, name in enumerate(names)
    }
    single = max(range(members), key=lambda at: quality[names[at]].mean())
    kept = needed(rows, single)
    rows = rows.of_members(kept)
    rng = np.random.default_rng(seed)
    fold = rng.permutation(len(rows)) % FOLDS
    enough = len(rows) * (FOLDS - 1) // FOLDS >= ENOUGH
    grown_of = {f"trees {rounds}": rounds for rounds in ROUNDS if enough}
    ways = ["blend", *grown_of]
    quality |= {way: np.zeros(len(rows)) for way in ways}
    taken = np.zeros(len(rows))
    for held in range(FOLDS):
        fit, test = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        taken[test] = max((quality[name] for name in names), key=lambda one: one[fit].sum())[test]
        mine, theirs = rows.take(fit), rows.take(test)
        weights = fit_blend(mine)
        start = linear(theirs) @ weights
        quality["blend"][test] = gained(start, theirs)
        if not enough:
            continue
        trees = lightgbm.Booster(
            model_str=fit_trees(mine, linear(mine) @ weights, ROUNDS[-1], seed, threads)
        )
        for way, rounds in grown_of.items():
            quality[way][test] = gained(_grown(trees, theirs, start, rounds), theirs)
    way = names[single]
    if quality["blend"].mean() > taken.mean():
        way, taken = "blend", quality["blend"]
    best = max(ways, key=lambda one: quality[one].mean())
    gain = quality[best] - taken
    if gain.mean() > SURE * gain.std() / np.sqrt(len(gain)):
        way = best
    if way == names[single]:
        return None, way, quality, [single]
    weights, grown = fit_blend(rows), ""
    if way != "blend":
        start = linear(rows) @ weights
        grown = fit_trees(rows, start, grown_of[way], seed, threads)
    return Ranker(weights, grown), way, quality, kept

"""Whether two samples of a column, or two stretches of counts, are alike: tests with a bound on false alarms.

An alarm needs both: a difference that chance does not explain, and one that is large. On unchanged data the first alone
raises no more false alarms than the level that was asked for.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

BINS = 10
"""Quantiles of a column of numbers, or named values of a column of words; what is left is one more bin."""
FEWEST = 5.0
"""Smallest expected count of a bin; smaller ones are joined (Cochran's rule for Pearson's test)."""
EMPTY, OTHER = "(empty)", "(other)"


@dataclass(frozen=True)
class Shift:
    """How one column moved. psi: population stability index; p: of Pearson's test; n: rows of both samples.

    bins: names of the bins; before, now: shares of the two samples in them.
    """

    psi: float
    p: float
    n: tuple[int, int]
    bins: tuple[str, ...]
    before: tuple[float, ...]
    now: tuple[float, ...]


def one_a_user(users: np.ndarray, seed: int) -> np.ndarray:
    """Positions of one row of each user, picked by chance. users: (n,) any values.

    Rows of one user are alike; a test that takes all of them for independent would alarm too often.
    """
    order = np.random.default_rng(seed).permutation(len(users))
    return np.sort(order[np.unique(np.asarray(users)[order], return_index=True)[1]])


def shift(before: pd.Series, now: pd.Series) -> Shift | None:
    """How a column differs between two samples of independent rows; None where nothing can be compared.

    Numbers are cut at quantiles, words are counted by the most frequent values, empty cells are a bin. All bins are chosen
    on both samples together: chosen on one, they would fit it better than the other by chance alone.
    p is Pearson's chi-square test of homogeneity; the index is the symmetric Kullback–Leibler divergence of the
    shares (half a row is added to each bin, so that it is finite). Source: Siddiqi (2006), Credit Risk Scorecards;
    Yurdakul and Naranjo (2020), Statistical properties of the population stability index.
    """
    from scipy.stats import chi2_contingency

    if not len(before) or not len(now):
        return None
    counts, names = _table(before, now)
    counts, names = _joined(counts, names)
    if counts.shape[1] < 2:
        return Shift(0.0, 1.0, (len(before), len(now)), tuple(names), (1.0,), (1.0,))
    p = float(chi2_contingency(counts, correction=False).pvalue)
    shares = (counts + 0.5) / (counts + 0.5).sum(1, keepdims=True)
    psi = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
    told = counts / counts.sum(1, keepdims=True)
    return Shift(
        psi,
        p,
        (len(before), len(now)),
        tuple(names),
        tuple(told[0].tolist()),
        tuple(told[1].tolist()),
    )


def _table(before: pd.Series, now: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Counts (2, bins) of both samples and the bins' names."""
    both = pd.concat([before, now])
    numbers = pd.api.types.is_numeric_dtype(before) and not pd.api.types.is_bool_dtype(before)
    if numbers:
        known = both.dropna().to_numpy(dtype=np.float64)
        edges = (
            np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]))
            if len(known)
            else known
        )
        names = [f"to {edge:.4g}" for edge in edges] + ["above"]
        codes = [
            np.where(one.isna(), len(names), np.searchsorted(edges, one.fillna(0.0), side="left"))
            for one in (before.astype(float), now.astype(float))
        ]
    else:
        top = both.dropna().astype(str).value_counts().index[:BINS]
        names = [*top, OTHER]
        codes = [
            np.where(
                one.isna(),
                len(names),
                np.where((at := top.get_indexer(one.astype(str))) < 0, len(top), at),
            )
            for one in (before, now)
        ]
    names = [*names, EMPTY]
    return np.stack([np.bincount(one, minlength=len(names)) for one in codes]).astype(float), names


def _joined(counts: np.ndarray, names: list[str]) -> tuple[np.ndarray, list[str]]:
    """The same with bins of too small an expected count added to their neighbour."""
    share = counts.sum(1).min() / counts.sum()
    kept: list[np.ndarray] = []
    labels: list[str] = []
    for column, name in zip(counts.T, names, strict=True):
        if kept and min(kept[-1].sum(), column.sum()) * share < FEWEST:
            small = kept[-1].sum() < column.sum()
            kept[-1] = kept[-1] + column
            labels[-1] = name if small else labels[-1]
        else:
            kept.append(column)
            labels.append(name)
    return np.stack(kept, axis=1), labels


def volume(before: np.ndarray, now: np.ndarray) -> tuple[float, float]:
    """Relative change of the mean count and its two-sided p. before: (b,) counts of equal spans; now: (c,).

    Student's test with the spread of `before` alone, so that one span is enough for `now`; p is 1 where `before` has
    fewer than two.
    """
    from scipy.stats import t

    if len(before) < 2 or not len(now) or before.mean() == 0:
        return 0.0, 1.0
    change = float(now.mean() / before.mean() - 1.0)
    spread = before.std(ddof=1) * np.sqrt(1 / len(before) + 1 / len(now))
    if spread == 0:
        return change, 1.0 if change == 0 else 0.0
    return change, float(2 * t.sf(abs(now.mean() - before.mean()) / spread, len(before) - 1))

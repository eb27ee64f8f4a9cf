"""A linear classifier over vectors: multinomial logistic regression, its strength and temperature by held-out folds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.vision.head import TEMPERATURES, log_softmax

LEAST = 10
COMMON = 0.6
"""What keeps a row from its class's mean and no further example takes away, as a share of what one example alone adds."""
TENSORS = ("mean", "scale", "ends", "weights", "bias", "temperature")


@dataclass(frozen=True)
class Linear:
    """mean, scale: (d,) of the inputs. ends (p,): see `evened`. weights (d, c), bias (c,). temperature: (1,)."""

    mean: np.ndarray
    scale: np.ndarray
    ends: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    temperature: np.ndarray

    def logits(self, vectors: np.ndarray) -> np.ndarray:
        """(n, d) to (n, c) float32, the temperature applied."""
        seen = evened((vectors - self.mean) * self.scale, self.ends)
        return ((seen @ self.weights + self.bias) / self.temperature).astype(np.float32)

    def tensors(self, prefix: str = "") -> dict[str, np.ndarray]:
        """Arrays for a bundle."""
        return {prefix + name: np.asarray(getattr(self, name), np.float32) for name in TENSORS}

    @property
    def standardises(self) -> bool:
        """Whether inputs are standardised. Those of a tuned network's last layer are not: it learned from them as they are."""
        return bool(self.mean.any())

    def among(self, vectors: np.ndarray) -> "Linear":
        """The classifier for rows like vectors (n, d), two at least, which differ from those it learned from.

        They take the place of those in standardising. Source: Sun, Feng and Saenko (2016), Return of frustratingly easy
        domain adaptation (its first two moments, feature by feature).
        """
        mean, scale = standard(vectors, np.arange(len(vectors)))
        return replace(self, mean=mean, scale=scale)

    def without_hubs(
        self, vectors: np.ndarray, apart: float, least: float, most: float
    ) -> "Linear":
        """The classifier with the logits of each class standardised over vectors (n, d), then multiplied by a warmth.

        A class that is near to everything, as one known by a single picture may be, no longer takes all.
        Source: Schnitzer et al. (2012), Local and global scaling reduce hubs in space.
        The warmth is `apart` for each direction beyond the first that the logits differ in (see `directions`), from `least`
        to `most`: logits that rise and fall together say one thing many times.
        """
        logits = replace(self, temperature=np.ones(1, np.float32)).logits(vectors)
        spread = np.maximum(logits.std(0), 1e-9)
        told = directions((logits - logits.mean(0)) / spread)
        scale = np.float32(np.clip(apart * (told - 1), least, most)) / spread
        return replace(
            self,
            weights=self.weights * scale,
            bias=(self.bias - logits.mean(0)) * scale,
            temperature=np.ones(1, np.float32),
        )

    def warmed(self, logits: np.ndarray, labels: np.ndarray) -> "Linear":
        """The classifier at the temperature that makes labels (n,) likeliest, from its logits (n, c); -1: not known."""
        known = labels >= 0
        warmth = temperature(logits[known], labels[known])
        return replace(self, temperature=self.temperature * np.float32(warmth))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], prefix: str = "") -> "Linear":
        """The classifier that `tensors` gave."""
        found = {name: tensors[prefix + name] for name in TENSORS}
        return cls(**found | {"ends": found["ends"].astype(np.int64)})


def evened(vectors: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Vectors (n, d) float32 whose parts, ending at ends (p,), are brought to the root of their share of the width.

    What each layer says then counts by its direction: strong light or contrast do not make it louder. Without
    ends nothing is brought anywhere. Vectors of float32 are changed in place.

    >>> evened(np.array([[3.0, 4.0, 0.1, 0.0]]), np.array([2, 4])).astype(float).round(3).tolist()
    [[0.424, 0.566, 0.707, 0.0]]
    """
    found = np.asarray(vectors, np.float32)
    for start, end in zip([0, *ends[:-1]], ends, strict=True) if len(ends) else ():
        length = np.linalg.norm(found[:, start:end], axis=1, keepdims=True)
        found[:, start:end] *= np.sqrt((end - start) / found.shape[1]) / np.maximum(length, 1e-9)
    return found


def directions(values: np.ndarray) -> float:
    """How many directions standardised values (n, c) of n rows spread over: the participation ratio of their correlations.

    Those that chance alone would show in n rows are taken off.

    >>> draw = np.random.default_rng(0).normal(size=(400, 6))
    >>> round(directions(draw)), round(directions(draw[:, [0, 0, 0, 0, 0, 1]]), 1)
    (6, 1.3)
    """
    rows, columns = values.shape
    shared = float(np.square(values.T @ values / rows).sum()) - columns**2 / rows
    return columns**2 / max(shared, columns)


def growth(labels: np.ndarray, folds: np.ndarray, told: np.ndarray) -> float:
    """By how much a temperature falls from the one of held-out rows to the one of a classifier that learns from these, too.

    labels, folds (n,); told (n,) bool: the rows that were held out, fold by fold; others have their class. What tells classes
    apart is taken for noise of a share `COMMON` and of one that a class's k examples divide by k: a class of two
    examples, of which one is held out, gains much, one of thirty next to nothing.

    >>> pairs = np.repeat(np.arange(4), 2)
    >>> round(growth(pairs, np.arange(8) % 2, np.ones(8, bool)), 3)
    0.829
    """
    _, place = np.unique(labels, return_inverse=True)
    _, fold = np.unique(folds, return_inverse=True)
    inside = np.zeros((place.max() + 1, fold.max() + 1))
    np.add.at(inside, (place, fold), 1)
    whole = inside.sum(1)[place[told]]
    others = whole - inside[place[told], fold[told]]
    return float(np.sqrt(np.mean((COMMON + 1 / whole) / (COMMON + 1 / others))))


def standard(vectors: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale (d,) after which the chosen rows of vectors (n, d) have a length near 1."""
    chosen = vectors[rows]
    spread = chosen.std(0)
    floor = 0.05 * float(spread.mean()) + 1e-6
    return chosen.mean(0), (1.0 / ((spread + floor) * np.sqrt(vectors.shape[1]))).astype(np.float32)


def logistic(
    vectors: np.ndarray,
    labels: np.ndarray,
    classes: int,
    strength: float,
    start: np.ndarray | None = None,
    steps: int = 60,
) -> np.ndarray:
    """Weights (d + 1, classes), the last row the bias, that minimise cross-entropy + |weights|² / (2 n strength).

    vectors (n, d) float32; labels (n,). start: where to begin. By L-BFGS; the same call gives the same weights.
    """
    import torch
    from torch.nn import functional

    seen, truth = torch.from_numpy(np.ascontiguousarray(vectors)), torch.from_numpy(labels)
    decay = 1.0 / (strength * max(len(labels), 1))
    weights = torch.zeros(vectors.shape[1] + 1, classes)
    if start is not None:
        weights.copy_(torch.from_numpy(start))
    weights.requires_grad_(True)
    solver = torch.optim.LBFGS(
        [weights],
        max_iter=steps,
        history_size=10,
        tolerance_grad=1e-5,
        tolerance_change=1e-7,
        line_search_fn="strong_wolfe",
    )

    def cost() -> torch.Tensor:
        solver.zero_grad()
        loss = functional.cross_entropy(torch.addmm(weights[-1], seen, weights[:-1]), truth)
        loss = loss + 0.5 * decay * (weights[:-1] ** 2).sum()
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        return loss

    solver.step(cost)  # type: ignore[no-untyped-call] # torch leaves it untyped
    return weights.detach().numpy()


def folds_of(groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A fold from 0 for each row (n,), whole groups together, sizes alike; as many folds as groups at most."""
    names, sizes = np.unique(groups, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    load = np.zeros(min(count, max(len(names), 1)))
    fold = np.zeros(len(names), np.int64)
    for at in order:
        fold[at] = int(load.argmin())
        load[fold[at]] += sizes[at]
    return fold[np.searchsorted(names, groups)]


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """What logits (n, c) are to be divided by to make labels (n,) likeliest; 1 where there is no row."""
    if not len(labels):
        return 1.0
    here = np.arange(len(labels))
    costs = [-log_softmax(logits / t)[here, labels].mean() for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(costs))])


def fit_linear(
    vectors: np.ndarray,
    labels: np.ndarray,
    classes: int,
    folds: np.ndarray,
    strengths: Sequence[float],
    kin: np.ndarray | None = None,
    skipped: int | None = None,
    ends: Sequence[int] = (),
) -> tuple[Linear, np.ndarray]:
    """The classifier with the strength that is best on held-out folds (n,), and held-out logits (n, classes).

    The temperature is that of the held-out logits, lowered by `growth`; where too few rows can be held out it is 1, and the strength the
    middle one. skipped: a fold that is never held out. kin (m, d): further views of the same rows, m a multiple of n in
    the same order: they train with their row's label, and are held out with it. ends: see `evened`.
    Strengths ascend; each begins where the one before ended, and a worse one ends the search.
    """
    views = vectors if kin is None else np.concatenate([vectors, kin])
    times = len(views) // len(vectors)
    mean, scale = standard(vectors, np.arange(len(vectors)))
    parts = np.array(ends, np.int64)
    seen = evened((views - mean) * scale, parts)
    truth, place = np.tile(labels, times), np.tile(folds, times)
    kept = [fold for fold in np.unique(folds) if fold != skipped and (folds != fold).any()]
    # A held-out row whose class no other fold has tells nothing.
    told = np.zeros(len(labels), bool)
    for fold in kept:
        out = folds == fold
        told[out] = np.isin(labels[out], labels[~out])
    if told.sum() < max(LEAST, 0.1 * np.isin(folds, kept).sum()):
        strength = strengths[len(strengths) // 2]
        weights = logistic(seen, truth, classes, strength)
        made = Linear(mean, scale, parts, weights[:-1], weights[-1], np.ones(1, np.float32))
        return made, seen[: len(labels)] @ weights[:-1] + weights[-1]
    here = np.arange(int(told.sum()))
    starts: dict[int, np.ndarray] = {}
    best = (np.inf, strengths[0], np.zeros((len(labels), classes), np.float32))
    for strength in strengths:
        held = np.zeros((len(labels), classes), np.float32)
        for fold in kept:
            train = place != fold
            start = starts.get(fold)
            starts[fold] = logistic(seen[train], truth[train], classes, strength, start)
            out = folds == fold
            held[out] = seen[: len(labels)][out] @ starts[fold][:-1] + starts[fold][-1]
        warmth = temperature(held[told], labels[told])
        cost = -log_softmax(held[told] / warmth)[here, labels[told]].mean()
        if cost > best[0]:
            break
        best = (cost, strength, held)
    _, strength, held = best
    weights = logistic(seen, truth, classes, strength)
    warmth = temperature(held[told], labels[told]) * growth(labels, folds, told)
    made = Linear(mean, scale, parts, weights[:-1], weights[-1], np.array([warmth], np.float32))
    return made, held

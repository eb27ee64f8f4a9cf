"""Lists for users without any event: what sells, and what sells to users with the same features.

    s(u, i) = log g_i  +  w sum_c log( 1 + n(v, i) / (m g_i) )

with g_i the item's share of what sold lately, v the user's value in column c of the features, and n(v, i) the decayed events of
users with that value. Up to what is the same for all items, the second term is the log of how much oftener users with the value
have the item, shrunk towards everyone's share (Zhai and Lafferty 2004, A study of smoothing methods).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from models.metrics import ndcg
from models.recommenders.base import blocks, top_k
from models.recommenders.catalogue import Catalogue
from models.recommenders.cuts import Cut
from models.recommenders.events import HALF_LIVES, Events, Histories, decay

DEPTH = 10
SHRINKAGES = (0.3, 3.0)
"""m, in the events of a usual value."""
WEIGHTS = (0.3, 1.0)
ASKED = 1000
"""Users whom the settings are chosen on."""


@dataclass(frozen=True)
class Setting:
    """half_life: of what sells, in days. shrinkage: see `SHRINKAGES`. weight: w; 0 for what sells alone."""

    half_life: float
    shrinkage: float = 1.0
    weight: float = 0.0


@dataclass(frozen=True)
class Newcomers:
    """See the module. base: (n,) log g. lifts: of each column, (values + 1, n), row 0 of those without a value.

    users: names of all that may be asked for. values: (users, C) numbers of their features' values, 0 for none.
    """

    setting: Setting
    base: np.ndarray
    lifts: Sequence[sp.csr_matrix]
    users: list[str]
    values: np.ndarray

    @classmethod
    def fit(cls, events: Events, features: Catalogue, setting: Setting) -> "Newcomers":
        """features: of the users of `events`, in their order; of none where it has no columns."""
        sizes = [size + 1 for size in features.sizes] if setting.weight else []
        return cls._of(events, features.codes + 1, sizes, setting)

    def observe(self, events: Events) -> "Newcomers":
        """The same knowing these events. Users who are new have no features."""
        users = list(dict.fromkeys([*self.users, *events.users]))
        values = np.zeros((len(users), self.values.shape[1]), dtype=self.values.dtype)
        values[: len(self.users)] = self.values
        sizes = [lift.shape[0] for lift in self.lifts]
        return self._of(events.of(users), values, sizes, self.setting)

    @classmethod
    def _of(
        cls, events: Events, values: np.ndarray, sizes: Sequence[int], setting: Setting
    ) -> "Newcomers":
        """sizes: numbers of values of the columns that count."""
        n = len(events.items)
        mass = decay(events.now - events.day, setting.half_life)
        share = (np.bincount(events.item, mass, n) + 1e-9) / max(float(mass.sum()), 1e-9)
        lifts = []
        for column, size in enumerate(sizes):
            value = values[events.user, column]
            bought = sp.csr_matrix((mass, (value, events.item)), shape=(size, n))
            usual = float(mass.sum()) / max(size - 1, 1) * setting.shrinkage
            data = np.log1p(bought.data / (usual * share[bought.indices]))
            lift = sp.csr_matrix((data, bought.indices, bought.indptr), shape=bought.shape)
            lifts.append(sp.csr_matrix(sp.diags(np.minimum(np.arange(size), 1.0)) @ lift))
        return cls(setting, np.log(share), lifts, events.users, values)

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Scores (k, n) float32 of the users at these positions (k,)."""
        found = np.repeat(self.base[None, :], len(users), axis=0)
        for column, lift in enumerate(self.lifts):
            found += self.setting.weight * lift[self.values[users, column]].toarray()
        return found.astype(np.float32)


def fit_newcomers(
    events: Events, features: Catalogue, cut: Cut, allowed: np.ndarray | None
) -> tuple[Newcomers, dict[Setting, float]]:
    """The setting that would have been best for the users of `cut`, had nothing of them been known; fitted on `events`.

    events, cut: of the same users, whose features these are. allowed: (items,) what may be listed, or None. Returns the
    NDCG@10 of each setting, too. The users that a setting is tried on are left out of what it counts.
    """
    # Half of them at most: the others are whom it learns from.
    held = cut.asked[:: max(2, -(-len(cut.asked) // ASKED))]
    truth = cut.targets.take(np.flatnonzero(np.isin(cut.asked, held)))
    others = cut.before.chosen(~np.isin(cut.before.user, held), cut.before.now)
    ways = [Setting(half) for half in HALF_LIVES]
    quality = {
        way: _quality(Newcomers.fit(others, features, way), held, truth, allowed) for way in ways
    }
    if features.codes.shape[1]:
        half = max(quality, key=lambda way: quality[way]).half_life
        for shrinkage in SHRINKAGES:
            for weight in WEIGHTS:
                way = Setting(half, shrinkage, weight)
                model = Newcomers.fit(others, features, way)
                quality[way] = _quality(model, held, truth, allowed)
    best = max(quality, key=lambda way: quality[way])
    return Newcomers.fit(events, features, best), quality


def _quality(
    model: Newcomers, held: np.ndarray, truth: Histories, allowed: np.ndarray | None
) -> float:
    total = 0.0
    for block in blocks(len(held), truth.items):
        true = truth.take(block)
        lists = top_k(model.scores(held[block]), DEPTH, allowed)
        total += float(ndcg(lists, true.indptr, true.item).sum())
    return total / max(len(held), 1)

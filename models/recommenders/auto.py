"""`auto`: every recommender that the shop can afford, and a ranker over what they propose, chosen on held-out rows.

The held-out rows are the last part of what is known: what users did in the last days, or each user's last event where only
the order is known. Members are fitted on what was before, their variants are chosen, and the ranker learns to order what
they propose for the users of the held-out rows. Then the members are fitted again on everything.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from models.metrics import ndcg
from models.recommenders import base
from models.recommenders.base import Recommender, Scored, blocks, highest, top_k
from models.recommenders.catalogue import Catalogue
from models.recommenders.cuts import Cut, Protocol, met, sampled, sold
from models.recommenders.events import Events, Histories
from models.recommenders.features import Shop, pairs
from models.recommenders.kernels import Fades, Fading
from models.recommenders.newcomers import Newcomers, fit_newcomers
from models.recommenders.ranker import (
    DEPTH,
    ENOUGH,
    Ranker,
    Rows,
    best_of_each,
    chosen,
    gained,
    needed,
    opinions,
    ranks,
)
from models.recommenders.reasons import Candidates, Why
from models.recommenders.registry import (
    RECOMMENDERS,
    Choice,
    Given,
    affordable,
    fadings,
    fitted,
)
from models.recommenders.settings import RegistrySettings
from models.training.settings import ONE, Devices

PROPOSED = 60
"""Items that each member proposes to each user."""
CONSIDERED, RANK_SHIFT = 160, 10.0
"""So many of them are ranked, those by the sum of 1 / (shift + rank)."""
TUNED_ON, TUNED_CELLS = (200, 1500), 20_000_000
"""Users on whom variants are compared: so few and so many, and as many as there are scores to be made."""
LEARNT_ON = 6000
"""Users whom the ranker learns from."""
FEW = 1500
"""Fewer users of one cut than this: earlier cuts are added."""
MOST_CUTS, MOST_EVENTS = 4, 1_000_000
"""So many cuts at most, and so many events of all cuts together: what a cut costs grows with the events."""
LONG = 100_000
"""Events from which members that have no say on the newest cut are not fitted for earlier ones."""


@dataclass(frozen=True)
class Auto(Recommender):
    """See the module. members: by name. ranker: None for one member's own order. shop, catalogue: for the ranker. allowed: (items,) or None. again: see `base`.

    fallback: the member that orders what no member proposed. quality: NDCG of each member on held-back rows.
    newcomers: lists who has no history; None: the members do. known: the events of known users. k: items on a list.
    """

    kind: ClassVar[str] = "recommender"
    items: list[str]
    members: Mapping[str, Recommender]
    ranker: Ranker | None
    shop: Shop
    catalogue: Catalogue
    allowed: np.ndarray | None
    again: bool
    fallback: str
    quality: Mapping[str, float]
    newcomers: Newcomers | None
    known: Events
    k: int

    @property
    def kinds(self) -> Mapping[str, float] | None:
        return self.known.kinds

    @property
    def _width(self) -> int:
        """Scores a user for `blocks`: those of all members stand in memory together, as many as of four at once elsewhere."""
        return -(-len(self.items) * len(self.members) // 4)

    def scores(self, histories: Histories) -> np.ndarray:
        """Candidates have the ranker's values; what nobody proposed lies below them in the order of the fallback.

        Without a ranker they are the fallback's own.
        """
        return self.scored(histories).scores

    def explain(self, histories: Histories, lists: np.ndarray) -> np.ndarray:
        """As in `base`; of each listed item a few entries are tried, see `reasons`."""
        return self.scored(histories).explain(lists)

    def scored(self, histories: Histories) -> Scored:
        found = np.empty((len(histories), histories.items), dtype=np.float32)
        there = np.flatnonzero(np.diff(histories.indptr))
        if self.newcomers is None:
            there = np.arange(len(histories))
        else:
            found[np.diff(histories.indptr) == 0] = self.newcomers.base
        parts = []
        for block in blocks(len(there), self._width):
            mine = histories.take(there[block])
            if self.ranker is None:
                found[there[block]] = self.members[self.fallback].scores(mine)
            else:
                found[there[block]], candidates = self._ranked(self.ranker, mine)
                parts.append(replace(candidates, row=there[block][candidates.row]))
        explain = self.members[self.fallback].explain
        if self.ranker is None:
            return Scored(found, partial(explain, histories))
        why = Why(list(self.members.values()), self.ranker, self.shop, self.catalogue, explain)
        return Scored(found, partial(why.reasons, histories, Candidates.joined(parts)))

    def _ranked(self, ranker: Ranker, histories: Histories) -> tuple[np.ndarray, Candidates]:
        rows, candidates, fill = propose(self, histories, None)
        values = ranker.values(rows)
        low = np.zeros((len(histories), 1))
        there, starts = np.unique(candidates.row, return_index=True)
        if len(there):
            low[there, 0] = np.minimum(np.minimum.reduceat(values, starts), 0.0)
        top = np.maximum(np.abs(fill).max(1, initial=0.0, keepdims=True), 1e-9)
        fill = low - 2.0 + fill / (2.0 * top)
        fill[candidates.row, candidates.item] = values
        return fill, candidates

    def observe(self, events: Events) -> "Auto":
        members = {name: member.observe(events) for name, member in self.members.items()}
        newcomers = self.newcomers.observe(events) if self.newcomers else None
        shop = Shop.at(events, self.catalogue)
        return replace(self, members=members, shop=shop, newcomers=newcomers, known=events)

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """See `base.predict`: user_id, or user_id, item_id, timestamp; lists as user_id, item_id, rank, score."""
        return base.predict(self, self.known, frame, self.k, self.again)


def considered(auto: Auto, histories: Histories) -> tuple[Candidates, np.ndarray]:
    """The candidates of each user, and the fallback's scores (users, items)."""
    n, users = histories.items, len(histories)
    scored = {name: member.scores(histories) for name, member in auto.members.items()}
    proposed = [np.zeros(0, np.int64)]
    for scores in scored.values():
        row, item = proposals(scores, histories, auto)
        proposed.append(row * np.int64(n) + item)
    keys = np.unique(np.concatenate(proposed))
    row, item = keys // n, keys % n
    raw = np.stack([scores[row, item] for scores in scored.values()], axis=1)
    trust = np.array([auto.quality[name] for name in scored])
    kept = likeliest(raw, np.searchsorted(row, np.arange(users + 1)), trust)
    return Candidates(row[kept], item[kept], raw[kept]), scored[auto.fallback]


def propose(
    auto: Auto, histories: Histories, cut: Cut | None
) -> tuple[Rows, Candidates, np.ndarray]:
    """What the ranker sees of the candidates, these, and the fallback's scores (users, items)."""
    n, users = histories.items, len(histories)
    found, fill = considered(auto, histories)
    row, item, raw = found.row, found.item, found.raw
    indptr = np.searchsorted(row, np.arange(users + 1))
    label, best = np.zeros(len(row), dtype=bool), np.zeros(users)
    if cut is not None:
        true = cut.targets if auto.again else cut.targets.beyond(histories)
        label = np.isin(row * np.int64(n) + item, true.owner.astype(np.int64) * n + true.item)
        ideal = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(2, DEPTH + 2)))])
        best = ideal[np.minimum(np.diff(true.indptr), DEPTH)]
    rows = Rows(
        indptr,
        item,
        opinions(raw, indptr),
        pairs(histories, auto.shop, auto.catalogue, row, item),
        label,
        best,
    )
    return rows, found, fill


def likeliest(raw: np.ndarray, indptr: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Which candidates are among their user's best `CONSIDERED`, (R,) booleans, by the members' ranks.

    raw: (R, m) scores. trust: (m,) how much each member counts. Source: Cormack et al. (2009), Reciprocal rank fusion
    outperforms Condorcet and individual rank learning methods.
    """
    fused = (1.0 / (RANK_SHIFT + ranks(raw, indptr))) @ (trust + 1e-6)
    return best_of_each(fused, indptr, CONSIDERED)


def proposals(
    scores: np.ndarray, histories: Histories, auto: Auto
) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of each user's `PROPOSED` best, without those at the bottom, which a member has no opinion of."""
    open_to = scores.copy()
    if auto.allowed is not None:
        open_to[:, ~auto.allowed] = -np.inf
    if not auto.again:
        open_to[histories.owner, histories.item] = -np.inf
    found = highest(open_to, min(PROPOSED, scores.shape[1]))
    row, place = np.nonzero(np.take_along_axis(open_to, found, axis=1) > scores.min(1)[:, None])
    return row, found[row, place]


def compare(
    models: Mapping[Any, Recommender], cut: Cut, allowed: np.ndarray | None, again: bool
) -> dict[Any, float]:
    """Mean NDCG@10 of each model on the users of the cut."""
    histories = cut.before.histories.take(cut.asked)
    truth = cut.targets if again else cut.targets.beyond(histories)
    sums = dict.fromkeys(models, 0.0)
    for block in blocks(len(histories), histories.items):
        mine, true = histories.take(block), truth.take(block)
        for name, model in models.items():
            scores = model.scores(mine)
            if not again:
                scores[mine.owner, mine.item] = -np.inf
            sums[name] += float(ndcg(top_k(scores, DEPTH, allowed), true.indptr, true.item).sum())
    asked = max(int((np.diff(truth.indptr) > 0).sum()), 1)
    return {name: value / asked for name, value in sums.items()}


@dataclass(frozen=True)
class Held:
    """What the held-back rows of the newest cut say. quality: NDCG of each way by user, (users,); of the blend and the
    trees on users whom they were not learnt from. way: the one that was chosen. members: that it is made of.
    """

    quality: Mapping[str, np.ndarray]
    way: str
    members: Sequence[str]


def fit_auto(
    events: Events,
    catalogue: Catalogue,
    protocol: Protocol,
    settings: RegistrySettings,
    *,
    again: bool,
    allowed: np.ndarray | None,
    names: Sequence[str] | None,
    seed: int,
    threads: int,
    say: Callable[[str], None],
    k: int,
    beside: Mapping[str, Recommender] | None = None,
    users: tuple[list[str], Catalogue] | None = None,
    devices: Devices = ONE,
) -> tuple[Auto, Held]:
    """Choose and fit on `events`. names: members that are considered; None for all that the shop can afford.

    beside: members more, which were fitted before, on nothing that the newest cut holds back. They are not fitted
    again. users: all that may be listed and what is known of them; without it, those of `events`. k: items on a list.
    devices: what networks are trained on.
    """

    def given(part: Events, start: Recommender | None = None) -> Given:
        return Given(
            *(
                part,
                catalogue,
                protocol,
                again,
                unsold,
                pool,
                settings,
                seed,
                threads,
                start,
                devices,
            )
        )

    begun = time.perf_counter()
    unsold = allowed is not None and catalogue.known and not (sold(events) & allowed).any()
    pool = len(events.items) if allowed is None else int(allowed.sum())
    cut = met(protocol.cut(events, 0, unsold))
    ready = dict(beside or {})
    tried = [*(affordable(given(cut.before)) if names is None else names), *ready]
    most = int(np.clip(TUNED_CELLS // len(events.items), *TUNED_ON))
    tuning = sampled(cut, most, seed)
    choices: dict[str, Choice] = {}
    first: dict[str, Recommender] = {}
    found: dict[str, float] = {}
    for name in tried:
        if name in ready:
            first[name] = ready[name].observe(cut.before)
            may = _open(cut, allowed, unsold)
            found |= compare({name: first[name]}, tuning, may, again)
        else:
            choices[name], first[name], found[name] = tuned(
                name, given(cut.before), tuning, allowed, unsold
            )
        spent = time.perf_counter() - begun
        say(
            f"{name}: NDCG@{DEPTH} {found[name]:.4f} {choices.get(name, '')} ({spent:.0f} s so far)"
        )

    def refitted(part: Events, start: Mapping[str, Recommender]) -> dict[str, Recommender]:
        return {
            name: ready[name].observe(part)
            if name in ready
            else fitted(name, choices[name], given(part, start.get(name)))
            for name in tried
        }

    fallback = max(found, key=lambda name: found[name])

    def whole(
        part: Events,
        members: Mapping[str, Recommender],
        ranker: Ranker | None,
        may: np.ndarray | None,
        newcomers: Newcomers | None = None,
    ) -> Auto:
        shop = Shop.at(part, catalogue)
        quality = {name: found[name] for name in members}
        return Auto(
            part.items,
            members,
            ranker,
            shop,
            catalogue,
            may,
            again,
            fallback,
            quality,
            newcomers,
            part,
            k,
        )

    if len(tried) == 1:
        model = whole(events, refitted(events, first), None, allowed)
        return model, Held({}, tried[0], tried)
    parts: list[Rows] = []
    members, at = first, 0
    while True:
        may = _open(cut, allowed, unsold)
        parts.append(examples(whole(cut.before, members, None, may), sampled(cut, LEARNT_ON, seed)))
        at += 1
        if at == 1:
            told = {
                name: gained(parts[0].opinions[:, one], parts[0]) for one, name in enumerate(tried)
            }
        cuts = min(MOST_CUTS, MOST_EVENTS // max(len(events.user), 1))
        if sum(map(len, parts)) >= FEW or at >= cuts:
            break
        long = len(events.user) >= LONG
        if at == 1 and (long or ready) and len(parts[0]) >= ENOUGH:
            kept = needed(parts[0], tried.index(fallback))
            if not long:
                kept = [one for one in range(len(tried)) if one in kept or tried[one] not in ready]
            parts[0] = parts[0].of_members(kept)
            tried = [tried[one] for one in kept]
        cut = met(protocol.cut(events, at, unsold))
        if len(cut.before.user) < len(events.user) // 2 or not len(cut.asked):
            break
        if ready.keys() & set(tried):
            # They have seen what an earlier cut asks for.
            break
        # From the start: `first` has seen what this earlier cut asks for.
        members = refitted(cut.before, {})
    rows = Rows.joined(parts)
    say(f"ranking {len(rows.item)} candidates of {len(rows)} users, {rows.label.sum()} wanted")
    ranker, way, quality, kept = chosen(rows, tried, tried.index(fallback), seed, threads)
    say(" ".join(f"{name} {values.mean():.4f}" for name, values in quality.items()))
    tried = [tried[at] for at in kept]
    say(f"chosen: {way} of {', '.join(tried)}")
    fallback = max(tried, key=lambda name: found[name])
    listed, features = users or (events.users, Catalogue.none(len(events.users)))
    known = events.of(listed)
    newcomers, asked = fit_newcomers(known, features, protocol.cut(known, 0), allowed)
    say(f"users without events: NDCG@{DEPTH} {max(asked.values()):.4f} {newcomers.setting}")
    model = whole(events, refitted(events, first), ranker, allowed, newcomers)
    told |= {name: values[: len(parts[0])] for name, values in quality.items()}
    return model, Held(told, way, tried)


def tuned(
    name: str, given: Given, cut: Cut, allowed: np.ndarray | None, unsold: bool
) -> tuple[Choice, Recommender, float]:
    """The best base of recommender `name`, then the best fading of it: what was chosen, fitted, and its NDCG@10."""
    may = _open(cut, allowed, unsold)
    bases = {label: fit() for label, fit in RECOMMENDERS[name](given)}
    values = compare(bases, cut, may, given.again)
    label = max(values, key=lambda one: values[one])
    model = bases[label]
    if not isinstance(model, Fades):
        return Choice(label, None), model, values[label]
    ways: dict[Fading, Recommender] = {
        fading: model.with_fading(fading) for fading in fadings(given)
    }
    values = compare(ways, cut, may, given.again)
    fading = max(values, key=lambda one: values[one])
    return Choice(label, fading), ways[fading], values[fading]


def _open(cut: Cut, allowed: np.ndarray | None, unsold: bool) -> np.ndarray | None:
    """What may be listed as of a cut."""
    return ~sold(cut.before) if unsold else allowed


def examples(auto: Auto, cut: Cut) -> Rows:
    """Candidates of the cut's users, those without any or without a new target left out."""
    histories = cut.before.histories.take(cut.asked)
    parts = []
    for block in blocks(len(histories), histories.items * 2):
        part = replace(cut, asked=cut.asked[block], targets=cut.targets.take(block))
        rows, _, _ = propose(auto, histories.take(block), part)
        parts.append(rows.take(np.flatnonzero((np.diff(rows.indptr) > 0) & (rows.best > 0))))
    return Rows.joined(parts)

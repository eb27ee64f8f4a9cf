"""Rows that are held back, to choose on and to learn from: the last part of what is known."""

from dataclasses import dataclass, replace

import numpy as np

from models.recommenders.events import Events, Histories

FEW_FRESH, HIDDEN = 100, 0.15
"""Fewer users than this who wanted something never sold: this share of the items is hidden."""


@dataclass(frozen=True)
class Cut:
    """One way to hold rows back. before: what members are fitted on. asked: (U,) positions of users with a target.

    targets: their items, users in the order of `asked`.
    """

    before: Events
    asked: np.ndarray
    targets: Histories


@dataclass(frozen=True)
class Protocol:
    """How lists will be judged. last: each user's next event; else what follows in the next `days`."""

    last: bool
    days: float

    def cut(self, events: Events, at: int, unsold: bool = False) -> Cut:
        """The `at`-th cut from the end: 0 holds back the last part. unsold: only targets that nobody had before it.

        Where each user's next event is asked for, or hardly anything is new, a share of the items is hidden before it.
        """
        found = self._cut(events, at)
        if not unsold:
            return found
        fresh = _fresh(found, ~sold(found.before))
        if len(fresh.asked) >= FEW_FRESH:
            return fresh
        # Of a cut within a cut, others are hidden than of the outer one.
        rng = np.random.default_rng([at, int(sold(events).sum())])
        hidden = rng.random(len(events.items)) < HIDDEN
        before = found.before.chosen(~hidden[found.before.item], found.before.now)
        return _fresh(replace(found, before=before), ~sold(before))

    def _cut(self, events: Events, at: int) -> Cut:
        if self.last:
            later = events.later
            after = events.chosen(later == at, events.now)
            before = events.chosen(later > at, events.now)
            before = before.without_clock() if not events.clock else before
        else:
            end = events.now + 1e-6 - at * self.days
            before, after = events.before(end - self.days), events.between(end - self.days, end)
        # Views are no wish that a list could fulfil, where purchases are known.
        then = after.strongest.histories
        asked = np.flatnonzero(np.diff(then.indptr))
        return Cut(before, asked, then.take(asked))


def sold(events: Events) -> np.ndarray:
    """Which items anyone had, (n,) booleans."""
    return np.bincount(events.item, minlength=len(events.items)) > 0


def sampled(cut: Cut, most: int, seed: int) -> Cut:
    """The cut with at most so many users, drawn by `seed`."""
    if len(cut.asked) <= most:
        return cut
    some = np.sort(np.random.default_rng(seed).permutation(len(cut.asked))[:most])
    return replace(cut, asked=cut.asked[some], targets=cut.targets.take(some))


def met(cut: Cut) -> Cut:
    """The cut of the users who had something before it; the whole of it where nobody had.

    Others are served by what newcomers get: they tell nothing of those who learn from histories.
    """
    has = np.flatnonzero(np.diff(cut.before.histories.indptr)[cut.asked])
    if not len(has):
        return cut
    return replace(cut, asked=cut.asked[has], targets=cut.targets.take(has))


def _fresh(cut: Cut, fresh: np.ndarray) -> Cut:
    """The users with targets among the items that `fresh` (items,) marks, and these targets."""
    targets = cut.targets.kept(fresh[cut.targets.item])
    has = np.flatnonzero(np.diff(targets.indptr))
    return replace(cut, asked=cut.asked[has], targets=targets.take(has))

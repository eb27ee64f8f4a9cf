"""Recommenders by name: how each is fitted, and which variants of it are tried on validation rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from models.recommenders import kernels
from models.recommenders.affinity import AttributeAffinity
from models.recommenders.attributes import (
    AttributeFactors,
    AttributeNeighbours,
    AttributePopularity,
    first_sales,
)
from models.recommenders.base import Recommender
from models.recommenders.baselines import PersonalPopularity, Popularity, UserNeighbours
from models.recommenders.catalogue import Catalogue
from models.recommenders.cuts import Protocol
from models.recommenders.events import HALF_LIVES, Events
from models.recommenders.kernels import Ease, Fades, Fading, ImplicitFactors
from models.recommenders.sequential import Sequential
from models.recommenders.settings import RegistrySettings
from models.training.settings import ONE, Devices

NEAR = 200
"""Neighbours that an item keeps."""
REACH = 2.0
"""Events after which a follower counts half."""
EASILY_INVERTED, EASILY_FACTORED = 4000, 300_000
"""Up to so many items EASE is tried with several penalties, up to so many events factors with several fadings: seconds each."""


@dataclass(frozen=True)
class Given:
    """What a recommender may be fitted on. again: whether what a user had may be listed.

    unsold: only items that were never sold are listed. pool: how many items may be.
    start: the same recommender fitted on a part of the events, for those that go on from there. devices: of networks.
    """

    events: Events
    catalogue: Catalogue
    protocol: Protocol
    again: bool
    unsold: bool
    pool: int
    settings: RegistrySettings
    seed: int
    threads: int
    start: Recommender | None = None
    devices: Devices = ONE


Bases = Iterator[tuple[str, Callable[[], Recommender]]]
"""Labels of what is tried, and how each is fitted."""


def fadings(given: Given) -> list[Fading]:
    """Ways to let a history fade that are tried, the likeliest first."""
    if not given.events.clock:
        return [Fading(place=place) for place in (2.0, 1.0, 4.0, 10.0, 0.0)]
    if given.again:
        return [
            Fading(days=30.0, counted=True),
            *(Fading(days=days) for days in (30.0, 90.0, 365.0)),
        ]
    return [Fading(place=5.0), Fading(place=1.5), Fading(place=20.0), Fading(), Fading(days=30.0)]


def popularity(given: Given) -> Bases:
    for half in HALF_LIVES:
        yield f"{half:g}", partial(Popularity.fit, given.events, half)


def own(given: Given) -> Bases:
    for half in HALF_LIVES:
        yield f"{half:g}", partial(PersonalPopularity.fit, given.events, half)


def transitions(given: Given) -> Bases:
    counted = cache(partial(kernels.followers, given.events, REACH))

    def fit(source: float, target: float) -> Recommender:
        first = fadings(given)[0]
        return kernels.transitions(given.events, counted(), first, source, target)

    for source, target in ((0.5, 0.0), (1.0, 0.0), (0.5, 0.25)):
        yield f"{source:g} {target:g}", partial(fit, source, target)


def cosine(given: Given) -> Bases:
    for shrink in (1.0, 10.0):
        yield (
            f"{shrink:g}",
            partial(kernels.cosine, given.events, NEAR, fadings(given)[0], shrink, given.threads),
        )


def bm25(given: Given) -> Bases:
    yield "", partial(kernels.bm25, given.events, NEAR, fadings(given)[0], given.threads)


def walks(given: Given) -> Bases:
    for beta in (0.6, 0.3):
        yield (
            f"{beta:g}",
            partial(kernels.walks, given.events, NEAR, fadings(given)[0], beta, given.threads),
        )


def users(given: Given) -> Bases:
    yield "", partial(UserNeighbours.fit, given.events, given.settings.neighbours)


def ease(given: Given) -> Bases:
    settings = given.settings
    size = min(len(np.unique(given.events.item)), settings.ease_items)
    for times in (1.0, 0.2, 5.0) if size <= EASILY_INVERTED else (1.0,):
        penalty = settings.ease_penalty * times
        yield (
            f"{times:g}",
            partial(Ease.fit, given.events, penalty, settings.ease_items, fadings(given)[0]),
        )


def factors(given: Given) -> Bases:
    first = fadings(given)[0]
    yield "", partial(_factors, given, first)
    # Where tastes last, a history that fades forgets them.
    if first != Fading() and len(given.events.item) <= EASILY_FACTORED:
        yield "whole", partial(_factors, given, Fading())


def _factors(given: Given, fading: Fading) -> ImplicitFactors:
    settings = given.settings
    return ImplicitFactors.fit(
        given.events,
        settings.dim,
        0.01,
        10.0,
        settings.rounds,
        fading,
        given.seed,
        given.threads,
    )


def attributes(given: Given) -> Bases:
    items, tokens = given.events.items, given.catalogue.tokens
    ones = np.ones(len(items), dtype=np.float32)
    first = fadings(given)[0]
    yield "", partial(AttributeNeighbours, items, tokens, ones, first)
    yield (
        "prior",
        lambda: AttributeNeighbours(
            items, tokens, first_sales(given.catalogue, given.events), first
        ),
    )


def attribute_factors(given: Given) -> Bases:
    yield (
        "",
        lambda: AttributeFactors.fit(
            given.catalogue, _factors(given, fadings(given)[0]), given.events, given.seed
        ),
    )


def attribute_popularity(given: Given) -> Bases:
    yield "", partial(AttributePopularity.fit, given.catalogue, given.events)


def attribute_affinity(given: Given) -> Bases:
    yield (
        "",
        partial(
            AttributeAffinity.fit,
            given.events,
            given.catalogue,
            given.protocol,
            unsold=given.unsold,
            pool=given.pool,
            seed=given.seed,
            start=None if given.unsold else _affinity(given.start),
        ),
    )


def _affinity(start: Recommender | None) -> AttributeAffinity | None:
    return start if isinstance(start, AttributeAffinity) else None


def sequential(given: Given) -> Bases:
    yield "", partial(_sequential, given)


def _sequential(given: Given) -> Sequential:
    # Lightning takes seconds to import.
    from models.recommenders.sequential_training import train

    start = given.start if isinstance(given.start, Sequential) else None
    return train(given.events, given.settings.sequence, given.seed, start, given.devices)


RECOMMENDERS: dict[str, Callable[[Given], Bases]] = {
    "popularity": popularity,
    "personal-popularity": own,
    "next-item": transitions,
    "item-cosine": cosine,
    "item-bm25": bm25,
    "rp3beta": walks,
    "user-neighbours": users,
    "ease": ease,
    "ials": factors,
    "attribute-neighbours": attributes,
    "attribute-factors": attribute_factors,
    "attribute-popularity": attribute_popularity,
    "attribute-affinity": attribute_affinity,
    "sequential": sequential,
}
BY_CONTENT = (
    "attribute-neighbours",
    "attribute-factors",
    "attribute-popularity",
    "attribute-affinity",
)
"""Those that know items by what they are."""
UNSOLD = ("attribute-neighbours", "attribute-popularity", "attribute-affinity")
"""Those that are considered for items which were never sold."""
ORDERED = 0.4
"""Share of a user's neighbouring events that must have different times, for their order to mean something."""


@dataclass(frozen=True)
class Choice:
    """A recommender's base and fading. label: of the base. fading: None for what has none."""

    label: str
    fading: Fading | None


def affordable(given: Given) -> list[str]:
    """Names of the recommenders that this shop can be served by."""
    if given.unsold:
        return list(UNSOLD)
    # Factors from attributes have never helped beside the others, and cost a second fit of the factors.
    gone = {"attribute-factors", "attribute-popularity"}
    if not given.again:
        gone.add("personal-popularity")
    if not given.catalogue.known:
        gone |= set(BY_CONTENT)
    if not given.settings.sequence.epochs or ordered(given.events) < ORDERED:
        gone.add("sequential")
    return [name for name in RECOMMENDERS if name not in gone]


def ordered(events: Events) -> float:
    """Share of neighbouring events of one user that have different times."""
    same = events.user[1:] == events.user[:-1]
    apart = events.day[1:] != events.day[:-1]
    return float((same & apart).sum() / max(int(same.sum()), 1))


def fitted(name: str, choice: Choice, given: Given) -> Recommender:
    """The recommender `name` as it was chosen."""
    model = dict(RECOMMENDERS[name](given))[choice.label]()
    if choice.fading is not None and isinstance(model, Fades):
        return model.with_fading(choice.fading)
    return model

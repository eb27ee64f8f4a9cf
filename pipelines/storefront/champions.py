"""The champions behind the page, by alias: a promotion or a rollback is followed without a restart."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.kinds import load_model
from models.recommenders.events import Events
from pipelines.harness import MissingResource, VitrineError
from pipelines.lists.rules import Rules, Shelf, choose
from pipelines.own_tables import exclusions
from pipelines.promotion.registry import CHAMPION, Registry, Version
from pipelines.storefront.goods import Goods, Lists, newest_mark, read_lists


@dataclass(frozen=True)
class Loaded:
    """A champion that serves. manifest: of its bundle."""

    model: Any
    manifest: str


class Champion:
    """The champion of one capability. `current` is swapped in one step; requests never see half of it."""

    def __init__(self, capability: str) -> None:
        self.capability = capability
        self._lock = threading.Lock()
        self.current: Loaded | None = None

    def follow(self, registry: Registry) -> Loaded:
        """Load the champion where the alias names another one than before.

        Raises `MissingResource` where there is none or it can't be read; what serves goes on serving.
        """
        with self._lock:
            version = registry.aliases(self.capability).get(CHAMPION)
            if version is None:
                raise MissingResource(f"{self.capability} has no champion yet")
            if self.current is None or self.current.manifest != version.manifest:
                self.current = self.load(registry, version)
            return self.current

    def load(self, registry: Registry, version: Version) -> Loaded:
        """The model behind a version, its bundle verified."""
        with registry.fetch(version) as folder:
            return Loaded(load_model(folder), version.manifest)


@dataclass(frozen=True)
class Told:
    """What the follower saw last. faults: capability or `lists` to why it could not follow."""

    faults: dict[str, str]


@dataclass(frozen=True)
class Newcomers:
    """What lists for new people need of a champion and the products, made once for both.

    names: (n,) ids of the model's items, known: id to position; allowed: (1, n) booleans; price: (n,), NaN where unknown;
    shelf: what fills a list.
    """

    loaded: Loaded
    mark: tuple[str, int] | None
    names: list[str]
    known: dict[str, int]
    allowed: np.ndarray
    price: np.ndarray
    shelf: Shelf

    @classmethod
    def of(
        cls, loaded: Loaded, goods: Goods, lists: Lists | None, kept_off: frozenset[str]
    ) -> "Newcomers":
        """lists: those whose most listed items are the popular ones; without them the model's order is.

        kept_off: ids of items that are on no list.
        """
        names = list(loaded.model.items)
        known = {name: at for at, name in enumerate(names)}
        places = np.array([goods.place.get(name, -1) for name in names])
        there = np.maximum(places, 0)
        liked = [known[item] for item in (lists.popular if lists else []) if item in known]
        rest = np.setdiff1d(np.arange(len(names)), liked)
        return cls(
            loaded=loaded,
            mark=lists.mark if lists else None,
            names=names,
            known=known,
            allowed=(
                (places >= 0)
                & goods.available[there]
                & np.array([name not in kept_off for name in names], dtype=bool)
            )[None, :],
            price=np.where(places >= 0, goods.price[there], np.nan),
            shelf=Shelf(
                np.concatenate([np.array(liked, dtype=int), rest]),
                np.where(places >= 0, goods.category[there], -1),
                np.where(places >= 0, goods.brand[there], -1),
            ),
        )

    def list(self, had: list[str], rules: Rules) -> list[dict[str, Any]]:
        """A list for somebody who did nothing but touch the items `had` just now; those are not on it.

        Rows as in the batch lists: item_id, reason, reason_item_id.
        """
        touched = [self.known[item] for item in dict.fromkeys(had) if item in self.known]
        mine = np.array(sorted(touched), dtype=np.int32)
        user = np.zeros(len(mine), np.int32)
        events = Events(["you"], self.names, user, mine, np.zeros(len(mine)), now=0.0)
        allowed = self.allowed & rules.affordable(self.price)
        allowed[0, mine] = False
        told = self.loaded.model.scored(events.histories)
        scores = np.asarray(told.scores, dtype=np.float32)
        items, ours = choose(scores, allowed, self.shelf, rules)
        causes = told.explain(np.where(ours, items, -1))
        return [
            {
                "item_id": self.names[item],
                "reason": "because" if cause >= 0 else "popular",
                "reason_item_id": self.names[cause] if cause >= 0 else None,
            }
            for item, cause in zip(items[0], causes[0], strict=True)
            if item >= 0
        ]


class Follower:
    """Keeps lists and champions as the registry and the archive have them, in a thread of its own."""

    SECONDS = 3.0

    def __init__(self, root: Path, goods: Goods, opened: Callable[[], Registry]) -> None:
        """opened: opens the registry, once."""
        self.root, self.goods, self._opened = root, goods, opened
        self.recommender = Champion("recommender")
        self.answers = Champion("answers")
        self.lists: Lists | None = None
        self.kept_off: frozenset[str] = frozenset()
        self.told = Told({"lists": "not looked yet"})
        self.questions = threading.Event()
        self._registry: Registry | None = None
        self._newcomers: Newcomers | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(self.SECONDS)

    def look(self) -> None:
        """One look at archive and registry; a fault is told on the page, and what serves goes on."""
        faults = {}
        steps = {"lists": self._follow_lists, "recommender": self._follow(self.recommender)}
        if self.questions.is_set():
            steps["answers"] = self._follow(self.answers)
        for name, step in steps.items():
            try:
                step()
            except (VitrineError, OSError, ValueError, KeyError) as error:
                faults[name] = str(error)
        self.newcomers()
        self.told = Told(faults)

    def newcomers(self) -> Newcomers | None:
        """What serves new people now; None while no champion is there."""
        loaded, lists = self.recommender.current, self.lists
        if loaded is None:
            return None
        made = self._newcomers
        mark = lists.mark if lists else None
        if made is None or made.loaded is not loaded or made.mark != mark:
            made = self._newcomers = Newcomers.of(loaded, self.goods, lists, self.kept_off)
        return made

    def _follow_lists(self) -> None:
        kept_off = exclusions.read(self.root / exclusions.FILE).everybody
        if kept_off != self.kept_off:
            self.kept_off, self._newcomers = kept_off, None
        mark = newest_mark(self.root)
        if mark is None:
            raise MissingResource("no lists yet: run `make demo`")
        if self.lists is None or self.lists.mark != mark:
            self.lists = read_lists(self.root, mark)

    def _follow(self, champion: Champion) -> Any:
        return lambda: champion.follow(self.registry())

    def registry(self) -> Registry:
        """The registry, opened once."""
        if self._registry is None:
            self._registry = self._opened()
        return self._registry

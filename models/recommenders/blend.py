"""The recommender that lists are made with: one of the trained ones, or a blend of several."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import ClassVar

import numpy as np
import pandas as pd

from models.bundle import Bundle
from models.recommenders import base
from models.recommenders.base import Recommender
from models.recommenders.events import Events, Histories
from models.recommenders.two_tower import TwoTower

MEMBERS = {
    "collaborative": "models.recommenders.collaborative:Collaborative",
    "content": "models.recommenders.content:Content",
    "hybrid": "models.recommenders.hybrid:Hybrid",
}


@dataclass(frozen=True)
class Blend(Recommender):
    """A weighted sum of scores. weights: name to share, those of no weight left out; members: the same names."""

    members: Mapping[str, TwoTower]
    weights: Mapping[str, float]
    kind: ClassVar[str] = "recommender"

    @property
    def _first(self) -> TwoTower:
        return next(iter(self.members.values()))

    @property
    def items(self) -> list[str]:  # type: ignore[override]
        return self._first.items

    def scores(self, histories: Histories) -> np.ndarray:
        return self._sum({name: member.scores(histories) for name, member in self.members.items()})

    def falls(self, one: Histories, items: np.ndarray) -> np.ndarray:
        return self._sum({name: member.falls(one, items) for name, member in self.members.items()})

    def _sum(self, parts: Mapping[str, np.ndarray]) -> np.ndarray:
        return sum(np.float32(self.weights[name]) * part for name, part in parts.items())  # type: ignore[return-value]

    def observe(self, events: Events) -> "Blend":
        return replace(
            self, members={name: member.observe(events) for name, member in self.members.items()}
        )

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """See `base.predict`: user_id, or user_id, item_id, timestamp; lists as user_id, item_id, rank, score."""
        return base.predict(self, self._first.known, frame, self._first.k)

    def to_bundle(self) -> Bundle:
        members = {name: member.to_bundle() for name, member in self.members.items()}
        return Bundle(self.kind, {"weights": dict(self.weights)}, members=members)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Blend":
        members = {}
        for name, member in sorted(bundle.members.items()):
            module, kind = MEMBERS[name].split(":")
            members[name] = getattr(import_module(module), kind).from_bundle(member)
        return cls(members, bundle.config["weights"])

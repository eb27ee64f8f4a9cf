"""The lists that were made, kept by the moment up to which they knew events: `.vitrine/lists/<moment>-<champion>/`.

Each folder holds `lists.parquet` (as `recommend` writes it) and `facts.json`; it appears under its name when it is
complete. Delayed truth, the storefront and the table of lists read them.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from pipelines.harness.state import State
from pipelines.lists.files import NAME

LISTS, FACTS = NAME, "facts.json"
NO_MODEL = "popularity"
"""Stands for the champion where there was none: the lists hold what sells."""


@dataclass(frozen=True)
class Facts:
    """known_until: the newest event that the lists know (ISO 8601, UTC); before: they know all before this moment.

    champion: manifest hash of the model, or `NO_MODEL`. fitted_before: the moment from which on the models were fitted on nothing;
    lists that know less were made with hindsight. rows, users: of the lists. maker: `recommend` or `backfill`.
    """

    known_until: str
    before: str
    champion: str
    fitted_before: str
    rows: int
    users: int
    maker: str

    @property
    def moment(self) -> pd.Timestamp:
        return pd.Timestamp(self.known_until)

    @property
    def hindsight(self) -> bool:
        """Whether the model saw events that came after those that the lists know: no fair judge of it."""
        return pd.Timestamp(self.before) < pd.Timestamp(self.fitted_before)

    @property
    def name(self) -> str:
        return f"{self.moment:%Y%m%dT%H%M%S}-{self.champion[:12]}"


@dataclass(frozen=True)
class Kept:
    """One folder of the archive."""

    folder: Path
    facts: Facts

    @property
    def lists(self) -> Path:
        return self.folder / LISTS


def archive(state: State) -> Path:
    """The folder of all lists."""
    return state.home / "lists"


def kept(state: State) -> list[Kept]:
    """All complete lists, those that know least first."""
    found = [
        Kept(path.parent, Facts(**json.loads(path.read_text("utf-8"))))
        for path in archive(state).glob(f"[0-9]*/{FACTS}")
    ]
    return sorted(found, key=lambda one: (one.facts.moment, one.facts.champion))


def newest(state: State) -> Kept | None:
    """The lists that were put there last of those that know most."""
    found = kept(state)
    if not found:
        return None
    latest = found[-1].facts.moment
    return max(
        (one for one in found if one.facts.moment == latest),
        key=lambda one: (one.folder / FACTS).stat().st_mtime_ns,
    )


@contextmanager
def filing(place: Path) -> Iterator[Path]:
    """A folder to fill; it takes its place when the block ends well, and the older one of that name goes."""
    aside = place.with_name(f".{place.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        old = place.with_name(f"{aside.name}.old")
        if place.exists():
            place.rename(old)
        aside.rename(place)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_facts(folder: Path, facts: Facts) -> None:
    """The last file of a folder."""
    text = json.dumps(asdict(facts), indent=1, sort_keys=True)
    (folder / FACTS).write_text(text + "\n", encoding="utf-8")

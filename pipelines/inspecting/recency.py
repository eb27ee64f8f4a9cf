"""Whether a shop's files go on: the age of their newest event, and after how many days without one the monitor alarms."""

import math
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines import engine
from pipelines.harness import VitrineError
from pipelines.sources import readers
from pipelines.sources.columns import Mapping, contract_of
from pipelines.sources.shop import Part
from pipelines.tables import Interactions

DAY = 86_400.0
RECENT_DAYS = 30
"""Files whose newest event is older are of the past: their age tells nothing."""
FEWEST_DAYS = 3
"""A shop's weekend without an export is no alarm."""
TABLE = "interactions"


def newest_event(connection: Any, parts: list[Part], spill: Path) -> datetime | None:
    """The newest moment in the files of interactions, all rows read; None where none can be told."""
    found: list[datetime] = []
    unreadable: tuple[type[Exception], ...] = (VitrineError, *engine.reading_errors(connection))
    for at, part in enumerate(parts):
        way = Mapping(part, contract_of(TABLE), f"shop.{TABLE}[{at}]")
        try:
            raws = readers.read(connection, part, Path(), spill / f"newest-{at}")
            moment = way.table(connection, raws)[Interactions.TIME].max().to_pyarrow().as_py()
        except unreadable:
            return None  # the stage that reads all cells says where
        found += [moment] if moment else []
    return max(found, default=None)


def max_age_days(newest: datetime | None, now: datetime) -> int | None:
    """Days without an event after which the monitor alarms; None where the files are no recent ones.

    Twice the age that the newest event has now, at least `FEWEST_DAYS`. An event of the day to come is one of today,
    whose zone is another; later ones are no recent ones.

    >>> from datetime import UTC, timedelta
    >>> now = datetime(2026, 3, 1, tzinfo=UTC)
    >>> [max_age_days(now - timedelta(days=age), now) for age in (1, 9.5, 31)]
    [3, 19, None]
    """
    if newest is None:
        return None
    age = (now - newest).total_seconds() / DAY
    return max(FEWEST_DAYS, math.ceil(2 * age)) if -1 <= age <= RECENT_DAYS else None

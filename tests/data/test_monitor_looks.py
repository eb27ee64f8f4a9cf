"""The whole look at many unchanged shops. It takes some 15 seconds: a rate of alarms needs many looks."""

from dataclasses import replace
from pathlib import Path

from pipelines.monitor import look
from tests.unit.test_monitor import ITEMS, PARAMS, alarms, events_of, lists, shop

LOOKS = 100


def test_unchanged_shops_raise_under_one_false_alarm_in_a_hundred_looks(tmp_path: Path) -> None:
    """The whole look, with every difference that chance makes taken for large enough."""
    params = PARAMS.model_copy(update={"min_psi": 0.0, "min_volume_change": 0.0})
    made = shop(tmp_path)
    archive = [lists(tmp_path, "2026-02-10T00:00:00+00:00", ITEMS[:5])]
    raised = [
        alarms(look(replace(made, events=events_of(seed)), archive, params, seed))
        for seed in range(LOOKS)
    ]
    assert sum(map(bool, raised)) < LOOKS / 100

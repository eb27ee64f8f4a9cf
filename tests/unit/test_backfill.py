"""Lists as of a moment: they know no later event, are made once, and say where the models knew more."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.recommenders.base import Recommender
from models.recommenders.events import Events, Histories, hash_order
from pipelines import backfill, past_features
from pipelines.harness import BadConfig, MissingResource
from pipelines.harness.params import as_moment
from pipelines.harness.state import State
from pipelines.lists.archive import NO_MODEL, kept
from tests.conftest import REPOSITORY

DAY = pd.Timestamp("2026-01-10", tz="UTC")
ITEMS = ["early", "late", "other"]


class Counts(Recommender):
    """Likes what it saw most of: of everybody, as far as it was told."""

    kind = "counts"
    items = hash_order(ITEMS)
    popular = np.zeros(len(ITEMS), np.float32)

    def observe(self, events: Events) -> "Counts":
        made = Counts()
        made.popular = events.popularity(7.0).astype(np.float32)
        return made

    def scores(self, histories: Histories) -> np.ndarray:
        return np.repeat(self.popular[None, :], len(histories), axis=0)


class Champions:
    """A registry with one champion, or none."""

    manifest: str | None = "d" * 64
    fetched = 0

    def __init__(self, state: State) -> None:
        pass

    def aliases(self, capability: str) -> dict[str, Any]:
        return {"champion": SimpleNamespace(manifest=self.manifest)} if self.manifest else {}

    @contextmanager
    def fetch(self, version: Any) -> Iterator[Path]:
        type(self).fetched += 1
        yield Path("bundle")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two users; `late` is bought by all from the tenth of January on."""
    rows = [("a", "early", -5), ("b", "early", -4), ("a", "late", 0), ("b", "late", 1)]
    events = pd.DataFrame(
        [(user, item, DAY + pd.Timedelta(days=day), "purchase") for user, item, day in rows],
        columns=["user_id", "item_id", "timestamp", "event"],
    )
    tables = {
        "interactions": events,
        "products": pd.DataFrame({"item_id": ITEMS, "title": ITEMS}),
        "users": pd.DataFrame({"user_id": ["a", "b", "quiet"]}),
    }
    for name, frame in tables.items():
        path = tmp_path / "data" / f"validate-{name}" / "table.parquet"
        if name == "interactions":  # which is in parts by time
            path /= "2024.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
    cut = tmp_path / "data/split/recommending/cut.json"
    cut.parent.mkdir(parents=True)
    cut.write_text(json.dumps({"test_from": "2026-01-08T00:00:00+00:00"}))
    params = (REPOSITORY / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(
        params.replace("exclude_bought: auto", "exclude_bought: never")
    )
    monkeypatch.setattr(backfill, "Registry", Champions)
    monkeypatch.setattr(backfill, "load_model", lambda folder: Counts())
    monkeypatch.setattr(Champions, "manifest", "d" * 64)
    monkeypatch.setattr(Champions, "fetched", 0)
    return tmp_path


def first(path: Path) -> dict[str, str]:
    table = pq.read_table(path).to_pandas()
    return table[table["rank"] == 1].set_index("user_id")["item_id"].to_dict()


def test_lists_know_nothing_later_and_are_made_once(root: Path) -> None:
    before = backfill.backfill(root, DAY)
    assert set(first(before.lists).values()) == {"early"} and set(first(before.lists)) == {
        *("a", "b", "quiet"),
    }
    assert before.facts.known_until == "2026-01-06T00:00:00+00:00"
    assert (
        not before.facts.hindsight
    )  # all before the tenth is known, the models were fitted before
    assert (before.facts.users, before.facts.rows) == (3, 9)
    again = backfill.backfill(root, DAY)
    assert again == before and Champions.fetched == 1
    after = backfill.backfill(root, DAY + pd.Timedelta(days=30))
    assert first(after.lists)["quiet"] == "late"
    assert [one.facts.name for one in kept(State(root))] == [before.facts.name, after.facts.name]
    past = backfill.backfill(root, DAY - pd.Timedelta(days=4, hours=12))
    assert past.facts.hindsight


def test_what_is_missing_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MissingResource, match="no event before"):
        backfill.backfill(root, DAY - pd.Timedelta(days=90))
    assert backfill.main(["yesterday-ish"], root) == BadConfig.exit_code
    assert "is no moment" in capsys.readouterr().err
    (root / "data/validate-products/table.parquet").unlink()
    with pytest.raises(MissingResource, match="validate-products"):
        backfill.backfill(root, DAY)
    assert kept(State(root)) == []


def test_features_tell_of_nothing_later_and_are_made_once(root: Path) -> None:
    place = past_features.make(root, DAY)
    users = pd.read_parquet(place / "users.parquet").set_index("user_id")
    items = pd.read_parquet(place / "items.parquet").set_index("item_id")
    assert users["events"].to_dict() == {"a": 1, "b": 1}
    assert users["recency_days"].to_dict() == {"a": 1.0, "b": 0.0}
    assert items["events"].to_dict() == {"early": 2}
    (place / "mark").touch()
    assert past_features.make(root, DAY) == place and (place / "mark").exists()
    later = past_features.make(root, DAY + pd.Timedelta(days=30))
    assert pd.read_parquet(later / "items.parquet")["events"].tolist() == [2, 2]
    assert {one.name for one in place.parent.iterdir()} == {place.name, later.name}


def test_features_of_a_moment_before_all_events_leave_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert past_features.main(["2020-01-01"], root) == MissingResource.exit_code
    assert "no event before" in capsys.readouterr().err
    assert not list((root / ".vitrine/features").glob("*"))
    assert past_features.main([""], root) == BadConfig.exit_code
    (root / "data/validate-products/table.parquet").unlink()
    assert past_features.main(["2026-01-10"], root) == MissingResource.exit_code
    assert "validate-products" in capsys.readouterr().err


def test_without_a_champion_lists_hold_what_sold_by_then(root: Path) -> None:
    Champions.manifest = None
    made = backfill.backfill(root, DAY)
    assert set(first(made.lists).values()) == {"early"} and Champions.fetched == 0
    assert made.facts.champion == NO_MODEL and not made.facts.hindsight
    assert backfill.backfill(root, DAY) == made


def test_a_moment_is_in_utc() -> None:
    assert as_moment("2026-01-10") == DAY
    assert as_moment("2026-01-10T02:00:00+02:00") == DAY

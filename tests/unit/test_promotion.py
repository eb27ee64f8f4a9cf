"""Promotion against a registry that dies at every call: the champion is the old one or the new one, never none."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.bundle import Bundle, manifest_hash, save
from pipelines import promote, verdict
from pipelines.harness import BadData, MissingResource
from pipelines.harness.state import State
from pipelines.journal import Journal
from pipelines.promotion.decision import Rules
from pipelines.promotion.frozen import Learned, Scores, Seal
from pipelines.promotion.registry import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    SECONDS,
    Registry,
    Unreadable,
    Version,
)

NAME = "sentiment"
RULES = Rules(
    margin=0.0,
    slice_drop=0.02,
    min_slice_rows=20,
    side_drop={},
    max_megabytes=10.0,
    max_seconds=1.0,
    rounds=50,
    seed=1,
)
ROWS = [f"r{at:03d}" for at in range(80)]


class Killed(BaseException):
    """The process ends here; nothing catches it."""


class FakeApi:
    """The part of MLflow's client that the registry uses, in memory. It dies at the write number `dies`."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.marks: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        self.owner: dict[str, str] = {}
        self.places: dict[str, Path] = {}
        self.writes = 0
        self.dies: int | None = None
        self.after = False
        self.fault: Callable[[], BaseException] = Killed

    def add(self, folder: Path) -> Version:
        number = str(len(self.found) + 1)
        tags = {"manifest": manifest_hash(folder / "data" / "bundle"), SECONDS: "0.01"}
        self.found[number] = SimpleNamespace(name=f"vitrine.{NAME}", version=number, tags=tags)
        self.places[number] = folder
        return self.version(number)

    def version(self, number: str) -> Version:
        one = self.found[number]
        return Version(one.name, number, one.tags["manifest"], dict(one.tags))

    def _write(self, change: Callable[[], None]) -> None:
        number, self.writes = self.writes, self.writes + 1
        if number == self.dies and not self.after:
            raise self.fault()
        change()
        if number == self.dies:
            raise self.fault()

    def search_model_versions(self, query: str) -> list[Any]:
        return list(self.found.values())

    def get_registered_model(self, name: str) -> Any:
        return SimpleNamespace(aliases=dict(self.marks), tags=dict(self.notes))

    def get_model_version(self, name: str, number: str) -> Any:
        return self.found[number]

    def get_model_version_download_uri(self, name: str, number: str) -> str:
        return self.places[number].as_uri()

    def set_registered_model_alias(self, name: str, alias: str, number: str) -> None:
        self._write(lambda: self.marks.update({alias: number}))

    def set_registered_model_tag(self, name: str, key: str, value: str) -> None:
        self._write(lambda: self.notes.update({key: value}))

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id="1", tags=dict(self.owner))

    def set_experiment_tag(self, experiment: str, key: str, value: str) -> None:
        self._write(lambda: self.owner.update({key: value}))

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        self._write(lambda: self.marks.pop(alias, None))

    def set_model_version_tag(self, name: str, number: str, key: str, value: str) -> None:
        self._write(lambda: self.found[number].tags.update({key: value}))


class World:
    """One registry with two bundles: version 1 answers `old`, version 2 `new` (shares of right rows)."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, new: float = 0.9) -> None:
        self.api = FakeApi()
        self.state = State(root)
        self.registry = Registry(self.state, self.api)
        self.journal = Journal(self.state)
        self.tables: dict[str, pd.DataFrame] = {}
        self.old, self.new = (self._bundle(root, share) for share in (0.4, new))

        judge = SimpleNamespace(score=lambda model, rows: self.tables[model], SIDES=())
        monkeypatch.setattr("pipelines.capabilities.capability", lambda name: judge)
        monkeypatch.setattr("models.kinds.load_model", manifest_hash)

    def _bundle(self, root: Path, share: float) -> Version:
        home = root / f"store{share}"
        save(Bundle("sentiment", {"share": share}), home / "data" / "bundle")
        version = self.api.add(home)
        right = (np.arange(len(ROWS)) < share * len(ROWS)).astype(float)
        self.tables[version.manifest] = pd.DataFrame({"row_id": ROWS, "score": right})
        return version

    def candidate(self, version: Version) -> promote.Candidate:
        seal = Seal("aa", "test")
        table = self.tables[version.manifest].assign(nothing=np.zeros(len(ROWS)))
        return promote.Candidate(
            NAME,
            Scores(
                table,
                version.manifest,
                seal,
                Learned(0, "", ""),
                "accuracy",
                f"of {version.number}",
                ("nothing",),
            ),
            Path("rows"),
            seal,
            self.api.places[version.number] / "data" / "bundle",
        )

    def settle(self, version: Version, mode: str = "automatic") -> str | None:
        version = self.api.version(version.number)
        return promote.settle(
            self.candidate(version), version, self.registry, self.journal, RULES, mode, "run 1"
        )

    def by_hand(self, action: Callable[..., str], bundle: str | None = None) -> str:
        word = verdict.Word("anna", "because", bundle)
        return action(NAME, self.registry, self.journal, word)

    def anchor(self) -> str | None:
        return self.registry.anchor(NAME, self.journal.store.identity)

    def outcomes(self) -> list[str]:
        kept = self.anchor()
        assert self.journal.verify({NAME: kept} if kept else {}) == []
        return [entry["outcome"] for entry in self.journal.entries()]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, monkeypatch)
    made.settle(made.old)
    return made


def test_the_better_challenger_becomes_champion_once(world: World) -> None:
    assert world.api.marks == {CHAMPION: "1"}
    assert world.settle(world.new) == world.new.manifest
    assert world.api.marks == {CHAMPION: "2", PREVIOUS: "1"}
    writes = world.api.writes
    assert world.settle(world.new) == world.new.manifest
    assert world.api.writes == writes
    assert world.outcomes() == ["promoted", "promoted"]
    last = world.journal.entries()[-1]
    assert (last["from"], last["to"]) == (world.old.manifest, world.new.manifest)
    assert last["gain"]["low"] > 0 and last["guards"]


def test_the_worse_challenger_stays_out_and_is_told_of_once(tmp_path, monkeypatch) -> None:
    world = World(tmp_path, monkeypatch, new=0.3)
    world.settle(world.old)
    for _ in range(2):
        assert world.settle(world.new) == world.old.manifest
    assert world.api.marks == {CHAMPION: "1", CHALLENGER: "2"}
    assert world.outcomes() == ["promoted", "refused"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies", range(5))
def test_a_killed_promotion_leaves_old_or_new_and_is_finished(
    world: World, dies: int, after: bool
) -> None:
    world.api.writes, world.api.dies, world.api.after = 0, dies, after
    with pytest.raises(Killed):
        world.settle(world.new)
    assert world.api.marks[CHAMPION] in ("1", "2")
    world.api.dies = None
    assert world.settle(world.new) == world.new.manifest
    assert world.api.marks == {CHAMPION: "2", PREVIOUS: "1"}
    assert world.outcomes() == ["promoted", "promoted"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies", range(5))
def test_a_database_that_refuses_a_write_is_told_and_the_next_run_finishes(
    world: World, dies: int, after: bool
) -> None:
    from mlflow.exceptions import MlflowException

    world.api.writes, world.api.dies, world.api.after = 0, dies, after
    world.api.fault = lambda: MlflowException("the database is gone")
    with pytest.raises(MissingResource, match="the database is gone"):
        world.settle(world.new)
    assert world.api.marks[CHAMPION] in ("1", "2")
    world.api.dies = None
    assert world.settle(world.new) == world.new.manifest
    assert world.api.marks == {CHAMPION: "2", PREVIOUS: "1"}
    assert world.outcomes() == ["promoted", "promoted"]


def test_there_are_no_more_writes_than_the_faults_cover(world: World) -> None:
    world.api.writes = 0
    world.settle(world.new)
    assert world.api.writes == 5


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies", range(5))
def test_a_killed_rollback_is_finished_by_the_next(world: World, dies: int, after: bool) -> None:
    world.settle(world.new)
    world.api.writes, world.api.dies, world.api.after = 0, dies, after
    with pytest.raises(Killed):
        world.by_hand(verdict.rollback)
    assert world.api.marks[CHAMPION] in ("1", "2")
    world.api.dies = None
    if PREVIOUS in world.api.marks:
        world.by_hand(verdict.rollback)
    assert world.api.marks == {CHAMPION: "1", CHALLENGER: "2"}
    assert world.outcomes() == ["promoted", "promoted", "rolled back"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies", range(5))
def test_a_killed_approval_is_finished_by_the_next(world: World, dies: int, after: bool) -> None:
    world.settle(world.new, "ask")
    world.api.writes, world.api.dies, world.api.after = 0, dies, after
    with pytest.raises(Killed):
        world.by_hand(verdict.approve)
    assert world.api.marks[CHAMPION] in ("1", "2")
    world.api.dies = None
    if CHALLENGER in world.api.marks:
        world.by_hand(verdict.approve)
    assert world.api.marks == {CHAMPION: "2", PREVIOUS: "1"}
    assert world.outcomes() == ["promoted", "waits", "approved"]


def test_what_was_rolled_back_stays_out_until_a_person_approves_it(world: World) -> None:
    world.settle(world.new)
    assert "version 1 is champion again" in world.by_hand(verdict.rollback)
    assert world.settle(world.new) == world.old.manifest
    with pytest.raises(MissingResource, match="previous"):
        world.by_hand(verdict.rollback)
    world.by_hand(verdict.approve)
    assert world.api.marks == {CHAMPION: "2", PREVIOUS: "1"}
    assert world.settle(world.new) == world.new.manifest
    assert world.outcomes() == ["promoted", "promoted", "rolled back", "approved"]
    assert [entry["who"] for entry in world.journal.entries()[2:]] == ["anna", "anna"]


def test_a_persons_line_carries_the_figures(world: World) -> None:
    world.settle(world.new, "ask")
    waits = world.journal.entries()[-1]
    world.by_hand(verdict.approve)
    world.by_hand(verdict.rollback)
    approved, back = world.journal.entries()[-2:]
    assert approved["judged"]["gain"] == waits["gain"] and approved["judged"]["guards"]
    assert back["judged"]["to"] == world.new.manifest  # the one that leaves
    assert back["judged"]["challenger_mean"] == waits["challenger_mean"]


def test_a_tail_that_was_cut_off_is_noticed_for_good(world: World) -> None:
    world.settle(world.new, "ask")
    path = world.state.journal
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:-1]))
    assert world.journal.verify() == []  # within itself the chain holds
    (fault,) = world.journal.verify({NAME: world.anchor()})
    assert "is gone" in fault.text
    world.by_hand(verdict.reject)
    (fault,) = world.journal.verify({NAME: world.anchor()})
    assert fault.line == 2 and "had been cut off" in fault.text


def test_asked_for_the_challenger_waits_for_a_person(world: World) -> None:
    for _ in range(2):
        assert world.settle(world.new, "ask") == world.old.manifest
    assert world.api.marks == {CHAMPION: "1", CHALLENGER: "2"}
    assert list(verdict.undecided(world.journal, [NAME, "answers"])) == [NAME]
    world.by_hand(verdict.approve)
    assert world.api.marks == {CHAMPION: "2", PREVIOUS: "1"}
    assert verdict.undecided(world.journal, [NAME]) == {}
    assert world.outcomes() == ["promoted", "waits", "approved"]


def test_a_person_decides_on_the_bundle_that_was_shown(world: World) -> None:
    world.settle(world.new, "ask")
    (request,) = verdict.requests(world.journal, [NAME, "answers"], refused=False)
    assert request["bundle"] == world.new.manifest and request["bundle"][:12] in request["subject"]
    assert "| accuracy |" in request["body"] and "did not hold" not in request["body"]
    with pytest.raises(BadData, match="decide anew"):
        world.by_hand(verdict.approve, "f" * 64)
    assert world.api.marks == {CHAMPION: "1", CHALLENGER: "2"}
    world.by_hand(verdict.approve, request["bundle"])
    assert "already" in world.by_hand(verdict.approve, request["bundle"])
    assert world.api.marks == {CHAMPION: "2", PREVIOUS: "1"}
    assert verdict.requests(world.journal, [NAME], refused=True) == []


def test_a_rejected_challenger_is_asked_for_no_more(world: World) -> None:
    world.settle(world.new, "ask")
    world.by_hand(verdict.reject)
    for mode in ("ask", "automatic"):
        assert world.settle(world.new, mode) == world.old.manifest
    assert world.outcomes() == ["promoted", "waits", "rejected"]


def test_never_means_that_no_alias_moves(world: World) -> None:
    assert world.settle(world.new, "never") == world.old.manifest
    assert world.api.marks == {CHAMPION: "1"}
    assert world.outcomes() == ["promoted"]


@pytest.mark.parametrize("fault", ["damaged", "gone", "another", "breaks", "nan", "other rows"])
def test_an_unreadable_champion_fails_closed_and_loud(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    place = world.api.places["1"] / "data" / "bundle"
    if fault == "damaged":
        (place / "config.json").write_text("{}")
    elif fault == "gone":
        place.rename(place.with_name("lost"))
        (place.with_name("lost") / "manifest.json").unlink()
    elif fault == "another":
        world.api.found["1"].tags["manifest"] = "ff" * 32
    elif fault == "breaks":
        monkeypatch.setattr("models.kinds.load_model", lambda folder: 1 / 0)
    elif fault == "nan":
        world.tables[world.old.manifest]["score"] = np.nan
    if fault == "other rows":
        world.tables[world.old.manifest]["row_id"] += "x"
        assert world.settle(world.new) == world.old.manifest
        assert "other rows" in world.journal.entries()[-1]["reason"]
        return
    for _ in range(2):
        with pytest.raises(Unreadable, match="verdict rollback"):
            world.settle(world.new)
    assert world.api.marks == {CHAMPION: "1", CHALLENGER: "2"}
    assert world.outcomes() == ["promoted", "failed"]
    world.by_hand(verdict.approve)
    assert world.api.marks[CHAMPION] == "2"
    if fault in ("damaged", "gone", "another"):
        with pytest.raises(Unreadable):
            world.by_hand(verdict.rollback)
        assert world.api.marks[CHAMPION] == "2"


def test_what_never_loaded_can_not_be_approved(world: World) -> None:
    world.settle(world.new, "ask")
    del world.api.found["2"].tags[SECONDS]
    with pytest.raises(MissingResource, match="never loaded"):
        world.by_hand(verdict.approve)
    assert world.api.marks[CHAMPION] == "1"


def test_a_registry_that_is_away_is_a_missing_resource(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    def away(name: str) -> None:
        raise MlflowException("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(world.api, "get_registered_model", away)
        with pytest.raises(MissingResource, match="connection refused"):
            world.settle(world.new)
    assert world.outcomes() == ["promoted"]


def test_receipts_say_what_stands_and_nothing_else(world: World, tmp_path: Path) -> None:
    texts = []
    for at in range(2):
        path = tmp_path / f"receipt{at}.json"
        champion = world.settle(world.new)
        promote.write_receipt(path, world.candidate(world.new), champion)
        texts.append(path.read_bytes())
    assert texts[0] == texts[1]
    assert world.new.manifest.encode() in texts[0]

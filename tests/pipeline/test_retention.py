"""What goes and what stays: never a champion, a previous one, or what a kept run needs."""

import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines import past_features, retention
from pipelines.harness.state import State
from pipelines.harness.tracking import EXPERIMENT, client
from pipelines.lists.archive import Facts, archive, filing, kept, write_facts
from pipelines.promotion.registry import CHALLENGER, CHAMPION, MANIFEST, PREVIOUS, TRAINED, Registry
from pipelines.retention import DAY, Leaving, RetentionParams, plan
from tests.conftest import REPOSITORY, Project, own_store

PARAMS = RetentionParams(
    bundle_days=60,
    keep_versions=1,
    run_days=90,
    list_days=30,
    keep_lists=2,
    log_days=60,
    max_cache_gb=1.0,
)
NAME = "vitrine.sentiment"


@dataclass
class Place:
    """A project with six versions: champion, previous, challenger, one that a receipt names, an old one, the newest.

    runs: those that registered them, by number; of version 5 in a run of the pipeline of its own, which is `alone`.
    """

    root: Path
    registry: Registry
    runs: dict[int, str]
    alone: str

    def run(self, parent: str | None = None, **tags: str) -> str:
        """One more run that ended long ago."""
        own = {"mlflow.parentRunId": parent} if parent else {}
        return ended(self.registry.api, **own, **tags)


def ended(api: Any, **tags: str) -> str:
    experiment = api.get_experiment_by_name(EXPERIMENT).experiment_id
    run = api.create_run(experiment, start_time=1, tags=tags).info.run_id
    api.set_terminated(run, end_time=2)
    return run


@pytest.fixture
def place(tmp_path: Path, migrated_database: Path) -> Place:
    state = own_store(tmp_path, migrated_database)
    registry = Registry(state, client(state))
    api = registry.api
    experiment = api.get_experiment_by_name(EXPERIMENT).experiment_id
    api.create_registered_model(NAME)
    parent, alone = ended(api), ended(api)
    made = {}
    for at in range(6):
        run = ended(api, **{"mlflow.parentRunId": alone if at == 4 else parent})
        model = api.create_logged_model(experiment, name="m", source_run_id=run)
        folder = state.mlflow / "artifacts" / "models" / model.model_id / "artifacts"
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(b"x" * 100)
        with registry._globally():
            api.create_model_version(
                NAME, f"models:/{model.model_id}", run_id=run, tags={MANIFEST: f"m{at + 1}"}
            )
        made[at + 1] = run
    for alias, number in ((CHAMPION, 1), (PREVIOUS, 2), (CHALLENGER, 3)):
        api.set_registered_model_alias(NAME, alias, str(number))
    receipt = tmp_path / "data/promote/sentiment/receipt.json"
    receipt.parent.mkdir(parents=True)
    receipt.write_text(json.dumps({"champion": "m4"}))
    return Place(tmp_path, registry, made, alone)


def removed(going: list[Leaving], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Remove all, and return the ids of the runs that went. Purging is MLflow's own command, which costs seconds."""
    asked: list[list[str]] = []
    monkeypatch.setattr(retention, "_run", lambda words, root: asked.append(words))
    for one in going:
        one.remove()
    return {run for words in asked for run in words[-1].split(",")}


def test_only_what_nobody_needs_goes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.time() + 61 * DAY
    lonely = place.run()
    going = plan(place.root, PARAMS, later)
    assert [(one.kind, one.name) for one in going] == [
        ("version", f"{NAME} 5"),
        ("runs", "3 runs"),
    ]
    assert going[0].size == 100
    assert len(place.registry.versions("sentiment")) == 6  # a plan removes nothing
    assert removed(going, monkeypatch) == {place.runs[5], place.alone, lonely}
    left = place.registry.versions("sentiment")
    assert [one.number for one in left] == ["1", "2", "3", "4", "6"]
    assert len(list((place.registry.state.mlflow / "artifacts/models").glob("*/artifacts"))) == 5
    assert plan(place.root, PARAMS, later) == []


def test_all_runs_of_a_kept_version_stay_whatever_run_of_the_pipeline_they_were_in(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The champion was trained in one run of the pipeline, judged in another and registered in a third."""
    training, judging, other = place.run(), place.run(), place.run()
    trained = place.run(training, stage="sentiment", bundle="m1")
    judged = place.run(judging, stage="evaluate@sentiment", bundle="m1")
    beside = {place.run(training, stage="text-features"), place.run(judging, stage="report")}
    foreign = place.run(other, stage="sentiment", bundle="m0")
    place.registry.api.set_model_version_tag(NAME, "1", TRAINED, trained)
    gone = removed(plan(place.root, PARAMS, time.time() + 61 * DAY), monkeypatch)
    assert not gone & {training, trained, judging, judged, *beside, *place.runs.values()} - {
        place.runs[5]
    }
    assert {other, foreign, place.runs[5]} <= gone


def test_the_run_that_a_card_links_stays_though_it_names_no_bundle(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = place.run()
    trained, beside = place.run(training), place.run(training)
    place.registry.api.set_model_version_tag(NAME, "2", TRAINED, trained)
    gone = removed(plan(place.root, PARAMS, time.time() + 61 * DAY), monkeypatch)
    assert gone == {place.runs[5], place.alone}
    assert not gone & {training, trained, beside}


@pytest.mark.parametrize("words", [["--dry-run"], []])
def test_a_dry_run_names_what_would_go_and_removes_nothing(
    tmp_path: Path,
    migrated_database: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    state = own_store(tmp_path, migrated_database)
    log = state.airflow / "logs" / "dag" / "one.log"
    log.parent.mkdir(parents=True)
    log.write_text("x" * 2_000_000)
    os.utime(log, (1, 1))
    assert retention.main(words, tmp_path) == 0
    told = capsys.readouterr().out
    assert "airflow/logs/dag/one.log" in told
    assert told.splitlines()[-1] == f"1 {'would go' if words else 'gone'}, 2.0 MB"
    assert log.exists() == bool(words)


def test_young_versions_and_those_of_kept_runs_stay(place: Place) -> None:
    assert not any(one.kind == "version" for one in plan(place.root, PARAMS, time.time()))
    # The same age, but the run that made version 5 ended a day before.
    api, later = place.registry.api, time.time() + 61 * DAY
    api.set_terminated(place.runs[5], end_time=int((later - DAY) * 1000))
    assert not any(one.kind == "version" for one in plan(place.root, PARAMS, later))


def test_a_version_that_was_trained_anew_lately_stays(place: Place) -> None:
    api, later = place.registry.api, time.time() + 61 * DAY
    api.set_terminated(place.run(bundle="m5"), end_time=int((later - DAY) * 1000))
    assert not any(one.kind == "version" for one in plan(place.root, PARAMS, later))


def test_a_version_that_became_champion_meanwhile_stays(place: Place) -> None:
    going = plan(place.root, PARAMS, time.time() + 61 * DAY)
    place.registry.api.set_registered_model_alias(NAME, CHAMPION, "5")
    going[0].remove()
    assert "5" in [one.number for one in place.registry.versions("sentiment")]


def test_lists_looks_and_logs_go_by_age(tmp_path: Path) -> None:
    state, now = State(tmp_path), time.time()
    for day in (1, 2, 3, 4):
        facts = Facts(f"2026-01-0{day}T00:00:00+00:00", "", "c" * 64, "", 0, 0, "test")
        with filing(archive(state) / facts.name) as folder:
            write_facts(folder, facts)
    old = now - 40 * DAY
    for one in kept(state)[:3]:
        os.utime(one.folder / "facts.json", (old, old))
    going = list(retention.lists(state, PARAMS, now))
    assert [one.name[:8] for one in going] == ["20260101", "20260102"]
    going[0].remove()
    assert len(list(archive(state).iterdir())) == 3
    features = past_features.archive(state) / "20260101T000000"
    features.mkdir(parents=True)
    assert "features" not in {one.kind for one in retention.lists(state, PARAMS, now)}
    left = {one.kind: one for one in retention.lists(state, PARAMS, now + 40 * DAY)}
    left["features"].remove()
    assert not features.exists()
    log = state.airflow / "logs" / "dag" / "one.log"
    log.parent.mkdir(parents=True)
    log.write_text("x")
    assert list(retention.files(state, PARAMS, now)) == []
    (found,) = retention.files(state, PARAMS, now + 61 * DAY)
    found.remove()
    assert found.kind == "log" and not log.exists()


def test_the_store_goes_only_above_its_size(tmp_path: Path) -> None:
    place = tmp_path / ".dvc" / "cache"
    place.mkdir(parents=True)
    (place / "one").write_bytes(b"x" * 2000)
    assert list(retention.store(tmp_path, PARAMS)) == []
    tight = PARAMS.model_copy(update={"max_cache_gb": 1e-6})
    assert [one.kind for one in retention.store(tmp_path, tight)] == ["store"]


def test_the_store_keeps_all_that_the_folder_uses(toy_project: Project) -> None:
    root = toy_project.root
    made = root / "data" / "toy" / "numbers.txt"

    def repro() -> str:
        done = toy_project.run("dvc", "repro")
        assert done.returncode == 0, done.stdout + done.stderr
        return hashlib.md5(made.read_bytes(), usedforsecurity=False).hexdigest()

    def stored(md5: str) -> bool:
        return (root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]).exists()

    before = repro()
    toy_project.set("toy: {rows: 5}", "toy: {rows: 6}")
    after = repro()
    assert stored(before) and stored(after)
    (leaving,) = retention.store(root, PARAMS.model_copy(update={"max_cache_gb": 0.0}))
    leaving.remove()
    assert stored(after) and not stored(before)
    made.unlink()
    assert toy_project.run("dvc", "checkout").returncode == 0
    assert hashlib.md5(made.read_bytes(), usedforsecurity=False).hexdigest() == after

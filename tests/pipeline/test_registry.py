"""Evaluate and promote as processes against a real registry, with a model that takes no time."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow.models import Model

import models
from models.bundle import Bundle, manifest_hash, save
from pipelines.harness.state import State
from pipelines.harness.tracking import BUNDLE_TAG
from pipelines.journal import Journal
from pipelines.promotion.registry import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    TRAINED,
    Registry,
    Version,
    champion_bundle,
)
from tests.pipeline.standin.project import ROWS, Project
from tests.waiting import poll


def right(share: float) -> np.ndarray:
    """Which rows are answered rightly: `share` of them, spread over all slices."""
    return np.random.default_rng(7).random(ROWS) < share


def stand(project: Project) -> dict[str, Version]:
    return dict(Registry(State(project.root)).aliases("sentiment"))


def run(project: Project, share: float) -> str:
    """Train, evaluate, promote; returns the bundle's manifest hash."""
    manifest = project.train(right(share))
    project.stage("evaluate")
    project.stage("promote")
    return manifest


def test_a_bundle_is_registered_once_and_loads_without_a_checkout(project: Project) -> None:
    manifest = run(project, 0.8)
    first = project.receipt()
    project.stage("promote")
    assert project.receipt() == first
    assert json.loads(first)["champion"] == manifest
    state = State(project.root)
    registry = Registry(state)
    versions = registry.versions("sentiment")
    assert [version.manifest for version in versions] == [manifest]
    assert stand(project) == {CHAMPION: versions[0]}
    assert len(Journal(state).entries()) == 1

    told = registry.api.get_model_version("vitrine.sentiment", "1")
    assert registry.api.get_run(told.run_id).data.tags["stage"] == "promote@sentiment"
    for part in ("accuracy", "coin", "language/zh", "a test: CC0", "an encoder 6: CC0", manifest):
        assert part in told.description
    tags = {"test", "git_commit", "profile", "metric", "quality", "baseline", "manifest", "seconds"}
    assert {*tags, "fitted"} <= told.tags.keys()
    run_tags = registry.api.get_run(told.run_id).data.tags
    assert run_tags["decision"] == "promoted" and "gain over coin" in run_tags["reason"]
    logged = registry.api.get_logged_model(told.source.removeprefix("models:/"))
    place = Path(logged.artifact_location.removeprefix("file://"))
    about = Model.load(place)
    assert about.signature.inputs.input_names() == ["text", "language"]
    assert "probabilities" in about.signature.outputs.input_names()
    assert len(about.load_input_example(str(place))) == 2
    packages = (place / "requirements.txt").read_text()
    assert "numpy==" in packages and "lightning" not in packages
    assert not list(place.rglob("*.pkl")) and not list(place.rglob("*.pyc"))
    assert not (project.root / "data" / ".partial" / "promote@sentiment").exists()

    code = (
        "import sys, json, mlflow, pandas as pd\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model('models:/vitrine.sentiment@champion')\n"
        "frame = pd.DataFrame({'text': ['0', '1', '2'], 'language': ['en'] * 3})\n"
        "import models\n"
        "print(json.dumps([models.__path__[0], model.predict(frame)['label'].tolist()]))\n"
    )
    elsewhere = project.root.parent / "elsewhere"
    elsewhere.mkdir()
    project.root.joinpath("models").rename(elsewhere / "hidden")
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, registry.uri],
        cwd=elsewhere,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    )
    where, labels = json.loads(done.stdout.splitlines()[-1])
    assert ".vitrine/mlflow/artifacts" in where
    assert labels == ["positive" if good else "negative" for good in right(0.8)[:3]]


class Killed(BaseException):
    """The process ends here; nothing catches it."""


CALLS = [
    "create_registered_model",
    "create_logged_model",
    "log_model_artifacts",
    "finalize_logged_model",
    "create_model_version",
]


@pytest.mark.parametrize("call", CALLS)
def test_a_killed_registration_is_finished_by_the_next(
    tmp_path: Path, migrated_database: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    state = State(tmp_path / "shop")
    state.mlflow.mkdir(parents=True)
    shutil.copy(migrated_database, state.mlflow / "mlflow.db")
    manifest = save(Bundle("sentiment", {"x": 1}), tmp_path / "bundle")
    example = tmp_path / "example"
    example.mkdir()
    for name in ("input", "output"):
        pq.write_table(pa.table({name: ["a", "b"]}), example / f"{name}.parquet")
    registry = Registry(state)
    run = registry.api.create_run(registry.api.get_experiment_by_name("vitrine").experiment_id)

    def register() -> Version:
        return registry.register(
            "sentiment",
            tmp_path / "bundle",
            models=Path(models.__file__).parent,
            packages=["numpy"],
            example=example,
            card="# a card",
            tags={},
            run_id=run.info.run_id,
            scratch=tmp_path / "scratch",
            about="A test.",
        )

    real = getattr(registry.api, call)

    def dies(*given: object, **named: object) -> None:
        real(*given, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(registry.api, call, dies)
        with pytest.raises(Killed):
            register()
    assert not (tmp_path / "scratch").exists()
    assert register().manifest == manifest
    assert register() == registry.by_manifest("sentiment", manifest)
    assert len(registry.versions("sentiment")) == 1
    with registry.fetch(registry.versions("sentiment")[0]) as folder:
        assert manifest_hash(folder) == manifest
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_champions_change_hands_and_come_back(project: Project) -> None:
    first = run(project, 0.7)
    better = run(project, 0.95)
    found = stand(project)
    assert (found[CHAMPION].manifest, found[PREVIOUS].manifest) == (better, first)
    with champion_bundle(project.root, project.root / "data/promote/sentiment/receipt.json") as it:
        assert json.loads((it / "config.json").read_text())["kind"] == "sentiment"

    worse = run(project, 0.8)
    found = stand(project)
    assert (found[CHAMPION].manifest, found[CHALLENGER].manifest) == (better, worse)
    assert json.loads(project.receipt())["champion"] == better

    words = ("pipelines.verdict", "rollback", "sentiment", "--who", "anna")
    assert "champion again" in project.python(*words).stdout
    assert stand(project)[CHAMPION].manifest == first
    lines = Journal(State(project.root)).entries()
    assert [line["outcome"] for line in lines] == ["promoted", "promoted", "refused", "rolled back"]
    assert lines[-1]["who"] == "anna"
    assert "chain holds" in project.python("pipelines.journal", "verify").stdout
    standing = Registry(State(project.root)).champions()
    assert [(one.name, one.versions) for one in standing] == [("vitrine.sentiment", 3)]


def test_a_promotion_that_is_killed_is_finished_by_the_next(project: Project) -> None:
    first = run(project, 0.7)
    better = project.train(right(0.95))
    project.stage("evaluate")
    state = State(project.root)
    process = subprocess.Popen(
        [sys.executable, "-B", "-m", "pipelines.promote", "sentiment"],
        cwd=project.root,
        env={key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")},
        stdout=subprocess.DEVNULL,
    )
    poll(lambda: len(Journal(state).entries()) == 2, "the decision written down", pause=0.001)
    process.kill()
    process.wait()
    assert stand(project)[CHAMPION].manifest in (first, better)
    project.stage("promote")
    found = stand(project)
    assert (found[CHAMPION].manifest, found[PREVIOUS].manifest) == (better, first)
    assert json.loads(project.receipt())["champion"] == better
    assert len(Journal(state).entries()) == 2
    journal = Journal(state)
    assert journal.verify(Registry(state).anchors(journal.store.identity)) == []


def test_a_person_is_asked(project: Project) -> None:
    project.choose(promotion="ask")
    manifest = run(project, 0.9)
    assert json.loads(project.receipt())["champion"] is None
    assert "sentiment" in project.python("pipelines.verdict", "waiting").stdout
    project.python("pipelines.verdict", "approve", "sentiment", "--who", "anna")
    assert stand(project)[CHAMPION].manifest == manifest
    project.stage("promote")
    assert json.loads(project.receipt())["champion"] == manifest
    done = project.python("pipelines.verdict", "approve", "sentiment", check=False)
    assert done.returncode == 69 and "challenger" in done.stderr


def test_a_damaged_champion_stops_the_promotion_loudly(project: Project) -> None:
    first = run(project, 0.7)
    before = project.receipt()
    with Registry(State(project.root)).fetch(stand(project)[CHAMPION]) as bundle:
        config = bundle / "config.json"
        config.write_text(config.read_text() + " ")
    project.train(right(0.95))
    project.stage("evaluate")
    done = project.stage("promote", check=False)
    assert done.returncode == 69
    assert "config.json" in done.stderr and "approve" in done.stderr
    assert stand(project)[CHAMPION].manifest == first
    assert project.receipt() == before
    assert Journal(State(project.root)).entries()[-1]["outcome"] == "failed"


def test_scores_of_another_bundle_or_other_rows_are_refused(project: Project) -> None:
    project.train(right(0.8))
    project.stage("evaluate")
    project.train(right(0.9))
    done = project.stage("promote", check=False)
    assert done.returncode == 65 and "evaluate@sentiment" in done.stderr
    project.train(right(0.8))
    rows = project.root / "data" / "evaluate" / "sentiment" / "rows" / "rows.parquet"
    rows.write_bytes(rows.read_bytes() + b" ")
    done = project.stage("promote", check=False)
    assert done.returncode == 65 and "changed after they were frozen" in done.stderr
    assert Registry(State(project.root)).versions("sentiment") == []


def test_a_model_of_another_split_is_not_judged(project: Project) -> None:
    project.train(right(0.8))
    split = project.root / "data" / "split" / "sentiment" / "train.parquet"
    pq.write_table(pa.table({"review_id": ["another"]}), split)
    done = project.stage("evaluate", check=False)
    assert done.returncode == 65
    assert "was fitted on rows" in done.stderr and "dvc repro sentiment" in done.stderr


def test_a_refusal_is_told_by_its_run(project: Project) -> None:
    run(project, 0.9)
    run(project, 0.5)
    api = Registry(State(project.root)).api
    made = api.search_runs(
        [api.get_experiment_by_name("vitrine").experiment_id],
        "tags.stage = 'promote@sentiment'",
        order_by=["attributes.start_time DESC"],
    )[0]
    assert made.data.tags["decision"] == "refused"
    assert (
        "not above the margin" in made.data.tags["reason"] or "language" in made.data.tags["reason"]
    )


def test_the_runs_that_trained_and_judged_a_bundle_are_known_by_it(project: Project) -> None:
    """The card links the one; retention keeps both as long as the version."""
    manifest = project.train(right(0.8))
    registry = Registry(State(project.root))
    experiment = registry.api.get_experiment_by_name("vitrine").experiment_id
    tags = {"stage": "sentiment", BUNDLE_TAG: manifest}
    trained = registry.api.create_run(experiment, tags=tags).info.run_id
    project.stage("evaluate")
    project.stage("promote")
    found = registry.api.search_runs([experiment], f"tags.{BUNDLE_TAG} = '{manifest}'")
    assert {one.data.tags["stage"] for one in found} == {"sentiment", "evaluate@sentiment"}
    told = registry.api.get_model_version("vitrine.sentiment", "1")
    assert told.tags[TRAINED] == trained and f"runs/{trained}" in told.description


def test_a_version_that_does_not_load_is_never_promoted(project: Project) -> None:
    project.train(right(0.9))
    project.stage("evaluate")
    model = project.root / "models" / "language" / "sentiment.py"
    model.write_text(
        "import pipelines.tables  # not there on another machine\n" + model.read_text()
    )
    done = project.stage("promote", check=False)
    assert done.returncode == 69
    assert "No module named 'pipelines'" in done.stderr
    assert stand(project) == {}

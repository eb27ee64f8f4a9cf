"""What a stage leaves behind when it ends well, badly, or not at all."""

import json

import pytest

from tests.conftest import Project


def record(project: Project, name: str) -> dict:
    return json.loads((project.root / ".vitrine" / "records" / name).read_text())


def test_a_stage_by_name_writes_outputs_record_and_table(toy_project: Project) -> None:
    done = toy_project.run("python", "-m", "toy")
    assert done.returncode == 0, done.stderr
    assert "rows out" in done.stdout
    assert len((toy_project.root / "data/toy/numbers.txt").read_text().split()) == 5
    metrics = json.loads((toy_project.root / "data/toy/metrics.json").read_text())
    assert metrics["rows_out"] == 5
    assert "seconds" not in metrics
    assert record(toy_project, "toy.json")["seconds"] > 0
    assert not list((toy_project.root / "data/.partial").iterdir())


@pytest.mark.parametrize(
    ("rows", "code", "words"),
    [
        ("13", 65, "row 13: unlucky"),
        ("14", 70, "RuntimeError: boom"),
        ("15", 70, "stray.txt, which dvc.yaml does not declare"),
        ('"many"', 78, "toy.rows"),
    ],
)
def test_each_class_of_failure_has_its_exit_status(
    toy_project: Project, rows: str, code: int, words: str
) -> None:
    toy_project.set("rows: 5", f"rows: {rows}")
    done = toy_project.run("python", "-m", "toy")
    assert done.returncode == code
    assert words in done.stderr
    assert not (toy_project.root / "data/toy").exists()
    if code != 78:
        assert words in record(toy_project, "toy.error.json")["text"]


def test_an_undeclared_input_is_a_bug(toy_project: Project) -> None:
    path = toy_project.root / "dvc.yaml"
    path.write_text(path.read_text().replace("deps: [after.py, data/toy/numbers.txt]", "deps: []"))
    assert toy_project.run("python", "-m", "toy").returncode == 0
    done = toy_project.run("python", "-m", "after")
    assert done.returncode == 70
    assert "data/toy/numbers.txt, which its deps in dvc.yaml do not name" in done.stderr


def test_runs_are_logged_under_one_parent(toy_project: Project) -> None:
    done = toy_project.run("dvc", "repro", warm=False)
    assert done.returncode == 0, done.stderr
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{toy_project.root}/.vitrine/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("vitrine").experiment_id
    runs = {run.data.tags["mlflow.runName"]: run for run in client.search_runs([experiment])}
    parents = [run for run in runs.values() if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    children = [run for name, run in runs.items() if name in ("toy", "after")]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    assert all(run.info.status == "FINISHED" for run in runs.values())
    assert runs["toy"].data.params["rows"] == "5"
    assert runs["toy"].data.tags["profile"] == "tiny"
    assert runs["after"].data.metrics["rows_in"] == 5
    assert runs["after"].data.tags["inputs"] != "unlocked"


def test_the_page_on_the_last_run_follows_the_stage_that_tells(toy_project: Project) -> None:
    """Written by whoever runs the stage by its name, as Airflow's tasks do; what it tells of is in MLflow by then."""
    graph = toy_project.root / "dvc.yaml"
    text = graph.read_text()
    last = text.rindex("timeout: 60}")
    graph.write_text(f"{text[:last]}timeout: 60, tells: true}}{text[last + 12 :]}")
    page = toy_project.root / ".vitrine" / "report" / "run.html"
    assert toy_project.run("python", "-m", "pipelines.run", "toy").returncode == 0
    assert not page.exists()
    done = toy_project.run("python", "-m", "pipelines.run", "after")
    assert done.returncode == 0, done.stderr
    assert f"after: {page}" in done.stdout
    told = page.read_text("utf-8")
    assert "Ran for the first time:</b> after." in told and "the journal is empty" in told


def test_equal_seeds_give_equal_outputs(toy_project: Project) -> None:
    toy_project.run("python", "-m", "toy")
    first = (toy_project.root / "data/toy/numbers.txt").read_bytes()
    toy_project.run("python", "-m", "toy")
    assert (toy_project.root / "data/toy/numbers.txt").read_bytes() == first
    toy_project.set("seed: 7", "seed: 8")
    toy_project.run("python", "-m", "toy")
    assert (toy_project.root / "data/toy/numbers.txt").read_bytes() != first


def test_a_run_whose_profile_was_changed_in_between_is_refused(toy_project: Project) -> None:
    words = ("env", "VITRINE_RUN=one", "python", "-m")
    assert toy_project.run(*words, "toy").returncode == 0
    toy_project.set("profile: tiny", "profile: smoke")
    done = toy_project.run(*words, "after")
    assert done.returncode == 78
    assert "began with the profile tiny" in done.stderr
    assert not (toy_project.root / "data/after").exists()

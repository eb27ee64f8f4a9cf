"""What is chosen in the form of a run holds for the run that it sets going, on whichever worker."""

import json
from pathlib import Path

from pipelines.harness.params import read_params
from tests.conftest import REPOSITORY
from tests.dags.snippets import run_snippet

TASKS = """
import json, sys
from types import SimpleNamespace as Thing
import dags.stages as stages
import pipelines.run
from airflow.sdk import Asset

asked = []

class Run:
    def __init__(self, choice, **more):
        asked.append(choice)
    def execute(self):
        return Thing(code=0)

pipelines.run.StageRun = Run
told = Asset("champions")
first = stages.Stage(task_id="promote", stage="promote@sentiment", outlets=[told])
events = {told: Thing(extra={})}
run = Thing(conf=json.loads(sys.argv[1]), dag_id="train", run_id="1")
first.execute({"dag_run": run, "outlet_events": events})
second = stages.Stage(task_id="recommend", stage="recommend@1")
for conf in ({}, {"profile": "full"}):
    run = Thing(conf=conf, dag_id="recommend", run_id="2")
    second.execute({"dag_run": run, "outlet_events": {}, "triggering_asset_events": {told: [events[told]]}})
print("TOLD", json.dumps([asked, events[told].extra]))
"""


def test_a_run_hands_its_choices_on_and_a_form_has_the_last_word(tmp_path: Path) -> None:
    document = read_params(REPOSITORY)
    chosen = {key: document[key] for key in ("profile", "promotion")}
    conf = {**chosen, "force": False}
    said = run_snippet(TASKS, json.dumps(conf), cwd=tmp_path, home=tmp_path / "home")
    asked, extra = json.loads(said.rpartition("TOLD ")[2])
    assert extra == chosen
    assert asked == [chosen, chosen, {**chosen, "profile": "full"}]

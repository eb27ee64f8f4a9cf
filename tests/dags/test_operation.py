"""A verb run by a task: its output is the log, and what is wrong in data or settings is not tried again."""

import json
from pathlib import Path

from tests.dags.snippets import run_snippet

RUN = """
from airflow.sdk.exceptions import AirflowFailException
from dags.operation import Verb

def tried(module, *words):
    verb = Verb(task_id="one", module=module, words=[*words, ""])
    try:
        verb.execute({})
    except (AirflowFailException, RuntimeError) as error:
        return type(error).__name__ + " " + str(error).strip()
    return "well"

print("A", tried("this"))
print("B", tried("pipelines.backfill", "no moment"))
print("C", tried("pipelines.services.stack", "no verb"))
"""


def test_verbs_end_as_their_exit_status_says(tmp_path: Path) -> None:
    lines = run_snippet(RUN, cwd=tmp_path, home=tmp_path).splitlines()
    assert "Beautiful is better than ugly." in lines and "A well" in lines
    assert any(line.startswith("B AirflowFailException backfill: bad conf") for line in lines)
    assert any(line.startswith("C RuntimeError usage: python -m") for line in lines)


TOLD = """
import json, sys
from pathlib import Path
from airflow.sdk.exceptions import AirflowSkipException
import dags.operation as operation

class Own:
    task_id = "alarm"

sent = []
operation.get_current_context = lambda: {"ti": Own()}
operation.tell = lambda state, context, *words: sent.append(words)
report = Path(sys.argv[1])
for news, train in (["a", "b"], True), ([], False):
    report.write_text(json.dumps({"alarms": ["a", "b"], "news": news, "train": train}))
    try:
        operation.alarm.function(str(report))
    except AirflowSkipException as error:
        sent.append("skipped")
    sent.append(operation.asked.function(str(report)))
print(json.dumps(sent))
"""


def test_news_are_told_and_ask_for_training_and_what_was_told_is_not(tmp_path: Path) -> None:
    report = tmp_path / "newest.json"
    (line,) = run_snippet(TOLD, str(report), cwd=tmp_path, home=tmp_path).splitlines()
    words = ["alarm", "monitor", "a\nb", str(report)]
    assert json.loads(line) == [words, True, "skipped", False]


ASKED = """
import json
from airflow.sdk import DAG
import dags.operation as operation

(clean,) = operation.make_retention().tasks
told = []
for ticked in (True, False):
    asked = clean.prepare_for_execution()
    asked.render_template_fields({"params": {"dry_run": ticked}})
    told.append([word for word in asked.words if word])
print(json.dumps([clean.module, clean.dag.params["dry_run"], told]))
"""


def test_retention_removes_unless_the_box_for_a_dry_run_is_ticked(tmp_path: Path) -> None:
    (line,) = run_snippet(ASKED, cwd=tmp_path, home=tmp_path).splitlines()
    assert json.loads(line) == ["pipelines.retention", False, [["--dry-run"], []]]

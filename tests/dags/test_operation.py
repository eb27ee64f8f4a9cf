"""A verb run by a task: its output is the log, and what is wrong in data or settings is not tried again."""

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

"""Airflow's notifier for failures: one message a failed run, by the connection `vitrine_incidents`.

The connection's `host` is the web hook's address; its `password`, which Airflow masks, is appended to it (the secret end
of a chat hook's address); `extra` may hold `{"token": …}`, sent as a bearer token.
"""

from pathlib import Path

from airflow.sdk import BaseNotifier, Connection, Context
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowTaskTimeout

from pipelines.harness.state import State

CONNECTION = "vitrine_incidents"


class Incidents(BaseNotifier):
    """Tells about the failed task of a context. root: the project's folder."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def notify(self, context: Context) -> None:
        """Write the failure down, and send it where the connection exists and the run has told of none yet."""
        from pipelines.monitoring.incidents import stage_failure

        error = context.get("exception")
        state = State(self.root)
        stage = getattr(context.get("task"), "stage", None)
        known = stage_failure(state, stage) if stage else None
        kind, text = known or ("failed", str(error or "it ended without a word"))
        if isinstance(error, AirflowTaskTimeout):
            kind, text = "too slow", str(error)
        elif known is None and ": killed:" in text:
            kind = "killed"
        file = str(state.logs / f"{stage}.log") if stage else ""
        tell(state, context, stage or context["ti"].task_id, kind, text, file)


def tell(state: State, context: Context, task: str, kind: str, error: str, file: str) -> None:
    """Write down what went wrong in the run of `context`, and send it where the run has told of nothing yet."""
    from pipelines.monitoring.incidents import Failure, report

    run, own = context["dag_run"], context["ti"]
    failure = Failure(
        dag=run.dag_id,
        run=run.run_id,
        attempt=run.clear_number or 0,
        task=task,
        kind=kind,
        error=error,
        log=own.log_url,
        file=file,
    )
    report(state, failure, *web_hook())


def web_hook() -> tuple[str | None, str]:
    """Address and token of the web hook; None where nobody set one up."""
    try:
        found = Connection.get(CONNECTION)
    except AirflowNotFoundException:
        return None, ""
    return f"{found.host}{found.password or ''}", found.extra_dejson.get("token", "")

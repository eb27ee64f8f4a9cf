"""Airflow's four processes on loopback, and its REST interface.

Whoever reaches the port is admin: it is bound to 127.0.0.1, and no password exists that would work from elsewhere.
"""

import base64
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from datetime import time as clock
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipelines.harness.errors import MissingResource
from pipelines.harness.interpreter import search_path
from pipelines.harness.params import read_params
from pipelines.harness.state import State
from pipelines.services import processes
from pipelines.services.processes import LOOPBACK, Running, Service
from pipelines.services.web import Refused, call

NAMES = ("airflow-api", "airflow-scheduler", "airflow-processor", "airflow-triggerer")
PORT = 8080
START_SECONDS = 180.0
MIGRATE_SECONDS = 300.0
CONNECTIONS = "AIRFLOW_CONN_"
"""Beginning of the names of variables by which Airflow is given connections."""
MIGRATED = "migrated"
"""The file that says for which version the database was made or migrated."""
HEAVY = "heavy"
"""The pool of stages that keep their cores busy, `meta.pool` in dvc.yaml."""
UNFINISHED = ("queued", "running")
PATIENCE_SECONDS = 120.0
"""How long a question is asked again that nobody answers: on busy cores the server may not get its turn. So long, too,
whatever it is too busy for."""
PAUSE_SECONDS = 2.0
BUSY = 503
PAGE = 100
"""Rows of one answer, of which Airflow gives no more."""


def settings(state: State, port: int) -> dict[str, str]:
    """The whole environment of Airflow's processes. Variables of another Airflow are left out."""
    keys = _keys(state.airflow)
    address = f"http://{LOOPBACK}:{port}"
    own = {
        "AIRFLOW_HOME": str(state.airflow),
        "AIRFLOW__CORE__DAGS_FOLDER": str(state.root / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(parallelism()),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__FERNET_KEY": keys["fernet"],
        "AIRFLOW__API__HOST": LOOPBACK,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": keys["api"],
        "AIRFLOW__API_AUTH__JWT_SECRET": keys["jwt"],
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        # Files that changed are read at once; the others, whose graph is read from dvc.yaml, need not be every 30 seconds.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "120",
        # A task that became ready is started soon, not after the usual second.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        # The watcher of a task may notice its end only at the next heartbeat; the usual interval is 5 seconds.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        # A run whose scheduler died goes on within a minute of the next start.
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(state.root), os.environ.get("PYTHONPATH", "")])
        ),
        "PATH": search_path(),
        "NO_PROXY": f"{LOOPBACK},localhost",
        "no_proxy": f"{LOOPBACK},localhost",
    }
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("AIRFLOW") or key.startswith(CONNECTIONS)
    }
    for name in ("NO_PROXY", "no_proxy"):
        own[name] = ",".join(filter(None, [own[name], kept.get(name)]))
    return {**kept, **own}


def parallelism() -> int:
    """How many stages run side by side: one a core, from 2 to 4."""
    return max(2, min(4, len(os.sched_getaffinity(0))))


def heavy_slots(threads: int) -> int:
    """How many stages of `threads` threads each run at once without two of them sharing a core; at least one."""
    return max(1, len(os.sched_getaffinity(0)) // max(1, threads))


def _keys(home: Path) -> dict[str, str]:
    """The secrets of this installation, made at the first start, for the owner's eyes only."""
    path = home / "keys.json"
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    if not path.exists():
        keys = {
            "jwt": secrets.token_urlsafe(64),
            "api": secrets.token_urlsafe(32),
            "fernet": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        }
        partial = home / ".keys.json.partial"
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(keys, file)
        partial.replace(path)
    return json.loads(path.read_text("utf-8"))


def _migrate(state: State, environment: dict[str, str]) -> None:
    """Bring Airflow's database to the installed version; nothing to do where it is."""
    wanted = version("apache-airflow")
    mark = state.airflow / MIGRATED
    if mark.exists() and mark.read_text("utf-8") == wanted:
        return
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        cwd=state.root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=MIGRATE_SECONDS,
        check=False,
        umask=0o077,
    )
    if done.returncode:
        raise MissingResource(
            f"Airflow's database in {state.airflow} can't be made or migrated:\n"
            f"{(done.stdout + done.stderr)[-3000:]}"
        )
    mark.write_text(wanted, encoding="utf-8")


def start(state: State, owner: str) -> list[Running]:
    """Start what of the four does not run, and wait until all are healthy.

    Raises `MissingResource` with the end of a log where one does not come up.
    """
    api = processes.running(state, NAMES[0])
    if api:
        return _start(state, owner, api.port, anew=False)
    return processes.on_free_port(PORT, lambda port: _start(state, owner, port, anew=True))


def _start(state: State, owner: str, port: int, anew: bool) -> list[Running]:
    """anew: also those that run, since they know an old address."""
    environment = settings(state, port)
    _migrate(state, environment)
    words = {
        NAMES[0]: ("api-server", "--host", LOOPBACK, "--port", str(port)),
        NAMES[1]: ("scheduler", "--skip-serve-logs"),
        NAMES[2]: ("dag-processor",),
        NAMES[3]: ("triggerer", "--skip-serve-logs"),
    }
    found = []
    for name, command in words.items():
        alive = None if anew else processes.running(state, name)
        if alive is None:
            service = Service(
                name,
                (sys.executable, "-m", "airflow", *command),
                environment,
                port if name == NAMES[0] else 0,
            )
            alive = processes.start(state, service, owner)
        found.append(alive)
    health = f"http://{LOOPBACK}:{port}/api/v2/monitor/health"

    def ready() -> bool:
        try:
            told = call("GET", health, seconds=5.0)
        except (OSError, Refused):
            return False
        parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all((told.get(part) or {}).get("status") == "healthy" for part in parts)

    processes.wait_until(state, found, ready, START_SECONDS)
    Api(port).set_pool(HEAVY, heavy_slots(read_params(state.root)["threads"]))
    return found


@dataclass
class Api:
    """Airflow's REST interface at `http://127.0.0.1:<port>`."""

    port: int
    _token: str | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """One call below `/api/v2`, with a fresh token where the old one is no longer taken.

        Raises `MissingResource` where nobody answers, `Refused` for an answer that is no success. A question (GET)
        that nobody answers, and whatever Airflow is too busy for, are repeated for a while first.
        """
        for _ in range(2):
            if self._token is None:
                self._token = self._call("GET", "/auth/token")["access_token"]
            try:
                return self._call(method, f"/api/v2{path}", body)
            except Refused as error:
                if error.status != 401:
                    raise
                self._token = None
        raise MissingResource(f"Airflow at {self.address} takes no token that it gave")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return call(method, f"{self.address}{path}", body, self._token)
            except Refused as error:
                # Nothing was done: another process wrote to Airflow's SQLite in the same moment.
                if error.status != BUSY or time.monotonic() >= until:
                    raise
            except OSError as error:
                if method != "GET" or time.monotonic() >= until:
                    raise MissingResource(
                        f"Airflow at {self.address} does not answer ({error}); its logs are in .vitrine/logs"
                    ) from error
            time.sleep(PAUSE_SECONDS)

    def set_pool(self, name: str, slots: int) -> None:
        """See to it that a pool exists with this many slots."""
        about = {"name": name, "slots": slots, "description": "stages that keep a core busy"}
        try:
            self.request("POST", "/pools", about)
        except Refused as error:
            if error.status != 409:
                raise
            self.request("PATCH", f"/pools/{quote(name)}", {**about, "include_deferred": False})

    def dags(self) -> set[str]:
        """Names of the DAGs that Airflow knows."""
        return {dag["dag_id"] for dag in self.request("GET", "/dags?limit=100")["dags"]}

    def import_errors(self) -> list[str]:
        """Why a file of DAGs can't be read."""
        found = self.request("GET", "/importErrors")["import_errors"]
        return [f"{error['filename']}: {error['stack_trace']}" for error in found]

    def trigger(self, dag: str, conf: dict[str, Any]) -> str:
        """Start a run and return its id."""
        body = {"logical_date": None, "conf": conf}
        return self.request("POST", f"/dags/{quote(dag)}/dagRuns", body)["dag_run_id"]

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """The newest runs of a DAG, newest first."""
        path = f"/dags/{quote(dag)}/dagRuns?order_by=-run_after&limit=50"
        return self.request("GET", path)["dag_runs"]

    def run(self, dag: str, run: str) -> dict[str, Any]:
        return self.request("GET", f"/dags/{quote(dag)}/dagRuns/{quote(run, safe='')}")

    def tasks(self, dag: str, run: str) -> dict[str, dict[str, Any]]:
        """Task instances of a run by task id; those of a mapped task as `Graph.tasks` writes them, `lists[2]`."""
        path = f"/dags/{quote(dag)}/dagRuns/{quote(run, safe='')}/taskInstances?limit={PAGE}"
        found: list[dict[str, Any]] = []
        while len(found) % PAGE == 0:
            more = self.request("GET", f"{path}&offset={len(found)}")["task_instances"]
            if not more:
                break
            found += more
        return {
            task["task_id"] + (f"[{task['map_index']}]" if task["map_index"] >= 0 else ""): task
            for task in found
        }

    def resume(self, dag: str) -> bool:
        """See to it that a DAG is not paused. Returns whether it was. Raises `Refused` where it is not known."""
        path = f"/dags/{quote(dag)}"
        paused = bool(self.request("GET", path)["is_paused"])
        if paused:
            self.request("PATCH", path, {"is_paused": False})
        return paused

    def backfill(self, dag: str, first: date, last: date) -> None:
        """Ask for a run of a DAG for each of its times from `first` to `last`, both days whole, in UTC.

        Raises `Refused` where the DAG is not known, has no time then, or another backfill of it is not done.
        """
        begin = datetime.combine(first, clock.min, UTC)
        end = datetime.combine(last, clock.max, UTC)
        span = {"from_date": begin.isoformat(), "to_date": end.isoformat()}
        self.request("POST", "/backfills", {"dag_id": dag, **span})

    def close(self, dags: Iterable[str]) -> list[str]:
        """Mark runs that were cut off as failed, so that they don't hold up the next. Returns their ids."""
        closed = []
        for dag in dags:
            for run in self.runs(dag):
                if run["state"] in UNFINISHED:
                    name = quote(run["dag_run_id"], safe="")
                    path = f"/dags/{quote(dag)}/dagRuns/{name}"
                    self.request("PATCH", path, {"state": "failed"})
                    closed.append(run["dag_run_id"])
        return closed

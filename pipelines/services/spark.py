"""A master and a worker of Spark as processes on loopback: `python -m pipelines.services.spark up | down | status`.

For tests and trials of a cluster; `up` prints what to write into `tables` of `params.yaml`. The worker has all cores
and at most `MEMORY` of this machine. A cluster for work is yours to run: any that Spark knows serves, by the URL of its master.
"""

import importlib.util
import os
import sys
from pathlib import Path

from pipelines.engine.spark_session import check
from pipelines.harness.errors import MissingResource
from pipelines.harness.state import State
from pipelines.services import processes
from pipelines.services.processes import LOOPBACK, Running, Service
from pipelines.services.stack import services_lock
from pipelines.services.web import Refused, call

OWNER = "spark"
MASTER, WORKER = "spark-master", "spark-worker"
PORT, PAGE = 7077, 8079
MEMORY = "4g"
START_SECONDS = 120.0


def url(found: Running) -> str:
    """The master as `tables.master` names it."""
    return f"spark://{LOOPBACK}:{found.port}"


def up(root: Path) -> str:
    """Start what does not run yet, wait until the worker has found the master, and return the master's URL.

    Raises `MissingResource` where PySpark or Java is absent, or one of the two does not answer.
    """
    check()
    state = State(root)
    master = processes.running(state, MASTER)
    if master and processes.running(state, WORKER):
        return url(master)
    down(root)
    page = processes.free_port(PAGE)
    master = processes.on_free_port(PORT, lambda port: _master(state, port, page))
    words = ("--host", LOOPBACK, "--memory", MEMORY, "--work-dir", str(state.home / "spark"))
    worker = processes.start(state, _service(WORKER, "worker.Worker", (*words, url(master))), OWNER)
    processes.wait_until(state, [worker, master], lambda: bool(_workers(page)), START_SECONDS)
    return url(master)


def _master(state: State, port: int, page: int) -> Running:
    words = ("--host", LOOPBACK, "--port", str(port), "--webui-port", str(page))
    found = processes.start(state, _service(MASTER, "master.Master", words, port), OWNER)
    processes.wait_until(state, [found], lambda: _workers(page) is not None, START_SECONDS)
    return found


def _workers(page: int) -> int | None:
    """How many workers the master knows; None where it does not answer yet."""
    try:
        return int(call("GET", f"http://{LOOPBACK}:{page}/json/")["aliveworkers"])
    except (OSError, Refused):
        return None


def down(root: Path) -> list[str]:
    """Stop both, and name what ran."""
    return processes.stop(State(root), [WORKER, MASTER])


def _service(name: str, program: str, words: tuple[str, ...], port: int = 0) -> Service:
    spec = importlib.util.find_spec("pyspark")
    assert spec and spec.origin  # `check` saw it
    home = Path(spec.origin).parent
    command = (f"{home}/bin/spark-class", f"org.apache.spark.deploy.{program}", *words)
    return Service(name, command, {**os.environ, "SPARK_LOCAL_IP": LOOPBACK}, port)


def main(words: list[str]) -> int:
    """The command line."""
    root = Path.cwd()
    if words not in (["up"], ["down"], ["status"]):
        print("usage: python -m pipelines.services.spark up | down | status", file=sys.stderr)
        return 64
    with services_lock(State(root)):
        if words == ["up"]:
            try:
                print(f'tables: {{engine: spark, master: "{up(root)}"}}')
            except MissingResource as error:
                print(error, file=sys.stderr)
                return MissingResource.exit_code
        elif words == ["down"]:
            print("stopped: " + (", ".join(down(root)) or "nothing ran"))
        else:
            for name in (MASTER, WORKER):
                found = processes.running(State(root), name)
                print(f"{name}: {'runs' if found else 'does not run'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The cluster's services as real processes over a copy of the project, and what a test does to them."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from pipelines.harness.errors import MissingResource
from pipelines.harness.graph import read_graph
from pipelines.services import processes
from pipelines.services.airflow import Api
from pipelines.services.cluster_run import (
    check_installed,
    environment,
    members,
    note_of,
)
from pipelines.services.cluster_workplace import make_workplace
from pipelines.services.web import Refused, call
from tests.conftest import REPOSITORY
from tests.pipeline.shop import Shop
from tests.waiting import poll

FLAKY = Path(__file__).with_name("flaky_store.py")
ENDS = ("success", "failed")
WORKERS = ("worker-1", "worker-2")
TOGETHER = ("train", "recommend")


def absent() -> str:
    """Why the cluster can't be started here, empty where it can."""
    try:
        check_installed(REPOSITORY)
    except MissingResource as error:
        return str(error)
    return ""


@dataclass
class Cluster:
    """A running cluster. mode: the file by which its store is told what to answer.

    dags: those that a run consists of; the first sets the second going.
    """

    shop: Shop
    mode: Path
    dags: tuple[str, ...] = TOGETHER
    _api: Api | None = None

    def up(self) -> None:
        """Start what does not run."""
        said = self.words("pipelines.services.cluster_run", "up")
        assert said.returncode == 0, said.stdout + self.logs()
        self._api = None

    def down(self) -> None:
        self.words("pipelines.services.cluster_run", "down")

    def words(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`python -m …` in the project, by the real interpreter."""
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.shop.root,
            env=self.shop.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def on(self, worker: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """`python -m …` as a worker would run it. more: variables in place of its own."""
        found, place, _ = members(self.shop.root)
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.folder(worker),
            env={**environment(found[worker], place), **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def folder(self, name: str) -> Path:
        """A service's own."""
        return self.shop.state.home / "cluster" / name / "state"

    def address(self, name: str) -> str:
        """host:port of a service."""
        _, _, ports = members(self.shop.root)
        return f"127.0.0.1:{ports[name]}"

    def secret(self, name: str) -> Path:
        """The file of a secret, or of the certificate that clients trust."""
        return self.shop.state.home / "cluster" / "secrets" / name

    @property
    def api(self) -> Api:
        """Airflow's, as the user `admin`."""
        if self._api is None:
            port = int(self.address("airflow-api").rpartition(":")[2])
            users = json.loads(self.secret("users").read_text("utf-8"))
            body = {"username": "admin", "password": users["admin"]}
            token = call("POST", f"http://127.0.0.1:{port}/auth/token", body)["access_token"]
            self._api = Api(port, token)
        return self._api

    def tasks(self, dag: str, run: str) -> dict[str, dict[str, Any]]:
        return self.api.tasks(dag, run)

    def train(self, **conf: Any) -> str:
        """Start a run of the first DAG and return its id."""
        poll(lambda: set(self.dags) <= self.api.dags(), lambda: f"{self.api.import_errors()}")
        return self.api.trigger(self.dags[0], {"profile": "tiny", "promotion": "automatic", **conf})

    def done(self, run: str, seconds: float) -> dict[str, dict[str, Any]]:
        """Wait for the end of a run and of the one that it sets going: their tasks, by id. Both must be green."""
        tasks: dict[str, dict[str, Any]] = {}
        until = time.monotonic() + seconds
        for dag in self.dags:
            runs = poll(
                lambda dag=dag: self.answered(lambda: self.api.runs(dag)), f"a run of {dag}"
            )
            name = run if dag == self.dags[0] else runs[0]["dag_run_id"]
            state = poll(
                lambda dag=dag, name=name: self.answered(
                    lambda: self.api.run(dag, name)["state"] in ENDS and self.api.run(dag, name)
                ),
                lambda dag=dag, name=name: f"the end of {dag}: {self.states(dag, name)}",
                until - time.monotonic(),
                2.0,
            )["state"]
            tasks |= self.tasks(dag, name)
            assert state == "success", f"{self.states(dag, name)}\n{self.logs()}"
        return tasks

    def answered(self, ask: Callable[[], Any]) -> Any:
        """What Airflow answers; nothing while it is not there or its database is not."""
        with contextlib.suppress(MissingResource, Refused, OSError):
            return ask()
        return None

    def states(self, dag: str, run: str) -> dict[str, str]:
        return {name: f"{one['state']}" for name, one in self.tasks(dag, run).items()}

    def finished(self, run: str) -> int:
        """How many tasks of the first DAG are done."""
        found = poll(
            lambda: self.answered(lambda: self.tasks(self.dags[0], run)), "Airflow's answer"
        )
        return sum(one["state"] == "success" for one in found.values())

    def over(self, run: str) -> bool:
        """Whether the run of the first DAG has ended."""
        found = self.answered(lambda: self.api.run(self.dags[0], run))
        return bool(found) and found["state"] in ENDS

    def tried_again(self, run: str) -> bool:
        """Whether a task is done that was tried more than once."""
        found = self.answered(lambda: self.tasks(self.dags[0], run)) or {}
        return any(one["state"] == "success" and one["try_number"] > 1 for one in found.values())

    def kill(self, name: str) -> None:
        """A service, all that it started and all that works in its folder die by -9, as a machine loses its power."""
        found = processes.known(self.shop.state, note_of(name))
        assert found is not None
        lost = [*found.family(), *self.working(name)]
        for process in lost:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(lost, 10)

    def working(self, name: str) -> list[psutil.Process]:
        """What works in a service's folder: stages may be forked by another process than the worker."""
        folder = str(self.folder(name))
        return [
            process
            for process in psutil.process_iter(["cwd"])
            if (process.info["cwd"] or "").startswith(folder)
        ]

    def restart(self, name: str, number: signal.Signals) -> None:
        """A service ends by its own stop; its keeper starts it again, as a container's engine would."""
        keeper = processes.running(self.shop.state, note_of(name))
        assert keeper is not None
        (service,) = psutil.Process(keeper.pid).children()
        service.send_signal(number)
        service.wait(30)

    def collected(self, folder: Path) -> dict[str, str]:
        """Path to SHA-256 of every output, as somebody who has nothing but the store gets them."""
        store = f"https://{self.address('s3')}"
        make_workplace(self.shop.root, folder, store)
        found, place, _ = members(self.shop.root)
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.exchange", "collect"],
            cwd=folder,
            env={**environment(found["worker-1"], place), "PYTHONPATH": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        graph = read_graph(self.shop.root)
        outs = {out for node in graph.nodes.values() for out in node.outs}
        assert all((folder / out).exists() for out in outs)
        return Shop(folder).outputs()

    def logs(self) -> str:
        """The ends of what failed, and of every service."""
        home = self.shop.state.home / "cluster"
        stages = [
            path
            for worker in WORKERS
            for path in sorted((home / worker / "state" / ".vitrine" / "logs").glob("*.log"))
            if any(word in path.read_text("utf-8", "replace") for word in ("Traceback", "ERROR"))
        ]
        services = sorted(self.shop.state.logs.glob("cluster-*.log"))
        return "".join(
            f"\n{path}\n{path.read_text('utf-8', 'replace')[-2500:]}"
            for path in [*stages, *services]
        )


def own_files(folder: Path) -> set[tuple[int, int]]:
    """Device and number of every file below a folder: two folders that share none have no file in common."""
    return {
        (path.lstat().st_dev, path.lstat().st_ino)
        for path in folder.rglob("*")
        if path.is_file() or path.is_symlink()
    }


@contextlib.contextmanager
def started(shop: Shop, dags: tuple[str, ...] = TOGETHER) -> Iterator[Cluster]:
    """All services, healthy, over a copy of the project; stopped at the end. The store is one that can fail."""
    found = Cluster(shop, shop.root.parent / "store-answers", dags)
    path = shop.root / "docker" / "services.yaml"
    text = path.read_text("utf-8")
    moto = '-m, moto.server, -H, "{listen}", -p, "{port}", -c, "{secret:tls-s3}", -k, "{secret:tls-s3}"'
    assert moto in text
    flaky = f'"{FLAKY}", "{{listen}}", "{{port}}", "{{secret:tls-s3}}", "{found.mode}"'
    path.write_text(text.replace(moto, flaky), encoding="utf-8")
    try:
        found.up()
        yield found
    finally:
        found.down()


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that is removed in the end. As root, Postgres runs as a user who must be able to enter it."""
    folder = Path(tempfile.mkdtemp(prefix="vitrine-cluster-"))
    if os.geteuid() == 0:
        folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)

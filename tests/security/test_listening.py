"""Started services are reached from this machine alone, and say no secret on their command line."""

import shutil
import subprocess
from pathlib import Path

import psutil
import pytest

from pipelines.harness.state import State
from pipelines.services import processes, report_server
from pipelines.services.cluster import fill_in, read_services
from pipelines.services.cluster_run import Processes, environment
from pipelines.services.cluster_secrets import make_secrets
from pipelines.services.processes import LOOPBACK, Running, Service, free_port
from tests.conftest import REPOSITORY


def addresses(found: Running) -> set[str]:
    """Where a service and all that it started listen."""
    return {
        connection.laddr.ip
        for process in found.family()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_the_report_is_shown_on_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    state = State(tmp_path)
    try:
        assert addresses(report_server.start(state, "test")) == {LOOPBACK}
    finally:
        processes.stop(state, [report_server.NAME])


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
def test_the_queue_of_a_cluster_is_closed_to_whoever_lacks_the_password(tmp_path: Path) -> None:
    services = read_services(REPOSITORY, Processes.kind)
    port = free_port(0)
    place = Processes(tmp_path, services, dict.fromkeys(services, port))
    make_secrets(place.home / "secrets")
    password = (place.home / "secrets" / "redis").read_text()
    (place.folders["redis"] / "scratch").mkdir(parents=True)
    member = fill_in(services, place)["redis"]
    state = State(tmp_path)

    def healthy() -> bool:
        asked = subprocess.run(member.health, env=environment(member, place), check=False)
        return asked.returncode == 0

    service = Service("queue", member.command, environment(member, place), port)
    found = processes.start(state, service, "test")
    try:
        processes.wait_until(state, [found], healthy, 30)
        assert addresses(found) == {LOOPBACK}
        assert password not in " ".join(psutil.Process(found.pid).cmdline())
        assert password not in processes.log_file(state, "queue").read_text()
        ca = str(place.home / "secrets" / "ca")
        asked = subprocess.run(
            ["redis-cli", "--tls", "--cacert", ca, "-h", LOOPBACK, "-p", str(port), "ping"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "NOAUTH" in asked.stdout + asked.stderr
    finally:
        processes.stop(state, ["queue"])

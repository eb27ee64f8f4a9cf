"""One description of the cluster: what is made from it says the same, and is closed by default."""

import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.harness.errors import BadConfig
from pipelines.services.cluster import DESCRIPTION, fill_in, read_services
from pipelines.services.cluster_certificates import CA_KEY, SERVERS
from pipelines.services.cluster_compose import COMPOSE, SECRETS, text
from pipelines.services.cluster_run import Processes
from pipelines.services.cluster_secrets import NAMES, make_secrets
from tests.conftest import REPOSITORY

DOCKER = REPOSITORY / "docker"
DOCUMENT: dict[str, Any] = yaml.safe_load((REPOSITORY / COMPOSE).read_text())
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
WANTED = {
    *("airflow-api", "airflow-scheduler", "airflow-processor", "airflow-triggerer"),
    *("worker-1", "worker-2", "postgres", "redis", "s3", "mlflow", "setup"),
}


def test_the_committed_file_is_what_the_description_makes() -> None:
    assert (REPOSITORY / COMPOSE).read_text() == text(REPOSITORY)


def test_every_service_is_there_in_both_places() -> None:
    assert set(SERVICES) == WANTED == set(read_services(REPOSITORY, "process"))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_watched_limited_restarted_and_closed(name: str) -> None:
    one = SERVICES[name]
    limits = one["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) > 0 and limits["memory"].endswith("M") and limits["pids"] > 0
    assert one["restart"] == ("on-failure:3" if name == "setup" else "unless-stopped")
    check = one["healthcheck"]
    assert check.get("disable") is True if name == "setup" else check["test"][0] == "CMD"
    assert one["read_only"] is True and "no-new-privileges:true" in one["security_opt"]
    assert not {"privileged", "network_mode", "pid", "devices", "cap_add"} & set(one)
    assert all(port.startswith("127.0.0.1:") for port in one.get("ports", []))
    assert set(one.get("depends_on", {})) <= set(SERVICES)
    assert set(one.get("secrets", [])) <= set(DOCUMENT["secrets"])
    assert {volume.split(":")[0] for volume in one.get("volumes", [])} <= set(DOCUMENT["volumes"])
    assert one["networks"] == ["inside"]


def test_what_is_waited_for_can_become_so() -> None:
    for one in SERVICES.values():
        for name, entry in one.get("depends_on", {}).items():
            done = entry["condition"] == "service_completed_successfully"
            assert done == (name == "setup")


def test_secrets_come_by_files_and_none_is_told() -> None:
    assert DOCUMENT["secrets"] == {
        name: {"file": f"./secrets/{name}"} for name in sorted(DOCUMENT["secrets"])
    }
    assert set(DOCUMENT["secrets"]) == set(NAMES)
    named = re.compile(r"PASSWORD|SECRET|FERNET|TOKEN|_CONN|BROKER_URL|RESULT_BACKEND|CREDENTIAL")
    for one in SERVICES.values():
        for key, value in one.get("environment", {}).items():
            if named.search(key) and "PASSWORDS_FILE" not in key:
                assert SECRETS in value, key
        assert not re.search(r"://[^/\s:]*:[^$%/\s][^/\s]*@", yaml.safe_dump(one))


@pytest.mark.parametrize("kind", ["container", "process"])
def test_the_stores_are_talked_to_by_tls_alone(kind: str) -> None:
    """Whoever knows the address of one knows the CA by which it is trusted, and each key is one server's."""
    services = read_services(REPOSITORY, kind)
    keys = [name for one in services.values() for name in one.secrets if name in SERVERS]
    assert sorted(keys) == sorted(SERVERS)
    assert all(f"tls-{name}" in services[name].secrets for name in SERVERS.values())
    for one in services.values():
        told = "\n".join([*one.command, *one.environment.values()])
        assert not re.search(r"(?<!s)://[^\s]*\{address:(redis|s3)\}", told)
        if "{address:postgres}" in told:
            assert one.environment["PGSSLMODE"] == "verify-full"
            assert one.environment["PGSSLROOTCERT"] == "{secret:ca}"
        if "{address:redis}" in told and not one.once:
            assert "ssl_cert_reqs=required&ssl_check_hostname=true&ssl_ca_certs={secret:ca}" in told
        if "https://{address:s3}" in told:
            assert one.environment["AWS_CA_BUNDLE"] == "{secret:ca}"
        if "MLFLOW_TRACKING_URI" in one.environment:
            for way in ("DOWNLOAD", "UPLOAD"):  # by which MLflow's client would talk to the store
                assert one.environment[f"MLFLOW_ENABLE_PROXY_MULTIPART_{way}"] == "false"
    postgres, redis = ("\n".join(services[name].command) for name in ("postgres", "redis"))
    assert re.search(r"ssl=on\b", postgres) and "hba_file=" in postgres
    assert "--port 0 --tls-port {port}" in redis


def test_postgres_lets_nobody_in_from_afar_without_tls(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    kinds = [line.split()[0] for line in (tmp_path / "postgres-hba").read_text().splitlines()]
    assert kinds == ["local", "hostssl"]


def test_images_are_asked_for_by_digest_and_no_digest_is_made_up() -> None:
    asked = {one["image"] for one in SERVICES.values() if not one["image"].startswith("vitrine:")}
    assert all(re.match(r"\$\{VITRINE_[A-Z0-9]+:\?", image) for image in asked)
    names = {line.split()[0] for line in (DOCKER / "images.txt").read_text().splitlines()}
    assert names == set(
        re.findall(r"\$\{(VITRINE_[A-Z0-9]+):\?", (REPOSITORY / COMPOSE).read_text())
    )
    dockerfile = (DOCKER / "Dockerfile").read_text()
    assert re.findall(r"^FROM (\S+)", dockerfile, re.M) == ["${BASE}", "${BASE}"]
    assert re.search(r"^ARG BASE$", dockerfile, re.M)
    for path in DOCKER.iterdir():
        if path.suffix != ".lock" and path.is_file() and path.name != ".env":
            assert not re.search(r"sha256:[0-9a-f]{8}", path.read_text()), path


def test_the_image_that_is_built_unasked_needs_no_file_that_is_not_there() -> None:
    """The lock of PyTorch without GPUs is each team's own, so that build must be asked for."""
    built = [one["build"]["args"]["DEVICE"] for one in SERVICES.values() if "build" in one]
    assert built and set(built) == {"${VITRINE_DEVICE:-cuda}"}
    assert re.search(r"^ARG DEVICE=cuda$", (DOCKER / "Dockerfile").read_text(), re.M)


def test_the_image_is_not_root_and_takes_only_what_it_runs() -> None:
    dockerfile = (DOCKER / "Dockerfile").read_text()
    assert re.findall(r"^USER (\S+)", dockerfile, re.M)[-1] == "10001:10001"
    assert "--require-hashes" in (DOCKER / "packages.sh").read_text()
    allowed = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    assert allowed[0] == "*"
    for words in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.M):
        for word in words.split():
            assert f"!{word}" in allowed, word
            assert "*" in word or (REPOSITORY / word).exists(), word


def test_the_lock_of_the_cluster_meets_the_lock_of_the_product() -> None:
    def versions(path: Path) -> dict[str, str]:
        return dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[\S+\])?==(\S+)", path.read_text(), re.M))

    product = versions(REPOSITORY / "requirements.lock")
    cluster, local = versions(DOCKER / "cluster.lock"), versions(DOCKER / "local.lock")
    assert set(product) & set(cluster) == {"python-dateutil"}
    spark = versions(DOCKER / "spark.lock")
    assert not set(local) & (set(product) | set(cluster))
    assert set(spark) == {"pyspark", "py4j"}


def test_pin_writes_the_digests_that_it_is_told(tmp_path: Path) -> None:
    for name in ("pin.sh", "images.txt"):
        (tmp_path / name).write_bytes((DOCKER / name).read_bytes())
    tool = tmp_path / "bin" / "docker"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\necho sha256:{'0' * 64}\n")
    tool.chmod(0o755)

    def pin() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(tmp_path / "pin.sh")],
            env={"PATH": f"{tool.parent}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

    assert pin().returncode == 0
    lines = (tmp_path / ".env").read_text().splitlines()
    assert lines[0] == f"VITRINE_BASE=python@sha256:{'0' * 64}" and len(lines) == 4
    tool.write_text("#!/bin/sh\necho not found\n")
    failed = pin()
    assert failed.returncode == 69 and "no digest" in failed.stderr
    assert (tmp_path / ".env").read_text().splitlines() == lines


def test_processes_listen_on_loopback_and_each_has_a_folder(tmp_path: Path) -> None:
    services = read_services(REPOSITORY, "process")
    ports = {name: 7000 + at for at, (name, one) in enumerate(services.items()) if one.port}
    members = fill_in(services, Processes(tmp_path, services, ports))
    for one in members.values():
        told = " ".join([*one.command, *one.environment.values()])
        assert "0.0.0.0" not in told and "{" not in told.replace("{}", "")
        if one.described.port:
            assert "127.0.0.1" in " ".join(one.command) and str(ports[one.name]) in told
    folders = {members[name].environment["PYTHONPATH"] for name in ("worker-1", "worker-2")}
    assert len(folders) == 2 and all(str(tmp_path) in folder for folder in folders)


def test_secrets_are_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert set(make_secrets(folder)) == {*NAMES, CA_KEY}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    before = {name: (folder / name).read_text() for name in NAMES}
    assert make_secrets(folder) == []
    assert {name: (folder / name).read_text() for name in NAMES} == before
    key = before["s3"].split("aws_secret_access_key = ")[1].strip()
    assert key in before["s3-identities"] and len(before["jwt"]) >= 64
    (folder / "redis").unlink()
    assert make_secrets(folder) == ["redis"]
    assert (folder / "redis").read_text() != before["redis"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("cpus: 0.5, memory_mb: 256", "cpus: 0.5", r"services\.redis\.limits\.memory_mb"),
        ("needs: {setup: done}", "needs: {nobody: done}", r"services\.mlflow needs nobody"),
        ("database, store]", "database, stork]", r"services\.setup\.use: 'stork'"),
        ("port: 5432", "port: 5432\n    prot: 1", r"services\.postgres\.prot"),
        ("secrets: [redis, ", "secrets: [", r"services\.redis reads the secret redis"),
        ("--bind {listen}", "--bind {listne}", r"services\.redis: \{listne\} is not known"),
    ],
)
def test_a_wrong_description_is_refused_by_name(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    written = (REPOSITORY / DESCRIPTION).read_text()
    assert old in written
    (tmp_path / DESCRIPTION).parent.mkdir()
    (tmp_path / DESCRIPTION).write_text(written.replace(old, new, 1))
    with pytest.raises(BadConfig, match=told):
        text(tmp_path)

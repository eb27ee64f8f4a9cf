"""Write `docker/compose.yaml` from `docker/services.yaml`: `python -m pipelines.services.cluster_compose`."""

import sys
from pathlib import Path
from typing import Any

import yaml

from pipelines.harness.errors import BadConfig
from pipelines.services.cluster import Described, Member, fill_in, read_services
from pipelines.services.processes import LOOPBACK

COMPOSE = Path("docker") / "compose.yaml"
HEAD = """\
# Made from services.yaml by `python -m pipelines.services.cluster_compose`: change that file, not this one.
# docs/cluster.md tells what to do before `docker compose up` (images by digest, secrets by files).
"""
PROJECT = "/srv/vitrine"
SECRETS = "/run/secrets"
CONDITIONS = {"healthy": "service_healthy", "done": "service_completed_successfully"}
NETWORK = "inside"
PIDS = 512


class Containers:
    """The place where each service is a container: it is called by its name, secrets lie where compose puts them."""

    kind = "container"

    def __init__(self, services: dict[str, Described]) -> None:
        self._services = services

    def fill(self, service: str, described: Described, word: str, about: str) -> str:
        """See `Place`."""
        if word == "address":
            return f"{about}:{self._services[about].port}"
        if word == "secret":
            return f"{SECRETS}/{about}"
        return {
            "listen": "0.0.0.0",
            "port": str(described.port),
            "python": "python",
            "project": PROJECT,
            "state": described.state,
            "scratch": described.scratch[0],
            "name": service,
            "hosts": f"{service}:{described.port},{LOOPBACK}:{described.port},localhost:{described.port}",
            "tasklogs": "/tmp/logs",
            "serve": "",
        }[word]


def compose(root: Path) -> dict[str, Any]:
    """The whole document. Raises `BadConfig` for a description that can't be followed."""
    services = read_services(root, Containers.kind)
    members = fill_in(services, Containers(services))
    secrets = sorted({name for one in services.values() for name in one.secrets})
    return {
        "name": "vitrine",
        "services": {name: _service(member) for name, member in members.items()},
        "networks": {NETWORK: {}},
        "volumes": {name: {} for name, one in services.items() if one.state},
        "secrets": {name: {"file": f"./secrets/{name}"} for name in secrets},
    }


def _service(member: Member) -> dict[str, Any]:
    one = member.described
    built = one.image == "vitrine"
    found: dict[str, Any] = {"image": _image(one.image)}
    if built:
        found["build"] = {
            "context": "..",
            "dockerfile": "docker/Dockerfile",
            "args": {
                "BASE": _asked("VITRINE_BASE", "the base image by digest"),
                "DEVICE": "${VITRINE_DEVICE:-cuda}",
            },
        }
    if member.command:
        found["command"] = [_plain(word) for word in member.command]
    if member.environment:
        found["environment"] = {key: _plain(value) for key, value in member.environment.items()}
    if one.needs:
        found["depends_on"] = {
            name: {"condition": CONDITIONS[condition]} for name, condition in one.needs.items()
        }
    if one.secrets:
        found["secrets"] = list(one.secrets)
    if one.publish:
        found["ports"] = [f"{LOOPBACK}:{one.port}:{one.port}"]
    if one.state:
        found["volumes"] = [f"{member.name}:{one.state}"]
    if one.user:
        found["user"] = one.user
    found["tmpfs"] = list(one.scratch)
    found["read_only"] = True
    found["security_opt"] = ["no-new-privileges:true"]
    if built or one.user:
        found["cap_drop"] = ["ALL"]
    found["networks"] = [NETWORK]
    found["restart"] = "on-failure:3" if one.once else "unless-stopped"
    found["init"] = True
    found["stop_grace_period"] = "30s"
    found["healthcheck"] = _health(member)
    found["deploy"] = {
        "resources": {
            "limits": {
                "cpus": str(one.limits.cpus),
                "memory": f"{one.limits.memory_mb}M",
                "pids": PIDS,
            }
        }
    }
    return found


def _health(member: Member) -> dict[str, Any]:
    if member.described.once:  # it is done or it failed: there is nothing to ask
        return {"disable": True}
    return {
        "test": ["CMD", *(_plain(word) for word in member.health)],
        "interval": "30s",
        "timeout": "20s",
        "retries": 5,
        "start_period": "120s",
        "start_interval": "5s",
    }


def _image(name: str) -> str:
    if name == "vitrine":
        return "vitrine:${VITRINE_DEVICE:-cuda}"
    return _asked(f"VITRINE_{name.upper()}", "an image by digest")


def _asked(variable: str, what: str) -> str:
    """A variable that compose refuses to go on without."""
    return f"${{{variable}:?{what}; docker/pin.sh writes it into docker/.env}}"


def _plain(text: str) -> str:
    """As compose must see it to hand it on unchanged: `$` begins a variable of its own."""
    return text.replace("$", "$$")


def text(root: Path) -> str:
    """What the file is to hold."""
    return HEAD + yaml.safe_dump(compose(root), sort_keys=False, width=110, allow_unicode=True)


def main(root: Path) -> int:
    """Write the file."""
    try:
        (root / COMPOSE).write_text(text(root), encoding="utf-8")
    except BadConfig as error:
        print(f"{error.title}: {error}", file=sys.stderr)
        return error.exit_code
    print(f"wrote {COMPOSE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))

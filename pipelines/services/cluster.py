"""The services of a cluster, read from `docker/services.yaml`, as they are in one place: containers or processes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.harness.documents import parse
from pipelines.harness.errors import BadConfig
from pipelines.services.cluster_secrets import NAMES as SECRETS

DESCRIPTION = Path("docker") / "services.yaml"
SLOT = re.compile(r"\{([a-z0-9]+)(?::([a-z0-9-]+))?\}")
"""A place to fill in: `{port}`, `{address:redis}`. Shell's `${…}` has no such form in the file."""
KINDS = ("container", "process")
Condition = Literal["healthy", "done"]


class Limits(BaseModel):
    """What a service may take: cores, and megabytes of memory."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    cpus: float
    memory_mb: int


class Described(BaseModel):
    """One service as the file tells it for one kind of place; the file's head explains each word."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    title: str
    image: Literal["vitrine", "postgres", "redis", "s3"]
    limits: Limits
    command: tuple[str, ...] = ()
    health: tuple[str, ...] = ()
    port: int = 0
    publish: bool = False
    once: bool = False
    needs: dict[str, Condition] = {}
    secrets: tuple[str, ...] = ()
    use: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    state: str = ""
    scratch: tuple[str, ...] = ("/tmp",)
    user: str = ""


@dataclass(frozen=True)
class Member:
    """One service with everything filled in. described: what the file says of it."""

    name: str
    described: Described
    command: tuple[str, ...]
    health: tuple[str, ...]
    environment: Mapping[str, str]


class Place(Protocol):
    """Where services run: fills in what differs between containers and processes."""

    kind: str

    def fill(self, service: str, described: Described, word: str, about: str) -> str:
        """The text for `{word}` or `{word:about}` in what the file says of `service`.

        Raises `KeyError` for a word that is not known.
        """
        ...


def read_services(root: Path, kind: str) -> dict[str, Described]:
    """All services by name, as they are in one kind of place, each after those that it needs.

    Raises `BadConfig` naming file, service and word for what can't be understood or names what isn't there.
    """
    path = root / DESCRIPTION
    document = parse(path.read_text("utf-8"))
    environments: dict[str, dict[str, str]] = document["environments"]
    found: dict[str, Described] = {}
    for name, entry in document["services"].items():
        try:
            found[name] = Described.model_validate(_chosen(name, entry, kind, environments))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise BadConfig(f"{path}: services.{name}.{where}: {first['msg']}") from None
        except KeyError as error:
            raise BadConfig(
                f"{path}: services.{name}.use: {error} is none of environments"
            ) from None
    for name, one in found.items():
        strangers = [
            *sorted(set(one.needs) - set(list(found)[: list(found).index(name)])),
            *sorted(set(one.secrets) - set(SECRETS)),
        ]
        if strangers:
            raise BadConfig(
                f"{path}: services.{name} needs {', '.join(strangers)}, which is told of nowhere above it"
            )
    return found


def _chosen(
    name: str, entry: dict[str, Any], kind: str, environments: Mapping[str, dict[str, str]]
) -> dict[str, Any]:
    """An entry of the file with what is so in this kind of place only, and with the environments that it uses."""
    own = {key: value for key, value in entry.items() if key not in KINDS}
    more = entry.get(kind, {})
    shared: dict[str, str] = {}
    for used in entry.get("use", ()):
        shared |= environments[used]
    environment = {**shared, **own.get("environment", {}), **more.get("environment", {})}
    return {**own, **more, "environment": environment}


def fill_in(services: Mapping[str, Described], place: Place) -> dict[str, Member]:
    """All services with every `{…}` filled in. Raises `BadConfig` for a word that nobody knows."""
    return {name: _filled(name, one, place) for name, one in services.items()}


def _filled(name: str, one: Described, place: Place) -> Member:
    def text(value: str) -> str:
        def word(match: re.Match[str]) -> str:
            try:
                return place.fill(name, one, match.group(1), match.group(2) or "")
            except KeyError:
                raise BadConfig(
                    f"{DESCRIPTION}: services.{name}: {match.group()} is not known"
                ) from None

        return SLOT.sub(word, value)

    for secret in re.findall(r"\{secret:([a-z0-9-]+)\}", _everything(one)):
        if secret not in one.secrets:
            raise BadConfig(
                f"{DESCRIPTION}: services.{name} reads the secret {secret}: name it in its secrets"
            )
    return Member(
        name=name,
        described=one,
        command=tuple(text(word).strip() for word in one.command),
        health=tuple(text(word).strip() for word in one.health),
        environment={key: text(value) for key, value in sorted(one.environment.items())},
    )


def _everything(one: Described) -> str:
    return "\n".join([*one.command, *one.health, *one.environment.values()])

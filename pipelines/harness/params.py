"""Typed parameters from `params.yaml`: frozen, unknown keys refused and named."""

import datetime
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from pipelines.harness.documents import parse
from pipelines.harness.errors import BadConfig

MASTER = re.compile(r"local(\[(\d+|\*)\])?|yarn|(spark|k8s)://\S+")
PROMOTIONS = ("automatic", "ask", "never")
ENGINES = ("duckdb", "spark")
"""Where tables may be worked on."""
COMMON = {"devices"}
"""Choices of the top level that are typed as part of the parameters of those stages that follow them."""
TOP_LEVEL = {
    "profile",
    "promotion",
    "seed",
    "threads",
    "tables",
    "partitions",
    "shop",
    "profiles",
} | COMMON


class Params(BaseModel):
    """Base of every stage's parameters. Subclass it beside the stage that reads it.

    A field may be a dataclass, such as a model's settings: a mapping in the section, held as strictly as the section.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


P = TypeVar("P", bound=Params)


class Tables(Params):
    """Where tables are worked on; `tables` at the top level of `params.yaml`.

    engine: one of `ENGINES`. master: of Spark alone: `local` is this machine with as many threads as a stage has, else a
    URL as Spark has it. settings: further properties of Spark, by their names.
    """

    engine: str = "duckdb"
    master: str = "local"
    settings: dict[str, str] = {}

    @field_validator("engine")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ENGINES:
            raise ValueError(f"{value!r} is none of: {', '.join(ENGINES)}")
        return value

    @field_validator("master")
    @classmethod
    def _reachable(cls, value: str) -> str:
        if not MASTER.fullmatch(value):
            raise ValueError(
                f"{value!r} is no master of Spark: write local, local[N], spark://HOST:PORT, k8s://URL or yarn"
            )
        return value


def read_params(root: Path) -> dict[str, Any]:
    """The whole of `params.yaml` as a dictionary.

    Raises `BadConfig` where the file is absent, is no YAML, names a profile that it doesn't hold, or numbers partitions in
    another way than 1, 2, 3.
    """
    path = root / "params.yaml"
    try:
        document = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadConfig(f"{path} is missing: run from the folder of the project") from None
    except yaml.YAMLError as error:
        raise BadConfig(f"{path} is not YAML: {error}") from None
    profiles = document.get("profiles", {})
    if document.get("profile") not in profiles:
        known = ", ".join(profiles)
        raise BadConfig(f"{path}: profile {document.get('profile')!r} is none of: {known}")
    if document.get("promotion") not in PROMOTIONS:
        raise BadConfig(
            f"{path}: promotion {document.get('promotion')!r} is none of: {', '.join(PROMOTIONS)}"
        )
    partitions = document.get("partitions", [1])
    count = len(partitions) if isinstance(partitions, list) else 0
    # By their letters: true and 1.0 are 1, but no name of a stage.
    if not count or repr(partitions) != repr([*range(1, count + 1)]):
        raise BadConfig(
            f"{path}: partitions {partitions!r} are not numbered: write [1], [1, 2], [1, 2, 3] …"
        )
    return document


def merged(document: dict[str, Any], name: str) -> dict[str, Any]:
    """The section `name` with the profile's values laid over it, mappings in it key by key.

    >>> merged({"profile": "a", "fit": {"of": {"x": 1, "y": 2}}, "profiles": {"a": {"fit": {"of": {"y": 3}}}}}, "fit")
    {'of': {'x': 1, 'y': 3}}
    """
    profile = document["profiles"][document["profile"]]
    return _laid(profile.get(name) or {}, document.get(name) or {})


def _laid(over: Mapping[str, Any], under: Mapping[str, Any]) -> dict[str, Any]:
    found = {**under, **over}
    for key in over.keys() & under.keys():
        if isinstance(over[key], Mapping) and isinstance(under[key], Mapping):
            found[key] = _laid(over[key], under[key])
    return found


def read_tables(document: Mapping[str, Any]) -> Tables:
    """Where tables are worked on, as the whole of `params.yaml` says.

    Raises `BadConfig` naming each key that is unknown or of the wrong type, and an engine or a master that is none.
    """
    try:
        return Tables.model_validate(document.get("tables") or {})
    except ValidationError as error:
        raise BadConfig(f"params.yaml: {_faults(error, 'tables', Tables)}") from None


def _faults(error: ValidationError, name: str, kind: type[Params]) -> str:
    """What is wrong with the keys of the section `name`, and which ones it knows."""
    faults = [
        f"{name}.{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
        for fault in error.errors()
    ]
    return f"{'; '.join(faults)}. {name} knows: {', '.join(kind.model_fields)}"


def _check_keys(value: Any, place: str) -> None:
    """Raise `BadConfig` for a key that YAML reads as something else than a text: `no` is one."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise BadConfig(
                    f"params.yaml: {place}: the key {key!r} is no text: put it in quotes"
                )
            _check_keys(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            _check_keys(inner, f"{place}.{at}")


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Values by dotted keys.

    >>> flat({"k": 1, "of": {"x": 2}})
    {'k': 1, 'of.x': 2}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = value
    return found


def section(document: dict[str, Any], name: str, kind: type[P]) -> P:
    """The parameters of one stage: its section, with the profile's values laid over it.

    A field that is named as one of `COMMON` has that choice of the top level below what the section says. Raises
    `BadConfig` naming each key that is unknown, absent or of the wrong type.
    """
    profile, found = document["profile"], merged(document, name)
    shared = COMMON & kind.model_fields.keys() & document.keys()
    found = _laid(found, {key: document[key] for key in shared})
    _check_keys(found, name)
    try:
        # Strict types take a mapping for a dataclass only where it comes as JSON. A date of YAML is a text there.
        return kind.model_validate_json(json.dumps(found, default=str))
    except ValidationError as error:
        raise BadConfig(f"params.yaml (profile {profile}): {_faults(error, name, kind)}") from None


def read_moment(text: str, name: str) -> datetime.datetime | None:
    """The moment that the parameter `name` gives in ISO 8601; of UTC where it names no zone, None where it is empty.

    Raises `BadConfig` where it is none.
    """
    if not text:
        return None
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise BadConfig(
            f"{name} {text!r} is no moment: write it as 2024-05-31 or 2024-05-31T06:00:00+00:00"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def as_moment(text: str) -> datetime.datetime:
    """The moment that somebody asked for, in UTC. Raises `BadConfig` where it is none, or empty."""
    found = read_moment(text, "the moment")
    if found is None:
        raise BadConfig("no moment was named: give one as 2026-01-31 or 2026-01-31T06:00")
    return found.astimezone(datetime.UTC)


def set_choice(root: Path, key: str, value: str) -> bool:
    """Write `key: value` at the top level of `params.yaml`, comments kept. True when it changed.

    Only the two choices of a run, `profile` and `promotion`, are set this way; the caller holds the lock.
    """
    document = read_params(root)
    allowed = {"profile": tuple(document["profiles"]), "promotion": PROMOTIONS}[key]
    if value not in allowed:
        raise BadConfig(f"{key} {value!r} is none of: {', '.join(allowed)}")
    if document[key] == value:
        return False
    path = root / "params.yaml"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for at, line in enumerate(lines):
        if line.startswith(f"{key}:"):
            comment = line.find("#")
            tail = f"  {line[comment:].rstrip()}" if comment >= 0 else ""
            lines[at] = f"{key}: {value}{tail}\n"
            break
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text("".join(lines), encoding="utf-8")
    partial.replace(path)
    return True

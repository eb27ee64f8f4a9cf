"""The graph as `dvc.yaml` says it, read without importing DVC (whose import costs over a second).

Understood: `foreach` over lists and mappings, `${…}` from `params.yaml`, outs, metrics and plots with options.
A test compares the result with what `dvc dag` and `dvc stage list` print.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.harness.documents import parse
from pipelines.harness.errors import BadConfig

REFERENCE = re.compile(r"\$\{([^}]+)\}")


def folder_of(stage: str) -> str:
    """The folder below `data/` that a stage writes.

    >>> folder_of("split"), folder_of("promote@answers")
    ('split', 'promote/answers')
    """
    return stage.replace("@", "/")


@dataclass(frozen=True)
class Node:
    """One stage: name, description, command, paths (relative, with forward slashes) and `meta`."""

    name: str
    desc: str
    cmd: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    params: tuple[str, ...]
    always_changed: bool
    meta: dict[str, Any] = field(default_factory=dict)

    def reads(self, path: str) -> bool:
        """Whether `path` is one of the deps or lies inside one."""
        return any(_covers(dep, path) for dep in self.deps)

    @property
    def mapped(self) -> bool:
        """Whether all instances of this stage are one mapped task in Airflow."""
        return bool(self.meta.get("mapped"))

    @property
    def task(self) -> str:
        """The id of its task in Airflow, which takes no `@`; of a mapped one it is that of all instances."""
        return self.name.partition("@")[0] if self.mapped else self.name.replace("@", "-")


@dataclass(frozen=True)
class Graph:
    """All stages by name, in the file's order."""

    nodes: dict[str, Node]

    def edges(self) -> list[tuple[str, str]]:
        """Pairs (upstream, downstream): an out equals, contains or lies inside a dep."""
        made: defaultdict[str, set[str]] = defaultdict(set)
        within: defaultdict[str, set[str]] = defaultdict(set)
        for node in self.nodes.values():
            for out in node.outs:
                made[out].add(node.name)
                for folder in _above(out):
                    within[folder].add(node.name)
        found = []
        for below in self.nodes.values():
            sources: set[str] = set()
            for dep in below.deps:
                sources |= within.get(dep, set())
                for path in (dep, *_above(dep)):
                    sources |= made.get(path, set())
            found += [(name, below.name) for name in self.nodes if name in sources - {below.name}]
        return found

    def instances(self, stage: str) -> list[str]:
        """The names of what a `foreach` makes of `stage`, in its order."""
        return [name for name in self.nodes if name.startswith(f"{stage}@")]

    def tasks(self) -> dict[str, str]:
        """Stage to its task instance in Airflow: the task's id, of a mapped one with the place from 0: `lists[2]`."""
        found: dict[str, str] = {}
        seen: Counter[str] = Counter()
        for name, node in self.nodes.items():
            found[name] = f"{node.task}[{seen[node.task]}]" if node.mapped else node.task
            seen[node.task] += 1
        return found

    def upstream(self, name: str) -> set[str]:
        """Every stage that `name` needs, directly or not."""
        above: dict[str, set[str]] = {}
        for source, target in self.edges():
            above.setdefault(target, set()).add(source)
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            for source in above.get(waiting.pop(), ()):
                if source not in seen:
                    seen.add(source)
                    waiting.append(source)
        return seen


def _above(path: str) -> Iterator[str]:
    """The folders that a path lies in."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _covers(outer: str, inner: str) -> bool:
    return inner == outer or inner.startswith(f"{outer}/")


def _lookup(scope: dict[str, Any], name: str) -> Any:
    value: Any = scope
    for part in name.strip().split("."):
        if not isinstance(value, dict) or part not in value:
            raise BadConfig(f"dvc.yaml: ${{{name}}} is not in params.yaml")
        value = value[part]
    return value


def _fill(value: Any, scope: dict[str, Any]) -> Any:
    if isinstance(value, str):
        return REFERENCE.sub(lambda match: str(_lookup(scope, match.group(1))), value)
    if isinstance(value, list):
        return [_fill(entry, scope) for entry in value]
    if isinstance(value, dict):
        return {_fill(key, scope): _fill(entry, scope) for key, entry in value.items()}
    return value


def _paths(entries: list[Any]) -> tuple[str, ...]:
    """Paths of a deps, outs, metrics or plots list, whose entries may carry options."""
    return tuple(entry if isinstance(entry, str) else next(iter(entry)) for entry in entries)


def _expand(name: str, entry: dict[str, Any], scope: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if "foreach" not in entry:
        yield name, _fill(entry, scope)
        return
    items = entry["foreach"]
    if isinstance(items, str):
        named = REFERENCE.fullmatch(items)
        if named is None:
            raise BadConfig(f"dvc.yaml: {name}: foreach {items!r} is no list and no ${{…}}")
        items = _lookup(scope, named[1])
    pairs = items.items() if isinstance(items, dict) else ((item, item) for item in items)
    for key, item in pairs:
        yield f"{name}@{key}", _fill(entry["do"], {**scope, "key": key, "item": item})


def read_graph(root: Path) -> Graph:
    """Read `dvc.yaml` under `root`. Raises `BadConfig` where it can't be understood."""
    try:
        document = parse((root / "dvc.yaml").read_text(encoding="utf-8"))
        scope = parse((root / "params.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadConfig(
            f"{error.filename} is missing: run from the folder of the project"
        ) from None
    nodes = {}
    for name, entry in document["stages"].items():
        for full, filled in _expand(name, entry, scope):
            outs = [*filled.get("outs", []), *filled.get("metrics", []), *filled.get("plots", [])]
            nodes[full] = Node(
                name=full,
                desc=filled.get("desc", ""),
                cmd=filled["cmd"],
                deps=_paths(filled.get("deps", [])),
                outs=_paths(outs),
                params=_paths(filled.get("params", [])),
                always_changed=bool(filled.get("always_changed", False)),
                meta=filled.get("meta", {}),
            )
    return Graph(nodes)

"""The store of DVC, held against its own names: `python -m pipelines.cache`.

A file of the store is named by the MD5 of what it holds. DVC trusts that name when it puts a file in place, so that
a damaged one would be handed out without a word. Here a file is hashed when it is new or was touched since it was
last found whole; a damaged one is named and removed, and DVC then makes it again.
"""

import configparser
import fcntl
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.harness.graph import Node, read_graph
from pipelines.harness.state import State

Seen = dict[str, list[int]]


@dataclass(frozen=True)
class Damage:
    """One damaged file of the store. out: what it is in the project; stage: who makes that; path: where it lay."""

    out: str
    stage: str
    path: Path

    def __str__(self) -> str:
        return (
            f"{self.path} is damaged (it does not hold what its name says) and was removed; it is {self.out}, "
            f"which stage {self.stage} makes again when it is run"
        )


def check(root: Path, stage: str | None = None) -> list[Damage]:
    """Remove the damaged files among what `stage` reads and writes (of all stages where None), and name them.

    Whether a file was touched is seen by its size, inode and change time. A file that is absent is no damage: DVC
    knows how to make it.
    """
    state = State(root)
    node = read_graph(root).nodes[stage] if stage else None
    entries = list(_entries(root, node))
    if not entries:
        return []
    store = store_folder(root)
    state.locks.mkdir(parents=True, exist_ok=True)
    with (state.locks / "cache.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        memo = state.home / "cache-checked.json"
        seen: Seen = json.loads(memo.read_text("utf-8")) if memo.exists() else {}
        before = dict(seen)
        found = [
            Damage(out, maker, path)
            for maker, out, md5 in entries
            for path in _damaged(store, md5, seen)
        ]
        if seen != before:
            partial = memo.with_name(f".{memo.name}.partial")
            partial.write_text(json.dumps(seen, sort_keys=True), encoding="utf-8")
            partial.replace(memo)
    return found


def _entries(root: Path, node: Node | None) -> Iterator[tuple[str, str, str]]:
    """(stage, out, md5) of every cached out in `dvc.lock` that `node` reads or writes."""
    try:
        text = (root / "dvc.lock").read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    loader = yaml.CSafeLoader(text)
    try:
        document: dict[str, Any] = loader.get_single_data() or {}
    finally:
        loader.dispose()
    wanted = (*node.deps, *node.outs) if node else None
    for maker, entry in document.get("stages", {}).items():
        for out in entry.get("outs", []):
            if "md5" in out and (wanted is None or _meets(out["path"], wanted)):
                yield maker, out["path"], out["md5"]


def _meets(path: str, others: Iterable[str]) -> bool:
    return any(
        path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/")
        for other in others
    )


def store_folder(root: Path) -> Path:
    """Where DVC keeps file contents: `cache.dir` of its configuration, else its own folder."""
    found = root / ".dvc" / "cache"
    for name in ("config", "config.local"):
        config = configparser.ConfigParser(interpolation=None)
        config.read(root / ".dvc" / name, encoding="utf-8")
        if config.has_option("cache", "dir"):
            found = root / ".dvc" / config.get("cache", "dir")
    return found / "files" / "md5"


def _damaged(store: Path, name: str, seen: Seen) -> Iterator[Path]:
    """The damaged files behind one out: its own, or those that its listing names; each is removed."""
    path = store / name[:2] / name[2:]
    if not _whole(path, name, seen):
        path.unlink()
        yield path
        return
    if name.endswith(".dir") and path.exists():
        for child in json.loads(path.read_text("utf-8")):
            inner = store / child["md5"][:2] / child["md5"][2:]
            if not _whole(inner, child["md5"], seen):
                inner.unlink()
                yield inner


def _whole(path: Path, name: str, seen: Seen) -> bool:
    try:
        stat = path.stat()
    except FileNotFoundError:
        seen.pop(name, None)
        return True
    mark = [stat.st_size, stat.st_ino, stat.st_ctime_ns]
    if seen.get(name) == mark:
        return True
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()
    if digest != name.removesuffix(".dir"):
        seen.pop(name, None)
        return False
    seen[name] = mark
    return True


def main(root: Path) -> int:
    """Check all that `dvc.lock` names. The status is 1 where something was damaged."""
    found = check(root)
    for damage in found:
        print(damage, file=sys.stderr)
    if not found:
        print("the store is whole")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))

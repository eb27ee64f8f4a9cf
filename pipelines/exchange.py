"""What a stage needs arrives, and what it made leaves, by content hash: for workers without a common disk.

    python -m pipelines.exchange CALLER_PID fetch | send STAGE

The store is DVC's remote. Beside the files, it keeps what `dvc.lock` says of each stage, one object a stage, written
when the stage's files are there. Before a stage runs, the words about all stages above it are taken over, and the
files that it reads are fetched unless they are here. `pipelines.run` does both where `VITRINE_EXCHANGE` is set, as it
is for the workers of a cluster: there, nobody runs a stage in another way, so that the store always knows the newest.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.guarded import LOCK, write_whole
from pipelines.harness.errors import BadConfig, MissingResource, VitrineError
from pipelines.harness.graph import Graph, read_graph
from pipelines.harness.stage import die_with_parent

FOLDER = "locks"


def read_outs(graph: Graph, stage: str) -> list[str]:
    """The outs of other stages that `stage` reads, whole, in order."""
    node = graph.nodes[stage]
    return sorted(
        out
        for above in graph.upstream(stage)
        for out in graph.nodes[above].outs
        if node.reads(out) or any(dep.startswith(f"{out}/") for dep in node.deps)
    )


def fetch(root: Path, stage: str) -> None:
    """Bring what `stage` reads, and what it made before from the same inputs, to this folder.

    Raises `MissingResource` where the store can't be reached or lacks a file, `BadConfig` where none is configured.
    """
    graph = read_graph(root)
    with _repo(root) as repo:
        from dvc.repo import lock_repo

        told = dict(_entries(_remote(repo), [*sorted(graph.upstream(stage)), stage]))
        with lock_repo(repo):
            _take_over(root, told)
            repo._reset()
        needed = read_outs(graph, stage)
        if needed:
            _pull(repo, needed, stage)
        if stage in told and not graph.nodes[stage].always_changed:
            with lock_repo(repo):
                (own,) = repo.stage.collect(stage)
                same = not own.changed_deps() and not own.changed_stage()
            if same:
                _pull(repo, list(graph.nodes[stage].outs), stage)


def send(root: Path, stage: str) -> None:
    """Put what `stage` made into the store, and then what `dvc.lock` says of it. Raises as `fetch` does."""
    entry = _read_lock(root).get("stages", {}).get(stage)
    if entry is None:
        raise MissingResource(f"dvc.lock says nothing of {stage}: it has not run here")
    with _repo(root) as repo:
        fs, folder = _remote(repo)
        try:
            repo.push(targets=[stage])
            fs.makedirs(folder, exist_ok=True)
            text = json.dumps(entry, sort_keys=True, ensure_ascii=False)
            fs.pipe_file(fs.join(folder, f"{stage}.json"), text.encode())
        except Exception as error:
            raise MissingResource(
                f"{stage} is done but could not be sent to the store: {error}"
            ) from error


def _repo(root: Path) -> Any:
    from dvc.repo import Repo

    return Repo(str(root), _wait_for_lock=True)


def _remote(repo: Any) -> tuple[Any, str]:
    """The store's file system, and the folder of what `dvc.lock` says in it."""
    from dvc.exceptions import DvcException

    try:
        remote = repo.cloud.get_remote(command="exchange")
    except DvcException as error:
        raise BadConfig(f".dvc/config names no store to exchange through: {error}") from None
    return remote.fs, remote.fs.join(remote.path, FOLDER)


def _entries(remote: tuple[Any, str], stages: list[str]) -> Iterator[tuple[str, Any]]:
    """(stage, what `dvc.lock` says of it) for those that the store knows."""
    fs, folder = remote
    for stage in stages:
        try:
            yield stage, json.loads(fs.cat_file(fs.join(folder, f"{stage}.json")))
        except FileNotFoundError:
            continue
        except Exception as error:
            raise MissingResource(f"the store can't be read at {folder}: {error}") from error


def _pull(repo: Any, outs: list[str], stage: str) -> None:
    try:
        told = repo.pull(targets=outs, force=True)
    except Exception as error:
        raise MissingResource(f"what {stage} needs could not be fetched: {error}") from error
    files = told.get("stats", {}).get("fetched", 0)
    if files:
        print(f"{stage}: {files} files fetched from the store", flush=True)


def _read_lock(root: Path) -> dict[str, Any]:
    from dvc.utils.serialize import load_yaml

    path = root / LOCK
    return load_yaml(str(path)) if path.exists() else {}


def _take_over(root: Path, told: Mapping[str, Any]) -> None:
    """Write into `dvc.lock` what differs; the caller holds DVC's lock, and the file changes as a whole."""
    document = _read_lock(root)
    stages = document.setdefault("stages", {})
    if all(stages.get(name) == entry for name, entry in told.items()):
        return
    document = {"schema": "2.0", **document, "stages": {**stages, **told}}
    write_whole(root / LOCK, document)


def main(words: list[str]) -> int:
    """The command line; the exit status is that of the class of failure."""
    verbs = {"fetch": fetch, "send": send}
    if len(words) != 3 or words[1] not in verbs:
        print(__doc__, file=sys.stderr)
        return 64
    die_with_parent()
    if os.getppid() != int(words[0]):  # it died before the kernel was asked to watch it
        return 1
    try:
        verbs[words[1]](Path.cwd(), words[2])
    except VitrineError as error:
        print(f"{words[2]}: {error.title}: {error}", flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

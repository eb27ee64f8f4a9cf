"""What a stage needs arrives, and what it made leaves, by content hash: for workers without a common disk.

    python -m pipelines.exchange fetch | send STAGE
    python -m pipelines.exchange collect    (all that the store has of the newest run, into this folder)

The store is DVC's remote. Beside the files, it keeps what `dvc.lock` says of each stage, one object a stage, written
when the stage's files are there. Before a stage runs, the words about all stages above it are taken over, and the
files that it reads are fetched unless they are here. `pipelines.run` does both where `VITRINE_EXCHANGE` is set, as it
is for the workers of a cluster: there, nobody runs a stage in another way, so that the store always knows the newest.
"""

import json
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pipelines.guarded import LOCK, write_whole
from pipelines.harness.errors import BadConfig, MissingResource, VitrineError
from pipelines.harness.graph import Graph, read_graph
from pipelines.harness.params import read_params
from pipelines.harness.stage import die_with_parent

FOLDER = "locks"
PARAMS = "params.yaml"
PROBE = ".written"
PATIENCE_SECONDS = 180.0
"""How long a store that is away is waited for."""
PAUSE_SECONDS = 2.0

T = TypeVar("T")


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

    A store that can't be written stops the stage here, before it works for nothing. Raises `MissingResource` where the
    store stays away, does not let us in or lacks a file, `BadConfig` where none is configured.
    """
    graph = read_graph(root)
    with _repo(root) as repo:
        from dvc.repo import lock_repo

        store = _Store(repo)
        store.wait()
        told = dict(store.entries([*sorted(graph.upstream(stage)), stage]))
        above = {name: entry for name, entry in told.items() if name != stage}
        refuse_mixture(above, read_params(root)["profile"], stage)
        with lock_repo(repo):
            _take_over(root, told)
            repo._reset()
        needed = read_outs(graph, stage)
        if needed:
            store.pull(needed, stage)
        if stage in told and not graph.nodes[stage].always_changed:
            with lock_repo(repo):
                (own,) = repo.stage.collect(stage)
                same = not own.changed_deps() and not own.changed_stage()
            if same:
                store.pull(list(graph.nodes[stage].outs), stage)


def send(root: Path, stage: str) -> None:
    """Put what `stage` made into the store, and then what `dvc.lock` says of it. Raises as `fetch` does."""
    entry = _read_lock(root).get("stages", {}).get(stage)
    if entry is None:
        raise MissingResource(f"dvc.lock says nothing of {stage}: it has not run here")
    with _repo(root) as repo:
        _Store(repo).send(stage, entry)


def collect(root: Path) -> None:
    """Bring what the store has of every stage to this folder, for a person to look at. Raises as `fetch` does."""
    graph = read_graph(root)
    with _repo(root) as repo:
        from dvc.repo import lock_repo

        store = _Store(repo)
        store.wait()
        told = dict(store.entries(list(graph.nodes)))
        with lock_repo(repo):
            _take_over(root, told)
            repo._reset()
        store.pull([out for stage in told for out in graph.nodes[stage].outs], "this folder")


def refuse_mixture(above: Mapping[str, Any], profile: str, stage: str) -> None:
    """Raise `BadConfig` where a stage above `stage` was made with another profile than this worker's.

    above: stage to what `dvc.lock` says of it.
    """
    for name, entry in above.items():
        for key in entry.get("params", {}).get(PARAMS, {}):
            section, _, rest = key.partition(".")
            if section == "profiles" and rest.partition(".")[0] != profile:
                raise BadConfig(
                    f"{stage}: {name} was made with the profile {rest.partition('.')[0]}, params.yaml of this worker "
                    f"says {profile}: start a whole run with the one that you want"
                )


def distrusted(error: BaseException | None) -> bool:
    """Whether an error comes of a certificate, or of a server that talks no TLS: to wait would not help."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
            return True
        error = error.__cause__ or error.__context__
    return False


def _repo(root: Path) -> Any:
    from dvc.repo import Repo

    return Repo(str(root), _wait_for_lock=True)


class _Store:
    """DVC's remote, and the folder in it of what `dvc.lock` says. It may be away for a while."""

    def __init__(self, repo: Any) -> None:
        from dvc.exceptions import DvcException

        try:
            remote = repo.cloud.get_remote(command="exchange")
        except DvcException as error:
            raise BadConfig(f".dvc/config names no store to exchange through: {error}") from None
        self._repo, self._fs = repo, remote.fs
        self._folder = remote.fs.join(remote.path, FOLDER)

    def wait(self) -> None:
        """Return once the store can be written. Raises `MissingResource` where it stays away, or refuses."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self._fs.makedirs(self._folder, exist_ok=True)
                self._fs.pipe_file(self._fs.join(self._folder, PROBE), b"")
                return
            except (PermissionError, FileNotFoundError) as error:
                raise MissingResource(
                    f"the store does not let us write at {self._folder}: {error or type(error).__name__}. Is its "
                    "bucket there, and is the key in the secret `s3` one that it knows?"
                ) from error
            except Exception as error:
                if distrusted(error):
                    raise MissingResource(
                        f"the store is not trusted, {self._folder} can't be written: {error}. The variable "
                        "AWS_CA_BUNDLE names the file of the CAs that are; `python -m pipelines.services.cluster_trust` "
                        "tells what is wrong"
                    ) from error
                if time.monotonic() >= until:
                    raise MissingResource(
                        f"the store is away, {self._folder} can't be written: {error}. If it is up, does its address "
                        "in .dvc/config begin as it talks, with https or with http?"
                    ) from error
            print(f"the store is away; waiting for {self._folder}", flush=True)
            time.sleep(PAUSE_SECONDS)

    def _patiently(self, what: str, work: Callable[[], T]) -> T:
        """What `work` returns, which is tried once more when the store can be written again."""
        try:
            return work()
        except Exception:
            self.wait()
        try:
            return work()
        except Exception as error:
            raise MissingResource(f"{what}: {error}") from error

    def entries(self, stages: list[str]) -> Iterator[tuple[str, Any]]:
        """(stage, what `dvc.lock` says of it) for those that the store knows."""

        def read(stage: str) -> Any:
            try:
                return json.loads(self._fs.cat_file(self._fs.join(self._folder, f"{stage}.json")))
            except FileNotFoundError:
                return None

        for stage in stages:
            entry = self._patiently(
                f"the store can't be read at {self._folder}", partial(read, stage)
            )
            if entry is not None:
                yield stage, entry

    def pull(self, outs: list[str], stage: str) -> None:
        """Bring outs here, unless they are."""
        told = self._patiently(
            f"what {stage} needs could not be fetched",
            lambda: self._repo.pull(targets=outs, force=True),
        )
        files = told.get("stats", {}).get("fetched", 0)
        if files:
            print(f"{stage}: {files} files fetched from the store", flush=True)

    def send(self, stage: str, entry: Any) -> None:
        """The files first, so that what is said of them is true."""
        text = json.dumps(entry, sort_keys=True, ensure_ascii=False)

        def work() -> None:
            self._repo.push(targets=[stage])
            self._fs.makedirs(self._folder, exist_ok=True)
            self._fs.pipe_file(self._fs.join(self._folder, f"{stage}.json"), text.encode())

        self._patiently(f"{stage} is done but could not be sent to the store", work)


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
    if words != ["collect"] and (len(words) != 2 or words[0] not in verbs):
        print(__doc__, file=sys.stderr)
        return 64
    try:
        if words == ["collect"]:
            collect(Path.cwd())
        else:
            die_with_parent()
            verbs[words[0]](Path.cwd(), words[1])
    except VitrineError as error:
        print(f"{words[-1]}: {error.title}: {error}", flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

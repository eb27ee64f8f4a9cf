"""Remove what no rule keeps: `python -m pipelines.retention [--dry-run]`; the DAG `retention` does it every week.

| what | goes when |
|---|---|
| versions of registered models | no alias names them, no receipt, no young run made or registered them, older than `bundle_days`, not among the newest `keep_versions` |
| runs in MLflow | ended, older than `run_days`, and of no kept version: not its training, its judging or its promotion, nor above these, nor beside them |
| lists | older than `list_days`, and not among the newest `keep_lists` |
| features of past days | made longer than `list_days` ago |
| looks of the monitor, incidents, Airflow's logs | older than `log_days` |
| DVC's store | larger than `max_cache_gb`: then all but the outputs and sources of the stages as the folder has them now |

Champions, challengers and previous champions never go, nor does the journal. The models of kept versions lie in the
registry, not in DVC's store: emptying the store takes none of them. What it takes are the tables and bundles of earlier
data, settings or code; DVC makes them again where a folder is put back to these.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from pipelines import monitor, past_features
from pipelines.harness import MissingResource, Params, VitrineError
from pipelines.harness.params import read_params, section
from pipelines.harness.state import State
from pipelines.harness.tracking import BUNDLE_TAG, EXPERIMENT
from pipelines.lists import archive as list_archive
from pipelines.monitoring import incidents
from pipelines.promotion.registry import PREFIX, TRAINED, Registry, Version

DAY = 86_400.0
PAGE = 1000
GC_SECONDS = 1800


class RetentionParams(Params):
    """Days are ages; keep_versions and keep_lists: how many of the newest stay whatever their age."""

    bundle_days: float
    keep_versions: int
    run_days: float
    list_days: float
    keep_lists: int
    log_days: float
    max_cache_gb: float


@dataclass(frozen=True)
class Leaving:
    """One thing that goes. kind, name, why: for people; size: bytes; remove: does it."""

    kind: str
    name: str
    why: str
    size: int
    remove: Callable[[], None]


def plan(root: Path, params: RetentionParams, now: float) -> list[Leaving]:
    """All that goes by the rules at `now` (seconds since 1970), in the order in which it may go."""
    state = State(root)
    registry = Registry(state)
    found = list(_all_runs(registry))
    going, staying = versions(registry, root, found, params, now)
    return [
        *going,
        *runs(registry, staying, found, params, now),
        *lists(state, params, now),
        *files(state, params, now),
        *store(root, params),
    ]


@dataclass(frozen=True)
class Staying:
    """A version that is kept. manifest: of its bundle; runs: ids of those that trained and registered it."""

    manifest: str
    runs: frozenset[str]


def versions(
    registry: Registry, root: Path, found: list[Any], params: RetentionParams, now: float
) -> tuple[list[Leaving], list[Staying]]:
    """The versions that go, and those that stay. found: all runs in MLflow."""
    young = [run for run in found if not _old(run, params, now)]
    at_work = {run.info.run_id for run in young}
    bundles = {run.data.tags.get(BUNDLE_TAG) for run in young}
    named = {
        json.loads(path.read_text("utf-8")).get("champion")
        for path in sorted((root / "data" / "promote").glob("*/receipt.json"))
    }
    going, staying = [], []
    for standing in registry.champions():
        capability = standing.name.removeprefix(PREFIX)
        known = registry.versions(capability)
        aliased = {version.number for version in standing.aliases.values()}
        newest = {version.number for version in known[-params.keep_versions or len(known) :]}
        for version in known:
            told = registry.api.get_model_version(version.name, version.number)
            age = now - told.creation_timestamp / 1000
            needed = (
                version.number in aliased
                or version.number in newest
                or version.manifest in named
                or age <= params.bundle_days * DAY
                or version.manifest in bundles
                or told.run_id in at_work
            )
            if needed:
                trained = version.tags.get(TRAINED)
                names = frozenset(filter(None, (told.run_id, trained)))
                staying.append(Staying(version.manifest, names))
                continue
            place = _local(registry, version)
            going.append(
                Leaving(
                    "version",
                    f"{version.name} {version.number}",
                    f"no alias, {age / DAY:.0f} days old",
                    _size(place),
                    partial(_drop_version, registry, version, place),
                )
            )
    return going, staying


def _old(run: Any, params: RetentionParams, now: float) -> bool:
    ended = run.info.end_time
    return (
        run.info.status != "RUNNING"
        and now - (ended or run.info.start_time) / 1000 > params.run_days * DAY
    )


def _local(registry: Registry, version: Version) -> Path | None:
    """The folder of a version's files, where they lie below MLflow's folder of this project."""
    model = _model(registry, version)
    if model is None:
        return None
    parts = urlparse(model.artifact_location)
    place = Path(url2pathname(parts.path)).resolve()
    own = (registry.state.mlflow / "artifacts").resolve()
    return place if parts.scheme in ("", "file") and place.is_relative_to(own) else None


def _model(registry: Registry, version: Version) -> Any:
    uri = registry.api.get_model_version(version.name, version.number).source
    if not uri.startswith("models:/"):
        return None
    return registry.api.get_logged_model(uri.removeprefix("models:/"))


def _drop_version(registry: Registry, version: Version, place: Path | None) -> None:
    """The version first, so that nothing names files that are gone. An alias that came meanwhile keeps it."""
    current = registry.aliases(version.name.removeprefix(PREFIX))
    if version in current.values():
        return
    model = _model(registry, version)
    registry.api.delete_model_version(version.name, version.number)
    if model is not None:
        registry.api.delete_logged_model(model.model_id)
    if place is not None:
        shutil.rmtree(place, ignore_errors=True)


def runs(
    registry: Registry,
    staying: list[Staying],
    found: list[Any],
    params: RetentionParams,
    now: float,
) -> list[Leaving]:
    """The runs that go, as one entry: MLflow removes them together. found: all runs in MLflow."""
    parents = {run.info.run_id: run.data.tags.get("mlflow.parentRunId") for run in found}
    manifests = {one.manifest for one in staying}
    needed = {run for one in staying for run in one.runs}
    needed |= {run.info.run_id for run in found if run.data.tags.get(BUNDLE_TAG) in manifests}
    whole = needed | {parents.get(run) for run in needed}
    kept = {run.info.run_id for run in found if not _old(run, params, now)}
    kept |= {run for run, parent in parents.items() if run in whole or (parent and parent in whole)}
    kept |= {parent for run, parent in parents.items() if run in kept and parent}
    going = [run for run in found if run.info.run_id not in kept]
    if not going:
        return []
    names = [run.info.run_id for run in going]
    why = f"older than {params.run_days:g} days, no kept version is theirs"
    return [
        Leaving("runs", f"{len(names)} runs", why, 0, partial(_drop_runs, registry, names)),
    ]


def _all_runs(registry: Registry) -> Iterator[Any]:
    experiment = registry.api.get_experiment_by_name(EXPERIMENT).experiment_id
    token = None
    while True:
        page = registry.api.search_runs([experiment], max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _drop_runs(registry: Registry, names: list[str]) -> None:
    for name in names:
        registry.api.delete_run(name)
    words = ["-m", "mlflow", "gc", "--backend-store-uri", registry.uri, "--run-ids"]
    for at in range(0, len(names), PAGE):
        _run([*words, ",".join(names[at : at + PAGE])], Path.cwd())


def lists(state: State, params: RetentionParams, now: float) -> Iterator[Leaving]:
    """Lists of the archive and features of past days, by when they were put there."""
    kept = list_archive.kept(state)
    for one in kept[: -params.keep_lists or len(kept)]:
        age = now - (one.folder / list_archive.FACTS).stat().st_mtime
        if age > params.list_days * DAY:
            yield Leaving(
                "lists",
                one.facts.name,
                f"{age / DAY:.0f} days old",
                _size(one.folder),
                partial(shutil.rmtree, one.folder),
            )
    for folder in sorted(past_features.archive(state).glob("[0-9]*")):
        age = now - folder.stat().st_mtime
        if age > params.list_days * DAY:
            why = f"{age / DAY:.0f} days old"
            yield Leaving(
                "features", folder.name, why, _size(folder), partial(shutil.rmtree, folder)
            )


def files(state: State, params: RetentionParams, now: float) -> Iterator[Leaving]:
    """Single files that only tell of the past."""
    places = {
        "look": monitor.folder(state).glob("look-*.json"),
        "incident": incidents.incidents(state).glob("*.json"),
        "log": (path for path in (state.airflow / "logs").rglob("*") if path.is_file()),
    }
    for kind, paths in places.items():
        for path in sorted(paths):
            stat = path.stat()
            age = now - stat.st_mtime
            if age > params.log_days * DAY:
                name = path.relative_to(state.home).as_posix()
                why = f"{age / DAY:.0f} days old"
                yield Leaving(kind, name, why, stat.st_size, path.unlink)


def store(root: Path, params: RetentionParams) -> Iterator[Leaving]:
    """What of DVC's store the folder as it stands does not use, where the store is too large."""
    place = root / ".dvc" / "cache"
    size = _size(place)
    if size > params.max_cache_gb * 1e9:
        why = f"{size / 1e9:.1f} GB, the limit is {params.max_cache_gb:g}; what is in use stays"
        words = ["-m", "dvc", "gc", "--workspace", "--force"]
        yield Leaving("store", ".dvc/cache", why, 0, partial(_run, words, root))


def _run(words: list[str], root: Path) -> None:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=GC_SECONDS,
        check=False,
    )
    if done.returncode:
        raise MissingResource(f"`{' '.join(words[1:4])}` failed: {done.stderr.strip()[-2000:]}")


def _size(place: Path | None) -> int:
    if place is None or not place.exists():
        return 0
    return sum(
        entry.stat(follow_symlinks=False).st_size
        for folder, _, names in os.walk(place)
        for entry in (Path(folder, name) for name in names)
    )


def main(words: list[str], root: Path) -> int:
    """Name what goes, and remove it unless told not to; the exit status is that of the class of failure."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.retention",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dry-run", action="store_true", help="only name what would go")
    asked = parser.parse_args(words)
    try:
        params = section(read_params(root), "retention", RetentionParams)
        going = plan(root, params, time.time())
        for one in going:
            print(f"{one.kind:<9} {one.name:<60} {one.size / 1e6:9.1f} MB  {one.why}", flush=True)
            if not asked.dry_run:
                one.remove()
    except VitrineError as error:
        print(f"retention: {error.title}: {error}", file=sys.stderr)
        return error.exit_code
    verb = "would go" if asked.dry_run else "gone"
    print(f"{len(going)} {verb}, {sum(one.size for one in going) / 1e6:,.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))

"""The model registry: one registered model a capability, one version a bundle, known by its manifest hash.

Nothing here asks for "the latest": a version is found by the hash of what it holds, or by an alias.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import pandas as pd
import pyarrow.parquet as pq

from models.bundle import DamagedBundle, manifest_hash, verify
from pipelines.harness import BadData, MissingResource
from pipelines.harness.state import State
from pipelines.harness.tracking import EXPERIMENT, client

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
MANIFEST, SECONDS, VERDICT, TRAINED = "manifest", "seconds", "verdict", "training_run"
"""Tags of a version: its bundle; the seconds of a request, once it was loaded elsewhere; what a person said of it, which outlives
every run; the run that trained it, which its card links."""
JOURNAL = "journal/"
"""Begins a tag of a registered model, a journal's identity follows: the hash of that journal's newest line on the model."""
OWNER = "vitrine.journal"
"""The tag of the experiment that names the common journal of all decisions."""
PREFIX = "vitrine."
LOAD_SECONDS = 300
CARD_LIMIT = 5000  # characters of a description in MLflow's database


class NoChampion(MissingResource):
    """Nothing serves for a capability: no challenger was good enough, or none was approved yet."""


class Unreadable(MissingResource):
    """A version is registered, and its bundle is absent, damaged or another's."""


def registered_name(capability: str) -> str:
    """What a capability is called in the registry.

    >>> registered_name("sentiment")
    'vitrine.sentiment'
    """
    return f"{PREFIX}{capability}"


@dataclass(frozen=True)
class Version:
    """One version of a registered model. number: MLflow's. manifest: identity of its bundle.

    Two are equal when they are the same version, whatever their tags say at the moment.
    """

    name: str
    number: str
    manifest: str
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Standing:
    """How one registered model stands: versions by alias, and how many versions there are."""

    name: str
    aliases: Mapping[str, Version]
    versions: int


class Registry:
    """MLflow's registry as this product uses it.

    state: where the database lies. api: an `MlflowClient`, opened when absent. Every method raises
    `MissingResource` where the registry is away.
    """

    def __init__(self, state: State, api: Any = None) -> None:
        self.state = state
        self.uri = state.tracking_uri
        self.api = client(state) if api is None else api

    def versions(self, capability: str) -> list[Version]:
        """All versions of one capability, oldest first."""
        name = registered_name(capability)
        with self._reach():
            found = self.api.search_model_versions(f"name = '{name}'")
        return sorted(map(_version, found), key=lambda version: int(version.number))

    def by_manifest(self, capability: str, manifest: str) -> Version | None:
        """The version that holds the bundle with this manifest hash, or None."""
        known = [found for found in self.versions(capability) if found.manifest == manifest]
        return known[0] if known else None

    def aliases(self, capability: str) -> dict[str, Version]:
        """Alias to version; empty where nothing is registered yet."""
        name = registered_name(capability)
        model = self._model(capability)
        numbers = model.aliases if model else {}
        with self._reach():
            return {
                alias: _version(self.api.get_model_version(name, str(number)))
                for alias, number in sorted(numbers.items())
            }

    def _model(self, capability: str) -> Any:
        """MLflow's registered model, or None where nothing is registered yet."""
        from mlflow.exceptions import MlflowException

        with self._reach():
            try:
                return self.api.get_registered_model(registered_name(capability))
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return None

    def point(self, capability: str, alias: str, version: Version) -> None:
        """Move `alias` to `version`: one write, so that it is the old one or the new one, never none."""
        with self._reach():
            self.api.set_registered_model_alias(registered_name(capability), alias, version.number)

    def crown(self, capability: str, version: Version, champion: Version | None) -> None:
        """Make `version` the champion in place of `champion`, by one write after all others.

        Dropping its old alias afterwards only tidies up.
        """
        if champion and champion != version:
            self.point(capability, PREVIOUS, champion)
        self.point(capability, CHAMPION, version)
        if self.aliases(capability).get(CHALLENGER) == version:
            self.drop(capability, CHALLENGER)

    def drop(self, capability: str, alias: str) -> None:
        """Take `alias` away."""
        with self._reach():
            self.api.delete_registered_model_alias(registered_name(capability), alias)

    def anchor(self, capability: str, journal: str) -> str | None:
        """The hash of the newest line on `capability` in the journal with this identity, as kept here, or None."""
        model = self._model(capability)
        return model.tags.get(f"{JOURNAL}{journal}") if model else None

    def set_anchor(self, capability: str, journal: str, line: str) -> None:
        """Keep the hash of a journal's newest line on `capability`."""
        with self._reach():
            self.api.set_registered_model_tag(
                registered_name(capability), f"{JOURNAL}{journal}", line
            )

    def anchors(self, journal: str) -> dict[str, str]:
        """Capability to that hash, for all that have one."""
        kept = {one: self.anchor(one, journal) for one in self._capabilities()}
        return {name: line for name, line in kept.items() if line}

    def owner(self) -> str | None:
        """The identity of the common journal in which all decisions are told, or None where there is none."""
        with self._reach():
            return self.api.get_experiment_by_name(EXPERIMENT).tags.get(OWNER)

    def set_owner(self, journal: str) -> None:
        """Keep the identity of the common journal."""
        with self._reach():
            experiment = self.api.get_experiment_by_name(EXPERIMENT).experiment_id
            self.api.set_experiment_tag(experiment, OWNER, journal)

    def tag(self, version: Version, key: str, value: str) -> None:
        """Set one tag of a version."""
        with self._reach():
            self.api.set_model_version_tag(version.name, version.number, key, value)

    def register(
        self,
        capability: str,
        bundle: Path,
        *,
        models: Path,
        packages: list[str],
        example: Path,
        card: str,
        tags: Mapping[str, str],
        run_id: str,
        scratch: Path,
        about: str,
    ) -> Version:
        """The version that holds `bundle`, made where there is none.

        models: the package that loads it, which travels along. packages: what that needs, pinned. example: folder
        with `input.parquet` and `output.parquet`. card: the version's description (Markdown). scratch: a folder that
        does not exist, used and removed. about: one sentence on the capability.
        """
        manifest = manifest_hash(bundle)
        known = self.by_manifest(capability, manifest)
        if known:
            return known
        name = registered_name(capability)
        with self._reach(), self._globally():
            if not self.api.search_registered_models(f"name = '{name}'"):
                self.api.create_registered_model(name, description=about)
            model_id = self._logged(capability, manifest)
            if model_id is None:
                model_id = self._log(
                    capability, bundle, manifest, models, packages, example, run_id, scratch
                )
            made = self.api.create_model_version(
                name,
                f"models:/{model_id}",
                run_id=run_id,
                tags={**tags, MANIFEST: manifest},
                description=card[:CARD_LIMIT],
                model_id=model_id,
            )
        return _version(made)

    def _experiment(self) -> str:
        return self.api.get_experiment_by_name(EXPERIMENT).experiment_id

    def _logged(self, capability: str, manifest: str) -> str | None:
        """A logged model with this bundle that is complete: a run that died may have left one."""
        found = self.api.search_logged_models(
            [self._experiment()],
            f"tags.capability = '{capability}' AND tags.{MANIFEST} = '{manifest}'",
        )
        ready = [model.model_id for model in found if model.status.name == "READY"]
        return ready[0] if ready else None

    def _log(
        self,
        capability: str,
        bundle: Path,
        manifest: str,
        models: Path,
        packages: list[str],
        example: Path,
        run_id: str,
        scratch: Path,
    ) -> str:
        import mlflow.pyfunc
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model, infer_signature

        asked, answered = read_example(example)
        with warnings.catch_warnings():
            # Ranks and counts are whole numbers in every answer; MLflow would have them as doubles.
            warnings.filterwarnings("ignore", message=".*integer column.*")
            signature = infer_signature(asked, answered)
        logged = self.api.create_logged_model(
            self._experiment(),
            name=capability,
            source_run_id=run_id,
            tags={"capability": capability, MANIFEST: manifest},
        )
        try:
            with _taken_as_pinned():
                mlflow.pyfunc.save_model(
                    scratch,
                    loader_module="models.pyfunc",
                    data_path=str(bundle),
                    code_paths=[str(models)],
                    signature=signature,
                    input_example=asked,
                    pip_requirements=packages,
                    mlflow_model=Model(
                        artifact_path=logged.artifact_location,
                        model_uuid=logged.model_id,
                        model_id=logged.model_id,
                        run_id=run_id,
                    ),
                )
            self.api.log_model_artifacts(logged.model_id, str(scratch))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self.api.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        self.api.finalize_logged_model(logged.model_id, "READY")
        return logged.model_id

    def check(self, version: Version, example: Path) -> float:
        """Load a version in a process of its own and compare its answers with those in `example`.

        Returns the seconds of that request once the model is warm. The process does not find the checkout, and what it
        downloads goes with its folder. Raises `Unreadable` with what it said.
        """
        script = Path(__file__).with_name("load_check.py")
        with self._reach():
            place = self._location(version)
        with tempfile.TemporaryDirectory() as elsewhere:
            try:
                done = subprocess.run(
                    [
                        sys.executable,
                        "-I",
                        "-B",
                        str(script),
                        self.uri,
                        place,
                        str(example.resolve()),
                    ],
                    cwd=elsewhere,
                    env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": elsewhere},
                    capture_output=True,
                    text=True,
                    timeout=LOAD_SECONDS,
                    check=False,
                )
                fault = done.stderr.strip()[-2000:] if done.returncode else ""
            except subprocess.TimeoutExpired:
                fault = f"nothing came within {LOAD_SECONDS} seconds"
        if fault:
            raise Unreadable(
                f"{version.name} version {version.number} does not load or answers otherwise than the model "
                f"that was evaluated, so it can't be promoted: {fault}"
            )
        return float(done.stdout.split()[-1])

    @contextlib.contextmanager
    def fetch(self, version: Version) -> Iterator[Path]:
        """The folder of a version's bundle, verified; a remote one is downloaded and removed afterwards.

        Raises `Unreadable` where it is absent, damaged, or not the bundle that the version's tag names.
        """
        from mlflow.exceptions import MlflowException

        what = f"{version.name} version {version.number}"
        with contextlib.ExitStack() as stack:
            try:
                folder = self._place(version, stack)
                verify(folder)
                found = manifest_hash(folder)
            except (MlflowException, OSError, DamagedBundle, ValueError, KeyError) as error:
                raise Unreadable(f"{what} can't be read: {error}") from error
            if found != version.manifest:
                raise Unreadable(f"{what} holds bundle {found[:12]}, not {version.manifest[:12]}")
            yield folder

    def _location(self, version: Version) -> str:
        """The address of the folder that MLflow keeps a version in."""
        uri = self.api.get_model_version_download_uri(version.name, version.number)
        if uri.startswith("models:/"):
            uri = self.api.get_logged_model(uri.removeprefix("models:/")).artifact_location
        return uri

    def _place(self, version: Version, stack: contextlib.ExitStack) -> Path:
        """A folder of this machine that holds the version's bundle."""
        uri = self._location(version)
        parts = urlparse(uri)
        if parts.scheme in ("", "file"):
            home = Path(url2pathname(parts.path))
        else:
            import mlflow.artifacts

            aside = stack.enter_context(tempfile.TemporaryDirectory())
            home = Path(
                mlflow.artifacts.download_artifacts(
                    artifact_uri=uri, dst_path=aside, tracking_uri=self.uri
                )
            )
        found = sorted(home.glob("data/*/manifest.json"))
        if len(found) != 1:
            raise FileNotFoundError(f"{home} holds {len(found)} bundles, one was expected")
        return found[0].parent

    def champions(self) -> list[Standing]:
        """How every registered model of ours stands, by name."""
        return [
            Standing(registered_name(one), self.aliases(one), len(self.versions(one)))
            for one in self._capabilities()
        ]

    def _capabilities(self) -> list[str]:
        """All that have a registered model, by name."""
        with self._reach():
            found = self.api.search_registered_models(f"name LIKE '{PREFIX}%'")
        return sorted(model.name.removeprefix(PREFIX) for model in found)

    @contextlib.contextmanager
    def _globally(self) -> Iterator[None]:
        """Have the parts of MLflow that ask for a global address ask this registry; put back what was there."""
        import mlflow

        before = os.environ.get("MLFLOW_TRACKING_URI")
        mlflow.set_tracking_uri(self.uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(None)  # type: ignore[arg-type] # None forgets it
            if before:
                os.environ["MLFLOW_TRACKING_URI"] = before

    @contextlib.contextmanager
    def _reach(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            raise MissingResource(
                f"the registry at {self.uri} is away or refuses: {error}. Nothing was promoted by this; start "
                "again when it answers"
            ) from error


def read_example(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The input and the output that `evaluate` kept."""
    asked, answered = (
        pd.DataFrame(pq.read_table(folder / f"{name}.parquet").to_pydict())
        for name in ("input", "output")
    )
    return asked, answered


@contextlib.contextmanager
def champion_bundle(root: Path, receipt: Path) -> Iterator[Path]:
    """The folder of the bundle that a receipt names as champion, found by its manifest hash.

    Raises `BadData` for a receipt that can't be read, `NoChampion` where it names none, `MissingResource` where the
    registry does not hold it.
    """
    try:
        note = json.loads(receipt.read_text(encoding="utf-8"))
        capability, manifest = note["capability"], note["champion"]
    except (ValueError, KeyError) as error:
        raise BadData(f"{receipt} is no receipt ({error!r}): run `dvc repro promote`") from None
    if manifest is None:
        raise NoChampion(
            f"{capability} has no champion: `python -m pipelines.journal show {capability}` says why; "
            f"`python -m pipelines.verdict approve {capability}` makes its challenger one"
        )
    registry = Registry(State(root))
    version = registry.by_manifest(capability, manifest)
    if version is None:
        raise MissingResource(
            f"the registry at {registry.uri} does not hold bundle {manifest[:12]} of {capability}, which "
            f"{receipt} names: run `dvc repro promote@{capability}`"
        )
    with registry.fetch(version) as folder:
        yield folder


@contextlib.contextmanager
def _taken_as_pinned() -> Iterator[None]:
    """Keep MLflow from comparing the packages of a model with all that are installed: it takes seconds for each model.

    They are pinned from what is installed a moment before, so that nothing could differ. MLflow has no setting for it.
    """
    from mlflow.utils import environment

    name = "warn_dependency_requirement_mismatches"
    compare = getattr(environment, name)
    setattr(environment, name, lambda requirements: None)
    try:
        yield
    finally:
        setattr(environment, name, compare)


def _version(found: Any) -> Version:
    tags = dict(found.tags)
    return Version(found.name, str(found.version), tags.get(MANIFEST, ""), tags)

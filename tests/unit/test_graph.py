"""The graph as we read it, and the rules that the project's own graph keeps."""

import ast
import functools
from pathlib import Path

import pytest
import yaml

from docs.parameters import kinds
from pipelines.benchmark import verbs
from pipelines.harness.graph import Graph, read_graph
from pipelines.harness.params import TOP_LEVEL
from pipelines.services.stack import DAILY
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def graph() -> Graph:
    return read_graph(REPOSITORY)


def test_foreach_and_references_are_expanded(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("profile: small\nprofiles: {small: {a: 1}}\n")
    (tmp_path / "dvc.yaml").write_text(
        """
stages:
  make: {cmd: make, outs: [data/make/x: {cache: false}], desc: d}
  use:
    foreach: {one: {from: make}, two: {from: other}}
    do:
      cmd: use ${key}
      deps: ["data/${item.from}"]
      params: ["profiles.${profile}.a"]
      outs: ["data/use/${key}"]
"""
    )
    graph = read_graph(tmp_path)
    assert list(graph.nodes) == ["make", "use@one", "use@two"]
    assert graph.nodes["use@one"].cmd == "use one"
    assert graph.nodes["use@two"].params == ("profiles.small.a",)
    assert graph.edges() == [("make", "use@one")]
    assert graph.upstream("use@one") == {"make"}


def test_every_stage_is_described_and_bounded(graph: Graph) -> None:
    for node in graph.nodes.values():
        assert node.desc, node.name
        assert set(node.meta) >= {"dag", "group", "retries", "timeout"}, node.name


def test_every_stage_writes_its_own_folder(graph: Graph) -> None:
    for node in graph.nodes.values():
        folder = "data/" + node.name.replace("@", "/") + "/"
        assert all(out.startswith(folder) for out in node.outs), node.name


def test_every_section_of_the_parameters_belongs_to_a_stage_or_a_verb(graph: Graph) -> None:
    document = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    named = {param.split(".")[-1] for node in graph.nodes.values() for param in node.params}
    named |= {f"door-{verb}" for verb in verbs()} | set(DAILY)
    assert set(document) - TOP_LEVEL <= named
    for profile in document["profiles"].values():
        assert set(profile) <= named


def test_every_parameter_that_a_stage_names_is_there(graph: Graph) -> None:
    document = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    missing = []
    for node in graph.nodes.values():
        for param in node.params:
            found = document
            for key in param.split("."):
                found = found.get(key) if isinstance(found, dict) else None
            missing += [f"{node.name}: {param}"] if found is None else []
    assert not missing


def test_dvc_knows_which_stages_follow_the_choice_of_devices(graph: Graph) -> None:
    """Else another choice would not train anew."""
    known = kinds(REPOSITORY)
    for node in graph.nodes.values():
        words = node.cmd.split()
        section = words[words.index("-m") + 1].rpartition(".")[2].replace("_", "-")
        typed = section in known and "devices" in known[section].fields
        assert typed == ("devices" in node.params), node.name


def test_profiles_have_the_same_keys() -> None:
    profiles = yaml.safe_load((REPOSITORY / "params.yaml").read_text())["profiles"]
    shapes = {
        name: {section: sorted(values or {}) for section, values in profile.items()}
        for name, profile in profiles.items()
    }
    first = next(iter(shapes.values()))
    assert all(shape == first for shape in shapes.values())


@functools.cache
def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports anywhere in it, as paths."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] not in ("pipelines", "models"):
                continue
            base = REPOSITORY.joinpath(*name.split("."))
            packages = [parent / "__init__.py" for parent in (base, *base.parents)]
            for candidate in (base.with_suffix(".py"), *packages):
                if candidate.is_file() and candidate.is_relative_to(REPOSITORY):
                    found.add(candidate.relative_to(REPOSITORY).as_posix())
    return found


MODELS = sorted(
    path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "models").rglob("*.py")
)


def bare(path: Path) -> bool:
    """Whether a module is a folder's first line alone, of which nothing can come out otherwise."""
    body = ast.parse(path.read_text("utf-8")).body
    return path.name == "__init__.py" and all(isinstance(node, ast.Expr) for node in body)


def test_deps_name_every_module_that_a_stage_imports(graph: Graph) -> None:
    faults = []
    for node in graph.nodes.values():
        words = node.cmd.split()
        waiting = [words[words.index("-m") + 1].replace(".", "/") + ".py"]
        if node.reads("models/kinds.py"):
            # A model is loaded by its kind: which of the modules that are named run is open until then.
            waiting += [path for path in MODELS if node.reads(path)]
        seen: set[str] = set()
        while waiting:
            path = waiting.pop()
            if path in seen:
                continue
            seen.add(path)
            waiting.extend(imported(REPOSITORY / path))
        faults += [
            f"{node.name}: {path}"
            for path in sorted(seen)
            if not node.reads(path) and not bare(REPOSITORY / path)
        ]
    assert not faults


def test_what_works_on_state_is_never_taken_from_an_earlier_run(graph: Graph) -> None:
    """DVC hands out the outputs of an earlier run of equal inputs; the journal and the archive it does not know."""
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text("utf-8"))["stages"]
    state = ("pipelines/promotion/journal_stores.py", "pipelines/lists/archive.py")
    named = {name for name, node in graph.nodes.items() if any(map(node.reads, state))}
    assert {"deliver", "report"} <= named
    for name in named:
        stage = stages[name] if name in stages else stages[name.partition("@")[0]]["do"]
        kept = [out for out in stage["outs"] if isinstance(out, dict) and "persist" in str(out)]
        assert kept or stage.get("always_changed"), f"{name}: an earlier run could stand for it"

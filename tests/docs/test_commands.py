"""Every command, file and link that the documentation shows is there and takes what is shown."""

import argparse
import importlib.util
import io
import os
import re
import runpy
import subprocess
import sys
from contextlib import redirect_stderr
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import pytest

from pipelines.capabilities import MODULES as CAPABILITIES
from pipelines.harness.graph import Graph, read_graph
from tests.conftest import REPOSITORY
from tests.docs.pages import LINK, SPAN, commands, pages, prose

SHELL = {
    *(".", "apt-get", "cd", "cp", "curl", "docker", "export", "git"),
    *("pip", "pre-commit", "printf", "rm", "tar", "uv"),
}
"""Words of the shell and of tools that are not ours: not tried."""
OURS = re.compile(
    r"(?:docs|pipelines|models|dags|tests|benchmarks|docker|\.ci|\.github)/[\w./-]*|"
    r"(?:README|CONTRIBUTING|CHANGELOG)\.md|(?:dvc|params|mkdocs)\.yaml|mkdocs\.yml|Makefile|pyproject\.toml"
)
DAGS = REPOSITORY / "dags"
COMMANDS = sorted(
    {
        (page.relative_to(REPOSITORY).as_posix(), words)
        for page in pages()
        for words in commands(page.read_text("utf-8"))
    }
)


class Parsed(BaseException):
    """The command line was understood."""


@cache
def graph() -> Graph:
    return read_graph(REPOSITORY)


def test_the_pages_have_commands() -> None:
    assert len(COMMANDS) > 50
    assert {words[0] for _, words in COMMANDS} >= {"make", "python", "dvc"}


def test_every_target_of_make_is_there() -> None:
    for page, words in COMMANDS:
        if words[0] == "make":
            done = subprocess.run(
                ["make", "-n", *words[1:]], cwd=REPOSITORY, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{page}: {' '.join(words)}: {done.stderr}"


@pytest.mark.parametrize(
    ("page", "words"),
    [(page, words) for page, words in COMMANDS if words[0] != "make"],
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[:80],
)
def test_every_command_is_understood(
    page: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    match words:
        case ("python", "-c", code):
            compile(code, page, "exec")
        case ("python" | "python3", "-m", module, *rest):
            understood(module, rest, monkeypatch)
        case ("dvc", *rest):
            from dvc.cli.parser import get_main_parser

            given = get_main_parser().parse_args(rest)
            for name in getattr(given, "targets", None) or []:
                assert name in graph().nodes, f"dvc.yaml has no stage {name}"
        case ("airflow", *rest):
            schedules = "".join(path.read_text("utf-8") for path in DAGS.glob("*.py"))
            names = [after for flag, after in pairwise(rest) if flag == "--dag-id"]
            assert all(f'"{name}"' in schedules for name in names), f"no DAG is called {names}"
        case (first, *_):
            known = first in SHELL or os.access(REPOSITORY / first, os.X_OK)
            assert known, f"{page} shows {' '.join(words)}, which no test understands"


def understood(module: str, rest: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a module is not there or does not take these words; nothing of it is run."""
    found = importlib.util.find_spec(module)
    assert found is not None, f"there is no module {module}"
    if not module.startswith(("pipelines.", "benchmarks.", "docs.", "dags.")):
        return
    text = Path(str(found.origin)).read_text("utf-8")
    assert '__name__ == "__main__"' in text, f"{module} is no command"
    if "ArgumentParser" in text:
        with redirect_stderr(io.StringIO()) as said:
            code = parsed(module, rest, monkeypatch)
        assert code in (None, 0), said.getvalue()
    elif "\n@stage\n" in text:
        names = graph().nodes
        stage = module.rpartition(".")[2].replace("_", "-")
        wanted = {f"{stage}{sign}{word}" for word in rest for sign in "@-"} or {stage}
        assert wanted & set(names), f"dvc.yaml runs no {module} {' '.join(rest)}"
    else:
        for word in rest:
            known = f'"{word}"' in text or word in CAPABILITIES or not word.islower()
            assert known, f"{module} does not know {word}"


def parsed(module: str, rest: list[str], monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """The status with which a command ends once it has parsed its words; 0 where it took them."""
    real = argparse.ArgumentParser.parse_args

    def parse(self: argparse.ArgumentParser, *given: object, **more: object) -> NoReturn:
        real(self, *given, **more)
        raise Parsed

    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.setattr(sys, "argv", [module, *rest])
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except Parsed:
        return 0
    except SystemExit as end:
        return end.code
    raise AssertionError(f"{module} never looked at its words")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_every_file_and_link_is_there(page: Path) -> None:
    text = prose(page.read_text("utf-8"))
    for name in LINK.findall(text):
        # The pages that the build writes have no file; the build itself refuses a dead link.
        if "://" not in name and page.parent == REPOSITORY:
            assert (page.parent / name).exists(), f"{page.name} links to {name}"
    for span in SPAN.findall(text):
        if OURS.fullmatch(span):
            assert (REPOSITORY / span).exists(), f"{page.name} names {span}"
        if re.fullmatch(r"data/[\w@/.-]+", span):
            path = span.rstrip("/")
            outs = [out for node in graph().nodes.values() for out in node.outs]
            assert path == "data" or any(
                f"{out}/".startswith(f"{path}/") or f"{path}/".startswith(f"{out}/") for out in outs
            ), f"{page.name} names {span}, which no stage writes"

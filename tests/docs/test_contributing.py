"""The worked examples of CONTRIBUTING.md, followed word by word in a copy of the project."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.data.shops import Shop, make_shop, tables
from tests.docs.pages import Block, blocks, shell

SECTIONS = ("Add a stage", "Add a source", "Add a model")


def section(title: str) -> list[Block]:
    """The blocks below one heading of the page."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")
    return blocks(text.split(f"\n## {title}\n")[1].split("\n## ")[0])


class Copy:
    """A copy of the project with no data, changed and run as the page says."""

    def __init__(self, shop: Shop, warm: Path) -> None:
        self.shop, self.root, self.warm = shop, shop.root, warm
        for folder in ("models", "pipelines"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / folder, self.root / folder, ignore=ignored)
        text = (REPOSITORY / "params.yaml").read_text("utf-8")
        lines = (
            "profile: tiny" if one.startswith("profile:") else one for one in text.splitlines()
        )
        (self.root / "params.yaml").write_text("\n".join(lines) + "\n")

    def follow(self, title: str) -> None:
        """Do what each block of a section says; its commands must succeed."""
        for block in section(title):
            path = self.root / block.title
            if block.title == "run":
                for words in shell(block.text):
                    self.run(words)
            elif block.language == "python":
                assert not path.exists()
                path.write_text(block.text)
            elif block.language == "diff":
                patch(path, block.text)
            elif block.title == "dvc.yaml":
                path.write_text(path.read_text() + "\n" + block.text)
            elif block.title == "params.yaml":
                text = path.read_text()
                assert text.count("\nprofiles:\n") == 1
                path.write_text(text.replace("\nprofiles:\n", f"\n{block.text}\nprofiles:\n"))
            else:
                raise AssertionError(f"what is to be done with {block}?")

    def run(self, words: tuple[str, ...]) -> None:
        path = os.pathsep.join(
            [str(self.warm), str(Path(sys.executable).parent), os.environ["PATH"]]
        )
        done = subprocess.run(
            words,
            cwd=self.root,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(self.root)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"


def patch(path: Path, text: str) -> None:
    """Replace what the lines with `-` say by what those with `+` say; the old words must be there once."""
    old, new = (
        "\n".join(line[1:] for line in text.splitlines() if line.startswith(sign)) for sign in "-+"
    )
    content = path.read_text()
    assert content.count(old) == 1, f"{path.name} has {content.count(old)} times: {old}"
    path.write_text(content.replace(old, new))


@pytest.fixture
def copy(tmp_path: Path, migrated_database: Path, warm_python: Path) -> Copy:
    return Copy(make_shop(tmp_path / "shop", migrated_database), warm_python)


def test_every_example_is_followed() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")
    titled = [block for block in blocks(text) if block.title]
    assert titled == [block for title in SECTIONS for block in section(title)]


def test_add_a_stage(copy: Copy) -> None:
    events = tables()["interactions"]
    copy.shop.validated("interactions", events)
    copy.follow("Add a stage")
    found = copy.shop.read("item-sales/items.parquet").to_pydict()
    newest = max(events["timestamp"].to_pylist())
    recent = [
        item
        for item, time in zip(
            events["item_id"].to_pylist(), events["timestamp"].to_pylist(), strict=True
        )
        if (newest - time).days < 28
    ]
    assert found["item_id"] == sorted(set(recent))
    assert found["count_all"] == [recent.count(item) for item in found["item_id"]]
    stage = yaml.safe_load((copy.root / "dvc.yaml").read_text())["stages"]["item-sales"]
    assert stage["meta"]["dag"] == "train"


def test_add_a_source(copy: Copy) -> None:
    (copy.root / "reviews.txt").write_text("5 Fits well.\n1 Broke at once.\n3 It is a hat.\n")
    copy.follow("Add a source")
    table = copy.shop.read("ingest-reviews/reviews.parquet")
    assert table["label"].to_pylist() == ["positive", "negative", "neutral"]
    assert table["text"].to_pylist() == ["Fits well.", "Broke at once.", "It is a hat."]
    assert table.schema.metadata[b"vitrine.source"] == b"reviews.txt"


def test_add_a_model(copy: Copy) -> None:
    events = pa.table(
        {
            "user": [f"u{at % 12}" for at in range(120)],
            "item": [f"i{(at // 12 + at % 12) % 20}" for at in range(120)],
            "ts": [1_700_000_000 + 86_400 * at for at in range(120)],
        }
    )
    pq.write_table(events, copy.root / "events.parquet")
    copy.follow("Add a model")
    lists = pq.read_table(copy.root / "lists.parquet").to_pylist()
    assert {row["user"] for row in lists} == set(events["user"].to_pylist())
    assert all(row["rank"] <= 3 for row in lists)

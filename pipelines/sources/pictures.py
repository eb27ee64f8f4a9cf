"""Pictures from folders and archives, as rows: nothing of an archive is ever unpacked to the disk.

An archive's names are never used as paths, so that none can lead elsewhere; one that tries is refused all the same.
What unpacks to far more than it is packed in is refused before it is read.
"""

import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import pyarrow as pa

from pipelines import engine
from pipelines.harness import BadData
from pipelines.sources.shop import Part

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
ARCHIVES = (".zip", ".tar", ".tgz", ".gz")
LABEL = ".cls"
"""What names a picture's class in a WebDataset shard."""
MAX_BYTES = 64 << 20
"""Of one picture."""
MAX_RATIO = 200
"""How many times its packed size an archive may unpack to; pictures hardly pack at all."""
BATCH_BYTES = 32 << 20
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("stem", pa.string()),
        ("folder", pa.string()),
        ("cls", pa.string()),
        ("bytes", pa.binary()),
    ]
)


@dataclass(frozen=True)
class Picture:
    """path: inside its archive or folder. label: what a `.cls` file beside it says, or None."""

    path: str
    data: bytes
    label: str | None = None


def as_parquet(found: list[Path], part: Part, root: Path, target: Path) -> Path:
    """Write the pictures of archives (or of files below folders) as rows of `SCHEMA`, a few megabytes at a time.

    stem: the name without its suffix. folder: the name of the folder that it lies in, often its class. Raises
    `BadData` for an archive that is damaged, a name that leads out of it, and one that unpacks to too much.
    """
    pictures: Iterator[Picture]
    if part.format == "archive":
        pictures = (picture for path in found for picture in inside(path))
    else:
        pictures = from_files([path for path in found if path.suffix.lower() in PICTURES])
    engine.write_batches(_batches(pictures), SCHEMA, target, batch_rows=500)
    return target


def from_files(paths: list[Path]) -> Iterator[Picture]:
    """Plain files. Raises `BadData` for one above `MAX_BYTES`."""
    for path in paths:
        if path.stat().st_size > MAX_BYTES:
            raise BadData(f"{path} has more than {MAX_BYTES:,} bytes: make the picture smaller")
        yield Picture(path.as_posix(), path.read_bytes())


def inside(path: Path) -> Iterator[Picture]:
    """The pictures of one archive, in its order, each with the class that a `.cls` file of its name tells."""
    members = from_zip(path) if zipfile.is_zipfile(path) else from_tar(path)
    waiting: list[Picture] = []
    labels: dict[str, str] = {}
    # Files of one sample lie side by side in a shard: pictures wait until another name begins.
    for name, data in members:
        key = name.rpartition(".")[0]
        if waiting and waiting[0].path.rpartition(".")[0] != key:
            yield from _labelled(waiting, labels)
            waiting, labels = [], {}
        if name.lower().endswith(LABEL):
            labels[key] = data.decode("utf-8", errors="replace").strip()
        else:
            waiting.append(Picture(name, data))
    yield from _labelled(waiting, labels)


def _labelled(waiting: list[Picture], labels: dict[str, str]) -> Iterator[Picture]:
    for picture in waiting:
        label = labels.get(picture.path.rpartition(".")[0])
        yield Picture(picture.path, picture.data, label)


def wanted(archive: Path, name: str) -> bool:
    """Whether a member is a picture or a class. Raises `BadData` for a name that leads out of the archive."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0][:2]:
        raise BadData(
            f"{archive}: the member {name!r} leads out of the archive: such an archive is not trusted; make it anew"
        )
    hidden = path.name.startswith(".") or "__MACOSX" in path.parts
    return not hidden and path.suffix.lower() in (*PICTURES, LABEL)


def from_zip(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each picture and class of a zip file."""
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.is_dir() or not wanted(path, info.filename):
                    continue
                if info.file_size > MAX_RATIO * max(info.compress_size, 1024):
                    raise _bomb(path, info.filename)
                with archive.open(info) as stream:
                    yield info.filename, _bounded(stream, path, info.filename)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise BadData(f"{path} is no readable zip file: {error}. Pack it again") from None


def from_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each picture and class of a tar file, packed or not; links and devices are none."""
    most = MAX_RATIO * max(path.stat().st_size, 1 << 20)
    try:
        with tarfile.open(path, "r|*") as archive:
            for entry in archive:
                if entry.offset_data + entry.size > most:
                    raise _bomb(path, entry.name)
                if not entry.isreg() or not wanted(path, entry.name):
                    continue
                stream = archive.extractfile(entry)
                assert stream is not None
                yield entry.name, _bounded(stream, path, entry.name)
                archive.members = []  # type: ignore[attr-defined]  # else it keeps a note of each
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadData(f"{path} is no readable tar file: {error}. Pack it again") from None


def _bounded(stream: IO[bytes], archive: Path, name: str) -> bytes:
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _bomb(archive, name)
    return data


def _bomb(archive: Path, name: str) -> BadData:
    return BadData(
        f"{archive}: {name!r} unpacks to more than {MAX_BYTES:,} bytes, or to more than {MAX_RATIO} times what it is "
        "packed in: no picture does; take it out"
    )


def _batches(pictures: Iterator[Picture]) -> Iterator[pa.RecordBatch]:
    rows: list[dict[str, object]] = []
    size = 0
    for picture in pictures:
        path = PurePosixPath(picture.path)
        rows.append(
            {
                "path": picture.path,
                "stem": path.name.rpartition(".")[0],
                "folder": path.parent.name,
                "cls": picture.label,
                "bytes": picture.data,
            }
        )
        size += len(picture.data)
        if size >= BATCH_BYTES:
            yield pa.RecordBatch.from_pylist(rows, SCHEMA)
            rows, size = [], 0
    if rows:
        yield pa.RecordBatch.from_pylist(rows, SCHEMA)

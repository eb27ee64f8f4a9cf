"""Files as they are found: globs, compression, byte order marks and encodings."""

import codecs
import csv
import glob
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa

from pipelines.harness import BadConfig, BadData, MissingResource

BLOCK = 1 << 20
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
GLOB = "*?["


def find(root: Path, patterns: list[str], suffixes: tuple[str, ...] = ()) -> list[Path]:
    """The files that paths, folders or globs name, in order; of folders those with one of `suffixes`, at any depth.

    Hidden files, and those of a job's bookkeeping (`_SUCCESS`), are none. Raises `MissingResource` where a pattern
    finds nothing.
    """
    found: list[Path] = []
    for pattern in patterns:
        place = root / pattern
        if place.is_dir():
            names = [path for path in place.rglob("*") if path.is_file()]
            names = [path for path in names if not suffixes or kind(path) in suffixes]
        elif any(letter in pattern for letter in GLOB):
            names = [Path(name) for name in glob.glob(str(place), recursive=True)]
            names = [path for path in names if path.is_file()]
        else:
            names = [place] if place.is_file() else []
        names = sorted(path for path in names if not path.name.startswith((".", "_")))
        if not names:
            raise MissingResource(f"no file at {place}: bring it, or correct shop in params.yaml")
        found += names
    return list(dict.fromkeys(found))


def kind(path: Path) -> str:
    """The suffix that tells what a file is, that of its compression taken away.

    >>> kind(Path("a/part-0.csv.gz")), kind(Path("b.JSONL"))
    ('.csv', '.jsonl')
    """
    suffix = path.suffix.lower()
    if suffix in (".gz", ".zst", ".bz2"):
        suffix = Path(path.stem).suffix.lower()
    return suffix


def watched(pattern: str) -> str:
    """What DVC watches for a path or glob: the path, or the folder above a glob's first wild part.

    >>> watched("/data/shop/*/orders-*.csv"), watched("/data/orders.csv")
    ('/data/shop', '/data/orders.csv')
    """
    if not any(letter in pattern for letter in GLOB):
        return pattern.rstrip("/")
    kept = []
    for part in pattern.split("/"):
        if any(letter in part for letter in GLOB):
            break
        kept.append(part)
    return "/".join(kept) or "."


def open_bytes(path: Path) -> IO[bytes]:
    """A file as a stream of bytes, unpacked where its suffix tells of gzip, zstd or bzip2."""
    stream: IO[bytes] = pa.input_stream(str(path), compression="detect", buffer_size=BLOCK)
    return stream


def encoding_of(path: Path, declared: str) -> str:
    """The encoding of a text file: what its byte order mark says, else what was declared."""
    with open_bytes(path) as stream:
        head = stream.read(4)
    for mark, name in MARKS:
        if head.startswith(mark):
            return name
    try:
        codecs.lookup(declared)
    except LookupError:
        raise BadConfig(f"{path}: encoding {declared!r} is none that Python knows") from None
    return declared


def decoded(path: Path, encoding: str) -> Iterator[str]:
    """The text of a file in blocks. Raises `BadData` naming the line at which it is not in this encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 1
    with open_bytes(path) as stream:
        while True:
            block = stream.read(BLOCK)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                good = error.object[: error.start].decode(encoding, errors="ignore")
                raise BadData(
                    f"{path}, line {lines + good.count(chr(10))}: not {encoding}: give shop's `encoding` as the "
                    "file has it (utf-8, utf-16, gb18030, cp1252, …), or export it as UTF-8"
                ) from None
            if text:
                yield text
                lines += text.count("\n")
            if not block:
                return


def lines_of(path: Path, encoding: str) -> Iterator[str]:
    """The lines of a text file, without their ends."""
    rest = ""
    for text in decoded(path, encoding):
        *whole, rest = (rest + text).split("\n")
        for line in whole:
            yield line.removesuffix("\r")
    if rest:
        yield rest.removesuffix("\r")


def as_utf8(path: Path, encoding: str, target: Path) -> Path:
    """The file as UTF-8 without a mark: itself where it is that already, else a copy at `target`."""
    if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig") and path.suffix != ".bz2":
        return path
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", newline="") as file:
        file.writelines(decoded(path, encoding))
    return target


def header(path: Path, encoding: str, delimiter: str, quote: str) -> list[str]:
    """The names in a CSV's first record, as a table can have them: trimmed, and each once.

    A name that comes again gets the number of its turn: `price`, `price_2`. An empty one is `column_N`.
    """
    text = ""
    for block in decoded(path, encoding):
        text += block
        if "\n" in text or len(text) > 4 * BLOCK:
            break
    settings = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    record = next(
        csv.reader(io.StringIO(text.lstrip("\ufeff")), delimiter=delimiter, **settings), None
    )
    if record is None:
        raise BadData(f"{path} is empty: bring a file with a header, or leave it out")
    return unique(record)


def unique(record: list[str]) -> list[str]:
    """Column names made usable.

    >>> unique(["ID", " Price", "price", ""])
    ['ID', 'Price', 'price_2', 'column_4']
    """
    seen: dict[str, int] = {}
    names = []
    for at, cell in enumerate(record, 1):
        name = cell.strip() or f"column_{at}"
        turn = seen[name.lower()] = seen.get(name.lower(), 0) + 1
        names.append(name if turn == 1 else f"{name}_{turn}")
    return names

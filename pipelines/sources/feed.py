"""Google Merchant product feeds in XML (RSS 2.0 and Atom), read as a stream.

Source: Google Merchant Center Help, "Product data specification". Documents that declare a DTD are refused: none of
these needs one, and entities are how XML makes gigabytes of a few bytes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

from pipelines.harness import BadData
from pipelines.sources import files

PRODUCT = ("item", "entry")


class _Reader:
    """Collects the direct children of each product by their names without prefix."""

    def __init__(self, path: Path) -> None:
        self.done: list[dict[str, Any]] = []
        self._path = path
        self._row: dict[str, list[str]] | None = None
        self._text: list[str] = []
        self._depth = 0
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._doctype

    def feed(self, block: bytes) -> None:
        self._parser.Parse(block, not block)

    def _doctype(self, *_: object) -> None:
        raise BadData(f"{self._path} declares a DTD, which no product feed needs: take it out")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(":")[2]
        if self._row is None:
            if local in PRODUCT:
                self._row, self._depth = {}, 0
            return
        self._depth += 1
        if self._depth == 1:
            self._text = []
            if local == "link" and "href" in attributes:
                self._text.append(attributes["href"])

    def _characters(self, text: str) -> None:
        if self._row is not None and self._depth:
            self._text.append(text)

    def _end(self, name: str) -> None:
        if self._row is None:
            return
        local = name.rpartition(":")[2]
        if self._depth == 1:
            text = "".join(self._text).strip()
            if text:
                self._row.setdefault(local, []).append(text)
        elif self._depth == 0:
            self.done.append(
                {key: found[0] if len(found) == 1 else found for key, found in self._row.items()}
            )
            self._row = None
            return
        self._depth -= 1


def products(path: Path) -> Iterator[dict[str, Any]]:
    """The products of a feed: field (without prefix) to text, or to a list where it comes more than once.

    Raises `BadData` naming the line at which it is no XML.
    """
    reader = _Reader(path)
    with files.open_bytes(path) as stream:
        while True:
            block = stream.read(files.BLOCK)
            try:
                reader.feed(block)
            except expat.ExpatError as error:
                raise BadData(
                    f"{path}, line {error.lineno}: no XML: {error}. Export it again"
                ) from None
            yield from reader.done
            reader.done.clear()
            if not block:
                return

"""Read the text on product pictures.

Reading takes a good part of a second a picture, so that the profile says how many of each part of the split are read
(`pictures`): those whose hash of the bytes is smallest, which is a fair draw that new products hardly change, and that
those of another part never do. Small pictures, on which nobody could read a word, are left out. Pictures that the table
of an earlier run knows, by the hash of their bytes and of the reader, are not read again; the table is byte for byte that
of a run from nothing. A run that was cut off goes on where it stopped.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq
from pydantic import NonNegativeInt

from models.encoders.decoding import Undecodable, dimensions
from models.vision.packs import COARSE, Reader, identity
from pipelines.artefacts.packs import Read, Shown, kept_line, read_kept, read_known, write_texts
from pipelines.artefacts.vectors import content_hash
from pipelines.harness import BadData, Params, Run, stage
from pipelines.harness.unfinished import unfinished
from pipelines.tables import Images, Products

PARTS = ("train", "valid", "test")
SPLIT = "split/attributes"
OUT = "texts.parquet"
BATCH = 64


class PackTextsParams(Params):
    """pictures: how many of each part of the split are read, or all; 0: none.

    smallest: pixels of the longer side below which none is.
    """

    pictures: NonNegativeInt | Literal["all"]
    smallest: int


@stage
def pack_texts(run: Run, params: PackTextsParams) -> None:
    folder = run.input(SPLIT)
    reader = identity(COARSE)
    chosen: list[Shown] = []
    if params.pictures != 0:
        run.advance(0.0, "looking which pictures are large enough")
        for part in PARTS:
            chosen += drawn(folder / f"{part}.parquet", params)
    wanted = {one.content for one in chosen}
    kept = unfinished(run, params)
    known = read_known(run.former(OUT), reader) | read_kept(kept)
    words: dict[str, Read] = {one: known[one] for one in wanted & known.keys()}
    if words:
        run.say(f"{len(words):,} of {len(wanted):,} pictures were read by an earlier run")
    new = wanted - words.keys()
    if new:
        eye = Reader(run.threads, COARSE)
        for shown, data in run.progress(unread(folder, new), "reading packs", len(new)):
            try:
                words[shown.content] = eye.words(data)
            except Undecodable as error:
                raise unreadable(shown, error) from None
            if kept is not None:
                with kept.open("a", encoding="utf-8") as file:
                    file.write(kept_line(shown.content, words[shown.content]))
    write_texts(run.output(OUT), chosen, words, reader)
    if kept is not None:
        kept.unlink(missing_ok=True)
    run.rows_in = run.rows_out = len(chosen)
    run.measure("pictures", len(words))
    run.measure("with_text", sum(bool(text) for text, _ in words.values()))


def drawn(part: Path, params: PackTextsParams) -> list[Shown]:
    """The products of a part of the split whose pictures are read."""
    rows = [shown for shown, data in pictures(part) if large(shown, data, params.smallest)]
    if params.pictures == "all":
        return rows
    wanted = set(sorted({one.content for one in rows})[: params.pictures])
    return [one for one in rows if one.content in wanted]


def pictures(part: Path) -> Iterator[tuple[Shown, bytes]]:
    """All products of a part of the split that have a picture, with its bytes, a block at a time."""
    columns = [Products.ITEM, Images.IMAGE, Images.BYTES]
    for batch in pq.ParquetFile(part).iter_batches(BATCH, columns=columns):
        for item, key, data in zip(*(one.to_pylist() for one in batch.columns), strict=True):
            if data:
                yield Shown(item, key, content_hash(data)), data


def unread(folder: Path, contents: Collection[str]) -> Iterator[tuple[Shown, bytes]]:
    """Each of the pictures `contents` once, with the first product that shows it."""
    left = set(contents)
    for part in PARTS:
        for shown, data in pictures(folder / f"{part}.parquet"):
            if shown.content in left:
                left.remove(shown.content)
                yield shown, data


def large(shown: Shown, data: bytes, smallest: int) -> bool:
    """Whether the longer side has `smallest` pixels or more. Raises `BadData` where it can't be told."""
    try:
        return max(dimensions(data)) >= smallest
    except Undecodable as error:
        raise unreadable(shown, error) from None


def unreadable(shown: Shown, error: Undecodable) -> BadData:
    """What ends the stage where a picture can't be read."""
    return BadData(
        f"data/{SPLIT}, item_id {shown.item}, image_key {shown.key}, column bytes: {error}. Take the picture out of the source"
    )


if __name__ == "__main__":
    pack_texts.main()

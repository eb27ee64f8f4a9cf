"""Pictures as one array, which may be larger than memory, and how large they usually are."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from models.encoders.decoding import Undecodable, decode, dimensions
from pipelines.tables import Images

BLOCK = 64
SAMPLE = 64
"""Pictures that tell how large pictures usually are."""


def usual_side(pictures: Iterable[bytes]) -> int:
    """The median of the longer sides of pictures, in pixels; 0 where none can be opened."""
    sides = []
    for content in pictures:
        try:
            sides.append(max(dimensions(content)))
        except Undecodable:
            continue
    return int(np.median(sides)) if sides else 0


def sample(part: Path) -> list[bytes]:
    """Pictures of a part of the split, evenly chosen among its rows."""
    file = pq.ParquetFile(part)
    wanted = np.unique(np.linspace(0, max(file.metadata.num_rows - 1, 0), SAMPLE).astype(int))
    found: list[bytes] = []
    start = 0
    for batch in file.iter_batches(BLOCK, columns=[Images.BYTES]):
        inside = wanted[(wanted >= start) & (wanted < start + len(batch))] - start
        found += [cell for cell in batch.column(0).take(inside).to_pylist() if cell]
        start += len(batch)
    return found


def gathered(part: Path, size: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The pictures (p, size, size, 3) uint8 of a part of the split, and the rows that have one (p,).

    They lie in a file of `folder`, mapped into memory. Raises `Undecodable` for one that can't be read.
    """
    file = pq.ParquetFile(part)
    shape = (max(file.metadata.num_rows, 1), size, size, 3)
    kept = np.memmap(folder / f"{part.stem}-{size}.uint8", np.uint8, "w+", shape=shape)
    rows: list[int] = []
    start = 0
    for batch in file.iter_batches(BLOCK, columns=[Images.BYTES]):
        for at, cell in enumerate(batch.column(0).to_pylist()):
            if cell:
                kept[len(rows)] = decode(cell, size)
                rows.append(start + at)
        start += len(batch)
    return kept[: len(rows)], np.array(rows, np.int64)

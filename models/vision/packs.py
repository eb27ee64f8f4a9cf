"""Text on packs: found, read and put in reading order.

The networks are those of PP-OCR as `rapidocr` packs them. Source: Du et al. (2020), PP-OCR: a practical ultra
lightweight OCR system.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.encoders import decoding
from models.encoders.decoding import decode_whole

LEAST, MOST = 512, 1600
"""Pixels of the longer side: smaller pictures are enlarged, for the detector misses small letters."""
FINE, COARSE = 736, 512
"""Pixels of the shorter side from which the detector looks at a picture as it is; what is smaller is enlarged once more.

Coarse reading of small pictures takes half the time of fine reading.
"""
SURE = 0.5
"""Lines that are read with less confidence are left out."""
SAME_LINE = 0.5
"""Boxes stand on one line where their middles differ by less than this share of their height."""


@dataclass(frozen=True)
class Line:
    """One box of text. left, top, height: in pixels. confidence: 0 to 1."""

    text: str
    left: float
    top: float
    height: float
    confidence: float

    @property
    def middle(self) -> float:
        """Pixels from the top."""
        return self.top + self.height / 2


class Words(NamedTuple):
    """The text of one picture in reading order, empty where there is none, and how surely it was read: 0 to 1."""

    text: str
    confidence: float

    @classmethod
    def of(cls, lines: Sequence[Line]) -> "Words":
        """All lines as one; the confidence is the mean over their characters.

        >>> Words.of([Line("abc", 0, 0, 9, 1.0), Line("d", 0, 9, 9, 0.6)])
        Words(text='abc d', confidence=0.9)
        """
        letters = sum(len(line.text) for line in lines)
        sure = sum(len(line.text) * line.confidence for line in lines) / max(letters, 1)
        return cls(" ".join(line.text for line in lines), round(sure, 6))


def identity(side: int) -> str:
    """A hash of everything that decides what a reader with this `side` reads: the networks come with their package."""
    digest = hashlib.sha256(f"{version('rapidocr')} {side}".encode())
    for path in (__file__, decoding.__file__):
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


class Reader:
    """Reads pictures; one at a time, in bounded memory. side: `FINE`, `COARSE` or another number of pixels."""

    def __init__(self, threads: int, side: int = FINE) -> None:
        from rapidocr import RapidOCR

        # What it gives goes by what it is asked; its types name all of that at once.
        self._engine: Any = RapidOCR(
            params={
                "Global.log_level": "error",
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                "Det.limit_type": "min",
                "Det.limit_side_len": side,
            }
        )

    def words(self, data: bytes) -> Words:
        """The text of one picture. Raises `Undecodable`."""
        return Words.of(self.lines(data))

    def lines(self, data: bytes) -> list[Line]:
        """The lines of one picture in reading order. Raises `Undecodable`."""
        picture = decode_whole(data, LEAST, MOST)
        found = self._engine(np.ascontiguousarray(picture[:, :, ::-1]))
        if found.boxes is None:
            return []
        return in_order(
            [
                Line(text, *_place(np.asarray(box)), float(sure))
                for box, text, sure in zip(found.boxes, found.txts, found.scores, strict=True)
                if sure >= SURE and text.strip()
            ]
        )


def _place(box: np.ndarray) -> tuple[float, float, float]:
    """Left, top and height of four corners (4, 2)."""
    return float(box[:, 0].min()), float(box[:, 1].min()), float(np.ptp(box[:, 1]))


def in_order(lines: Sequence[Line]) -> list[Line]:
    """From top to bottom, and from left to right on one line.

    >>> rows = [Line("b", 50, 2, 10, 1.0), Line("c", 0, 30, 10, 1.0), Line("a", 0, 0, 10, 1.0)]
    >>> "".join(line.text for line in in_order(rows))
    'abc'
    """
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda one: (one.middle, one.left)):
        last = rows[-1] if rows else []
        if last:
            height = min(line.height, min(one.height for one in last))
            if abs(line.middle - last[0].middle) < SAME_LINE * height:
                last.append(line)
                continue
        rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda one: one.left)]

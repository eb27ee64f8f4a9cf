"""Sentences in which people marked names with what is thought of them."""

import re
from dataclasses import dataclass

MARK = re.compile(r"\{([^{}|]+)\|([+-])\}")


@dataclass(frozen=True)
class Marked:
    """A sentence. names: (start, end, whether it is praised) of each marked name, in order."""

    text: str
    names: tuple[tuple[int, int, bool], ...]


def read_marked(line: str) -> Marked:
    """The sentence of a line with its marks. Raises `ValueError` for a brace that belongs to no mark.

    >>> read_marked("the {screen|+} is fine, the {battery life|-} is not")
    Marked(text='the screen is fine, the battery life is not', names=((4, 10, True), (24, 36, False)))
    """
    text, names, at = "", [], 0
    for mark in MARK.finditer(line):
        text += line[at : mark.start()]
        names.append((len(text), len(text) + len(mark[1]), mark[2] == "+"))
        text += mark[1]
        at = mark.end()
    text += line[at:]
    if "{" in text or "}" in text:
        raise ValueError(f"{line!r}: a mark is {{name|+}} or {{name|-}}")
    return Marked(text, tuple(names))

"""Sentences in which people marked names with what is thought of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TOGETHER = (1, 1, 1, 2, 3)
"""How many sentences are joined, each as often."""
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


def sided(sentences: Sequence[Marked]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Of each of n marked names its sentence, its place (n, 2) there, and 1 where it is praised, else 0 (n,).

    >>> texts, spans, praised = sided([read_marked("{it|+} beats {that|-}")])
    >>> texts, spans.tolist(), praised.tolist()
    (['it beats that', 'it beats that'], [[0, 2], [9, 13]], [1, 0])
    """
    names = [(one.text, *name) for one in sentences for name in one.names]
    spans = np.asarray([name[1:3] for name in names], dtype=np.int64).reshape(-1, 2)
    return [name[0] for name in names], spans, np.asarray([name[3] for name in names], np.int64)


def joined(sentences: Sequence[Marked], spaced: bool, seed: int) -> list[Marked]:
    """All of `sentences` in an order of their own, one to three of them as one: buyers say more at a time than is marked.

    spaced: whether spaces set words apart.

    >>> [one.text for one in joined([read_marked("{it|+} is ok."), read_marked("so is {that|-}.")], True, 0)]
    ['it is ok, so is that.']
    """
    rng = np.random.default_rng(seed)
    left = [sentences[at] for at in rng.permutation(len(sentences))]
    found = []
    while left:
        count = int(rng.choice(TOGETHER))
        text, names = "", []
        for one in left[:count]:
            if text:
                text = re.sub(r"[.。]$|(?<=\w)$", "," if spaced else "，", text) + " " * spaced
            names += [(len(text) + start, len(text) + end, side) for start, end, side in one.names]
            text += one.text
        found.append(Marked(text, tuple(names)))
        del left[:count]
    return found

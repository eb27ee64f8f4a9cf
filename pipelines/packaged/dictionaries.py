"""Dictionaries of words with their kinds, from packages that are fetched and never imported."""

from collections.abc import Callable

from models.language.aspects_naming import DOING_KIND, NAME, OTHER, PROPER, PROPERTY
from pipelines.harness.state import State
from pipelines.packaged.packages import fetch, read_member

PACKAGE, MEMBER = "textblob", "textblob/en/en-lexicon.txt"
COMMENT = ";;;"
KINDS = (("NNP", PROPER), ("NN", NAME), ("JJ", PROPERTY), ("VB", DOING_KIND))
"""How tags of the Penn Treebank begin; the first that fits."""


def english(state: State, say: Callable[[str], None]) -> dict[str, str]:
    """Words in lower case with the kind that each has most often, see `aspects_naming.KNOWN`.

    Raises `MissingResource` where the package can't be fetched.
    """
    (archive,) = fetch(PACKAGE, state, say).values()
    return kinds(read_member(archive, MEMBER).decode("utf-8"))


def kinds(text: str) -> dict[str, str]:
    r"""The kinds of a lexicon with a word and its tag a line; a word that is written small goes before its capital.

    >>> kinds(";;; words\nscreen NN\nScreen NNP\nsturdy JJ\nof IN")
    {'screen': 'name', 'sturdy': 'property', 'of': 'other'}
    """
    small: dict[str, str] = {}
    capital: dict[str, str] = {}
    for line in text.splitlines():
        parts = line.split()
        if len(parts) != 2 or line.startswith(COMMENT):
            continue
        word, tag = parts
        kind = next((kind for start, kind in KINDS if tag.startswith(start)), OTHER)
        (small if word == word.lower() else capital).setdefault(word.lower(), kind)
    return {**capital, **small}

"""Lexicons of rated words, from the packages that are installed with the project."""

import importlib.util
import re
from pathlib import Path

from pipelines.harness import MissingResource

PACKAGE = "vaderSentiment"
STRONGEST = 4.0


def english() -> dict[str, float]:
    """Words and emoticons with VADER's mean ratings, emoji with the sum of those of their descriptions; -4 to 4.

    The package's files are read, its code is not run. Raises `MissingResource` where it is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingResource(f"{PACKAGE} is not installed: install the project's lock file again")
    folder = Path(next(iter(spec.submodule_search_locations)))
    values: dict[str, float] = {}
    for line in (folder / "vader_lexicon.txt").read_text("utf-8").splitlines():
        word, _, rest = line.partition("\t")
        if rest:
            values[word] = float(rest.split("\t")[0])
    for line in (folder / "emoji_utf8_lexicon.txt").read_text("utf-8").splitlines():
        emoji, _, told = line.partition("\t")
        total = sum(values.get(word, 0.0) for word in re.findall("[a-z']+", told.lower()))
        if total and len(emoji) == 1:
            values[emoji] = max(-STRONGEST, min(STRONGEST, total))
    return dict(sorted(values.items()))

"""What texts say of the parts and properties of things: names, merged into categories, with shares and quotes.

Names and what is thought of them are found by `aspects_tagging` where sentences are marked in a language and an encoder
reads it. Without either they are found by rules, in `aspects_words` where words are set apart by spaces, in
`aspects_spaceless` elsewhere, and the polarity of each by the model of `polarity` that reads an aspect in its surroundings.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Z95 = 1.959964


@dataclass(frozen=True)
class Spoken:
    """A name [start, end) in the text at row `text`, and the words that say something of it [said_start, said_end).

    praise: the chance that it is praised, else blamed; NaN where the finder can't tell.
    """

    text: int
    start: int
    end: int
    said_start: int
    said_end: int
    praise: float = float("nan")


class Finder(Protocol):
    """Finds names of which something is said."""

    def find(self, texts: Sequence[str]) -> list[Spoken]:
        """Those in `texts`, by text and place; of a name that a text has twice the first."""
        ...


def normal_name(name: str, names: Mapping[str, int]) -> str:
    """A name in lower case, in the singular where the texts have that too.

    >>> normal_name("Batteries", {"battery": 3}), normal_name("glass", {"glass": 1})
    ('battery', 'glass')
    """
    word = " ".join(name.lower().split())
    for end, instead in (("ies", "y"), ("s", ""), ("'s", "")):
        if word.endswith(end) and word[: -len(end)] + instead in names:
            return word[: -len(end)] + instead
    return word


def categories(
    counts: Mapping[str, int],
    spaced: bool,
    encode: Callable[[Sequence[str]], np.ndarray] | None,
    alike: float,
) -> dict[str, str]:
    """Each name's category, which is the name that stands for all that mean the same.

    counts: how many texts have each name. A longer name belongs to the one that it ends with ("color screen" to
    "screen"). encode: names (n,) to unit vectors (n, d), where an encoder reads the language; those nearer than
    `alike`, each to each, are one.
    """
    heads = {name: _head(name, counts, spaced) for name in counts}
    weight: Counter[str] = Counter()
    for name, head in heads.items():
        weight[head] += counts[name]
    names = sorted(weight, key=lambda name: (-weight[name], name))
    if encode is None or len(names) < 2:
        return heads
    from sklearn.cluster import AgglomerativeClustering

    groups = AgglomerativeClustering(
        n_clusters=None, distance_threshold=1 - alike, linkage="complete", metric="cosine"
    ).fit_predict(encode(names))
    first: dict[int, str] = {}
    for name, group in zip(names, groups.tolist(), strict=True):
        first.setdefault(group, name)
    stands = {name: first[group] for name, group in zip(names, groups.tolist(), strict=True)}
    return {name: stands[head] for name, head in heads.items()}


def _head(name: str, counts: Mapping[str, int], spaced: bool) -> str:
    """The shortest name that `name` ends with and that is no rarer."""
    words = name.split(" ") if spaced else list(name)
    joint = " " if spaced else ""
    for start in range(len(words) - 1, 0, -1):
        end = joint.join(words[start:])
        if counts.get(end, 0) >= counts[name]:
            return end
    return name


def wilson(positive: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval (n,), (n,) of the share of `positive` among `total` (n,), from 0 to 1; all of it for none.

    Source: Wilson (1927), Probable Inference, the Law of Succession, and Statistical Inference.

    >>> [round(float(bound[0]), 3) for bound in wilson(np.array([8]), np.array([10]))]
    [0.49, 0.943]
    """
    count = np.maximum(total, 1).astype(np.float64)
    share = np.where(total > 0, positive / count, 0.5)
    spread = Z95**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 * np.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    none = total == 0
    low = np.where(none, 0.0, np.maximum(middle - half, 0.0))
    return low, np.where(none, 1.0, np.minimum(middle + half, 1.0))

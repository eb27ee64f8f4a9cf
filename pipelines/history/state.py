"""What the run before left on the shelf: its figures, and what they were made of.

The figures lie there as links to the stage's own outs, so that nothing is written twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.harness.shelf import Kept, Shelf

PARTS, CATALOGUE = "parts", "catalogue"
"""Of the note: the names of the parts' sums, and the hash of the products (None without)."""


@dataclass(frozen=True)
class Former:
    """Figures of an earlier run. gone: the sums of parts that are none any more; stays: the names of those that are."""

    kept: Kept
    gone: list[Kept]
    stays: set[str]

    @property
    def catalogue(self) -> str | None:
        """The hash of the products that they were made of."""
        found: str | None = self.kept.note[CATALOGUE]
        return found


def find(shelf: Shelf, group: str, parts: Iterable[str]) -> Former | None:
    """The figures that share most of the parts of which there are sums now; None where there are none, or no part stays.

    group: a name of the shelf for figures of equal columns. This run's `tidy` removes all that is found.
    """
    now, found = set(parts), []
    for kept in shelf.like(group):
        shelf.leave(kept)
        before = set(kept.note[PARTS])
        gone = [shelf.find(name) for name in sorted(before - now)]
        for part in gone:
            if part:
                shelf.leave(part)
        if before & now and all(gone):
            found.append(Former(kept, [part for part in gone if part], before & now))
    return max(found, key=lambda former: len(former.stays), default=None)


def put(
    shelf: Shelf,
    group: str,
    files: Mapping[str, Path],
    parts: Iterable[str],
    catalogue: str | None,
) -> None:
    """Leave the figures of this run, by the files' names, for the next."""
    note = {PARTS: sorted(parts), CATALOGUE: catalogue}
    shelf.put(f"{group}-{shelf.name('of', note)}", files, note)

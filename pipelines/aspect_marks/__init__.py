"""Sentences in which names are marked with what is thought of them, by language, beside this file."""

from pathlib import Path

from models.language.aspects_marks import Marked, read_marked
from pipelines.harness import BadConfig, BadData

FOLDER = Path(__file__).parent


def marked(language: str) -> list[Marked]:
    """The marked sentences of a language.

    Raises `BadConfig` for a language that has none, `BadData` with the line for a mark that can't be read.
    """
    path = FOLDER / f"{language}.txt"
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in FOLDER.glob("*.txt")))
        raise BadConfig(
            f"opinions.taggers: no sentences are marked in {language!r}, only in {known}"
        )
    found = []
    for at, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line and not line.startswith("#"):
            try:
                found.append(read_marked(line))
            except ValueError as error:
                raise BadData(f"{path}, line {at}: {error}") from None
    return found

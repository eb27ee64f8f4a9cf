"""Ask about a product: `python -m pipelines.ask --item ID "question" ["another" …]`.

Answers are quoted from the reviews that the answers model was made with, each with its review, day and stars; further
quotes follow, and which reviews say yes and no (of an opinion: praise and blame) where the shop has sentiment. Nothing is
made up: where no review answers, that is said.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from models.bundle import DamagedBundle
from pipelines.harness import BadData, MissingResource, VitrineError
from pipelines.harness.absent import absence

WIDEST = 400
NEAREST = 3
"""Reviews that are named where none answers."""


class Asker:
    """The model of the answers stage, loaded once."""

    def __init__(self, root: Path) -> None:
        """Raises `MissingResource` where the answers model is absent or damaged."""
        self.answers = _model(root, "answers")

    def ask(self, item: str, question: str) -> dict[str, Any]:
        """What the model tells, as of `models.language.telling.told`.

        Raises `BadData` for an item without a review, or a question without a word.
        """
        import pandas as pd

        if not question.strip():
            raise BadData("the question is empty: ask something")
        if not self.answers.library.get(item):
            known = ", ".join(list(self.answers.library)[:5])
            raise BadData(
                f"item {item!r} has no review that the model knows; it knows, say: {known}"
            )
        frame = pd.DataFrame({"item_id": [item], "question": [question]})
        return self.answers.predict(frame).iloc[0].to_dict()


def _model(root: Path, name: str) -> Any:
    from models.kinds import load_model

    folder = root / "data" / name / "bundle"
    why = absence(folder)
    if why:
        raise MissingResource(f"{name} is off: {why}")
    try:
        return load_model(folder)
    except (DamagedBundle, FileNotFoundError) as error:
        raise MissingResource(f"{error}: run `dvc repro {name}`") from None


def shown(text: str) -> str:
    """A text of unknown origin as one line for a terminal, without signs that steer it.

    >>> shown("good\\x1b[31m\\nstuff")
    'good[31m stuff'
    """
    line = " ".join(text.split())
    whole = "".join(sign for sign in line if sign.isprintable())
    return whole if len(whole) <= WIDEST else whole[: WIDEST - 1] + "…"


def source(quote: dict[str, Any]) -> str:
    """The review of a quote, with its day and stars where they are known."""
    parts = [f"review {shown(quote['review_id'])}"]
    if quote["date"]:
        parts.append(quote["date"])
    if quote["stars"] == quote["stars"]:
        parts.append(f"{quote['stars']:g} stars")
    return ", ".join(parts)


def told(found: dict[str, Any], seconds: float) -> str:
    """What is printed of one answer."""
    sure = f"confidence {found['confidence']:.2f}, {seconds:.2f} s"
    if found["answer"]:
        lines = [f"“{shown(found['answer'])}”", f"  {source(found)}, {sure}"]
    else:
        lines = ["no answer in the reviews", f"  {sure}"]
    lines += [f"  also: “{shown(quote['text'])}”, {source(quote)}" for quote in found["evidence"]]
    words = ("say yes", "no") if found["asks"] == "yes or no" else ("praise", "blame")
    parts = [
        f"{len(names)} {word} ({', '.join(map(shown, names))})"
        for names, word in zip((found["says_yes"], found["says_no"]), words, strict=True)
        if names
    ]
    if parts:
        lines.append(f"  {', '.join(parts)}")
    if not found["answer"] and found["reviews"]:
        lines.append(f"  nearest: {', '.join(map(shown, found['reviews'][:NEAREST]))}")
    return "\n".join(lines)


def main(words: list[str], root: Path) -> int:
    """The command line; the exit status is that of the class of failure."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.ask",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--item", required=True, help="the product's id")
    parser.add_argument("question", nargs="+")
    asked = parser.parse_args(words)
    try:
        asker = Asker(root)
        for question in asked.question:
            started = time.perf_counter()
            found = asker.ask(asked.item, question)
            print(told(found, time.perf_counter() - started))
    except VitrineError as error:
        print(f"{error.title}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))

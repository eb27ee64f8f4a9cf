"""Ask about a product: `python -m pipelines.ask --item ID "question" ["another" …]`.

Answers are quoted from the reviews that the answers model was made with, each with its review; further reviews that
speak of it follow, and how the best of them divide by sentiment where that model is there. Nothing is made up: where
no review answers, that is said.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from models.bundle import DamagedBundle
from pipelines.harness import BadData, MissingResource, VitrineError
from pipelines.harness.absent import absence, lacking

FURTHER = 8
"""Reviews, besides the quoted one, that are counted and named."""
WIDEST = 400


class Asker:
    """The models of the answers and sentiment stages, loaded once."""

    def __init__(self, root: Path) -> None:
        """Raises `MissingResource` where the answers model is absent or damaged."""
        self.answers = _model(root, "answers")
        sentiment = root / "data" / "sentiment" / "bundle"
        self.sentiment = _model(root, "sentiment") if lacking(sentiment) is None else None

    def ask(self, item: str, question: str) -> dict[str, Any]:
        """answer, review_id, confidence, reviews (best first) and divide (label to how many of the best say so).

        Raises `BadData` for an item without a review, or a question without a word.
        """
        import pandas as pd

        if not question.strip():
            raise BadData("the question is empty: ask something")
        texts = {one.review_id: one.text for one in self.answers.library.get(item, [])}
        if not texts:
            known = ", ".join(list(self.answers.library)[:5])
            raise BadData(
                f"item {item!r} has no review that the model knows; it knows, say: {known}"
            )
        frame = pd.DataFrame({"item_id": [item], "question": [question]})
        found = self.answers.predict(frame).iloc[0].to_dict()
        best = [name for name in found["reviews"] if name in texts][:FURTHER]
        divide: dict[str, int] = {}
        if self.sentiment and best:
            said = self.sentiment.predict(pd.DataFrame({"text": [texts[name] for name in best]}))
            divide = said["label"].value_counts().sort_index().to_dict()
        return {**found, "divide": divide}


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


def told(found: dict[str, Any], seconds: float) -> str:
    """What is printed of one answer."""
    sure = f"confidence {found['confidence']:.2f}, {seconds:.2f} s"
    if found["answer"]:
        lines = [f"“{shown(found['answer'])}”", f"  review {shown(found['review_id'])}, {sure}"]
    else:
        lines = ["no answer in the reviews", f"  {sure}"]
    others = [name for name in found["reviews"] if name != found["review_id"]][:FURTHER]
    if others:
        lines.append(f"  speak of it too: {', '.join(map(shown, others))}")
    if found["divide"]:
        parts = ", ".join(f"{count} {label}" for label, count in found["divide"].items())
        lines.append(f"  of the reviews that speak of it: {parts}")
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

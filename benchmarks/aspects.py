"""How well aspects are found, on sentences that were marked by hand before anything was tuned.

    python -m benchmarks.aspects [--half validation | --half both]

`tests/data/aspects.jsonl` holds 300 sentences (200 English, 100 Chinese) of the default reviews. Rules and settings were
chosen on the half `validation`; `test` was left alone. It needs `data/validate-reviews` and `data/split/sentiment`. Names are
learned as the stage learns them in the profile: from sentences that were marked for it, or by rules from the reviews' texts,
then with polarity from the labelled training rows but those of the marked reviews. A found name is right where it overlaps a marked one and has its polarity; each counts once a sentence.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

MARKS = "tests/data/aspects.jsonl"
HALVES = ("validation", "test")
REVIEWS = "data/validate-reviews/table.parquet"
TRAIN = "data/split/sentiment/train.parquet"
HEAD = "language     marked  found  precision  recall  F1 of names  F1 with polarity  seconds"
Found = tuple[int, int, str]


@dataclass(frozen=True)
class Place:
    """Where packaged encoders are fetched to, and what is told of it."""

    root: Path
    say: Callable[[str], None] = partial(print, file=sys.stderr)


def main(words: list[str], root: Path) -> int:
    """Print one line a language and half; what is learned for one half is judged on the other too, if both are asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.aspects", description=__doc__)
    parser.add_argument("--half", choices=(*HALVES, "both"), default="test")
    parser.add_argument("--profile", help="of params.yaml; without: the one that is set there")
    parser.add_argument("--errors", action="store_true", help="print what was missed and invented")
    asked = parser.parse_args(words)
    from pipelines.harness import MissingResource
    from pipelines.harness.params import read_params, section
    from pipelines.harness.state import State
    from pipelines.opinions import OpinionsParams
    from pipelines.packaged import dictionaries
    from pipelines.review_trust import whole_reviews

    for path in (REVIEWS, TRAIN):
        if not (root / path).is_file():
            print(f"{root / path} is missing: run `dvc repro split` first", file=sys.stderr)
            return MissingResource.exit_code
    document = read_params(root)
    if asked.profile:
        document = {**document, "profile": asked.profile}
    params = section(document, "opinions", OpinionsParams)
    dictionary = dictionaries.english(State(root), _say) if params.dictionary else {}
    lines = (root / MARKS).read_text("utf-8").splitlines()
    marked = [json.loads(line) for line in lines]
    reviews = whole_reviews(pd.read_parquet(root / REVIEWS))
    train = pd.read_parquet(root / TRAIN)
    ids = {row["review_id"] for row in marked}
    train = train[~train["review_id"].isin(ids)]
    halves = HALVES if asked.half == "both" else (asked.half,)
    counts = {half: np.zeros(4, dtype=np.int64) for half in halves}
    print(f"{'half':<10} {HEAD}")
    for language in ("en", "zh"):
        started = time.perf_counter()
        find = finder(
            *(reviews, train, language, dictionary, params), Place(root), document["seed"]
        )
        for half in halves:
            rows = [row for row in marked if row["language"] == language and row["half"] == half]
            figures = judge(rows, find([row["text"] for row in rows]), asked.errors)
            counts[half] += figures
            _tell(half, language, figures, time.perf_counter() - started)
    for half in halves:
        _tell(half, "both", counts[half], float("nan"))
    return 0


def finder(
    reviews: pd.DataFrame,
    train: pd.DataFrame,
    language: str,
    dictionary: Mapping[str, str],
    params: Any,
    place: Place,
    seed: int,
) -> Callable[[list[str]], list[list[Found]]]:
    """The stage's own reading of one language, of sentences by themselves."""
    from models.language.opinions import NEGATIVE, POSITIVE
    from pipelines.opinions import reader_of
    from pipelines.packaged.unpacked import folder

    rows = reviews[reviews["language"] == language]
    labelled = train[train["language"] == language]
    reader = reader_of(
        *(rows, labelled, language, dictionary, params), lambda name: folder(name, place), seed
    )

    def find(sentences: list[str]) -> list[list[Found]]:
        spoken = reader.finder.find(sentences)
        chosen = reader.sides(sentences, spoken).argmax(1)
        answers: list[list[Found]] = [[] for _ in sentences]
        for one, at in zip(spoken, chosen.tolist(), strict=True):
            answers[one.text].append((one.start, one.end, (NEGATIVE, POSITIVE)[at]))
        return answers

    return find


def judge(rows: list[dict[str, Any]], answers: list[list[Found]], errors: bool) -> np.ndarray:
    """Marked, found, found that are marked, and of those with the right polarity."""
    marked = found = named = right = 0
    for row, mine in zip(rows, answers, strict=True):
        text = row["text"]
        # The same name twice in a sentence is one.
        true = {text[start:end].lower(): (start, end, side) for start, end, side in row["aspects"]}
        marked, found = marked + len(true), found + len(mine)
        left = list(mine)
        for start, end, side in true.values():
            hit = next((one for one in left if one[0] < end and start < one[1]), None)
            if hit is None:
                _show(errors, "missed", text, text[start:end])
                continue
            left.remove(hit)
            named += 1
            right += hit[2] == side
            if hit[2] != side:
                _show(errors, "polarity", text, text[start:end])
        for start, end, _ in left:
            _show(errors, "invented", text, text[start:end])
    return np.asarray([marked, found, named, right], dtype=np.int64)


def _show(errors: bool, kind: str, text: str, name: str) -> None:
    if errors:
        print(f"{kind}: {name!r} in {text!r}")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _tell(half: str, name: str, counts: np.ndarray, seconds: float) -> None:
    marked, found, named, right = counts.tolist()
    f1, both = (2 * hits / max(marked + found, 1) for hits in (named, right))
    precision, recall = named / max(found, 1), named / max(marked, 1)
    print(
        f"{half:<10} {name:<12} {marked:6} {found:6} {precision:10.3f} {recall:7.3f} {f1:12.3f} {both:17.3f} {seconds:8.1f}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))

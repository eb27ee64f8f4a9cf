"""The marked questions of the repository."""

import json
from collections import Counter

from tests.conftest import REPOSITORY

ITEMS = {"apex-ad2600", "canon-g3", "nikon-coolpix-4300", "nokia-6610", "creative-nomad-zen-xtra"}
KEYS = {"question_id", "item_id", "question", "review_id", "start", "end"}


def lines() -> list[dict]:
    path = REPOSITORY / "pipelines" / "sources" / "questions.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_each_line_is_whole_and_holds_no_text_of_a_review() -> None:
    for line in lines():
        assert set(line) == KEYS
        assert line["item_id"] in ITEMS and line["question"].strip() == line["question"] != ""
        marked = [line[key] for key in ("review_id", "start", "end")]
        if line["review_id"] is None:
            assert marked == [None, None, None]
        else:
            assert line["review_id"].startswith("amazon-") and 0 <= line["start"] < line["end"]


def test_there_are_enough_of_each_kind_and_none_twice() -> None:
    found = lines()
    per_item = Counter(line["item_id"] for line in found)
    unanswered = sum(line["review_id"] is None for line in found)
    assert len(found) >= 60 and set(per_item) == ITEMS and min(per_item.values()) >= 12
    assert 1 / 3 <= unanswered / len(found) <= 0.4
    assert len({line["question_id"] for line in found}) == len(found)
    assert len({(line["item_id"], line["question"].lower()) for line in found}) == len(found)

"""Aspects: names found in a shop's own texts, what is said of them, shares; marks of the test set."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.language import aspects_spaceless, aspects_words
from models.language.aspects import categories, normal_name, wilson
from models.language.lexicon import Lexicon

MARKS = Path(__file__).parents[1] / "data" / "aspects.jsonl"
LEXICON = Lexicon(
    {"good": 2.0, "great": 3.0, "awful": -3.0, "love": 3.0, "bad": -2.5, "better": 1.9}
)
TEXTS = [
    "The screen is large. The battery of this phone is good.",
    "I love the screen, but the battery is awful.",
    "A great screen and a bad battery.",
    "The speaker is in the box. The battery lasts two days with the speaker.",
    "My screen was broken; the phone is good.",
]


@pytest.fixture(scope="module")
def words() -> aspects_words.WordFinder:
    return aspects_words.learn(TEXTS * 5, [], [], LEXICON, 0.4, 2, {})


def said(finder, text: str) -> dict[str, str]:
    return {
        text[one.start : one.end]: text[one.said_start : one.said_end]
        for one in finder.find([text])
    }


def test_names_are_found_without_a_list_and_verbs_are_none(words):
    scores = words.scores
    assert min(scores["screen"], scores["battery"], scores["speaker"]) > 0.4
    assert max(scores["is"], scores["lasts"], scores["love"]) < 0.4


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a good screen, but an awful battery", {"screen": "good", "battery": "awful"}),
        ("the battery is good", {"battery": "good"}),
        ("the screen is huge", {"screen": "huge"}),
        ("i love the battery", {"battery": "love"}),
        ("no screen", {"screen": "no"}),
        ("the battery is better than the screen", {"battery": "better"}),
        ("good screen and battery", {"screen": "good", "battery": "good"}),
        ("the screen is in the box", {}),
        ("", {}),
        ("🙂", {}),
    ],
)
def test_what_is_said_goes_to_its_name(words, text, wanted):
    assert said(words, text) == wanted


def test_a_dictionary_tells_rare_names():
    texts = [*TEXTS * 5, "Oil good hinge often.", "It seems sturdy."]
    kinds = {"hinge": "name", "sturdy": "property", "screen": "property"}
    finder = aspects_words.learn(texts, [], [], LEXICON, 0.4, 2, kinds)
    assert said(finder, "a good hinge, a good sturdy") == {"hinge": "good"}
    # What the shop's own texts show often outweighs it.
    assert finder.scores["screen"] > 0.4
    assert said(aspects_words.learn(texts, [], [], LEXICON, 0.4, 2, {}), "a good hinge") == {}


def test_a_word_that_a_shop_uses_for_something_else_is_no_opinion():
    lexicon = Lexicon({"play": 1.4, "good": 2.0})
    texts = ["discs that play", "it did not play", "it will play a disc", "they play", "good"] * 4
    kept = aspects_words.telling(lexicon, texts, [0, -1, 0, -1, 1] * 4)
    assert "play" not in kept and "good" in kept


def test_chinese_names_and_opinions_find_each_other():
    praise = ["房间很干净", "服务很热情", "酒店的房间非常干净，服务很热情"] * 4
    blame = ["房间很糟糕", "服务太糟糕"] * 4
    texts = praise + blame
    found = aspects_spaceless.learn(texts, [1] * len(praise) + [-1] * len(blame), 2)
    assert {"房间", "服务"} <= set(found.names)
    assert {"干净", "糟糕", "热情"} <= set(found.opinions)
    finder = aspects_spaceless.SignFinder(found)
    assert said(finder, "这家的房间挺干净，但是服务糟糕。") == {"房间": "挺干净", "服务": "糟糕"}
    assert said(finder, "没有服务") == {"服务": "没有"}
    assert finder.find(["", "好"]) == []


def test_nothing_is_found_where_nothing_was_learned():
    empty = aspects_spaceless.SignFinder(aspects_spaceless.learn([], [], 2))
    assert empty.find(["房间很大"]) == []
    assert aspects_words.learn([], [], [], LEXICON, 0.4, 2, {}).find(["the screen is good"]) == []


def test_categories_go_by_the_last_word_and_by_meaning():
    counts = {"screen": 5, "lcd screen": 2, "battery life": 3, "picture": 4, "photo": 3}
    vectors = {
        "picture": [1, 0, 0],
        "photo": [1, 0.1, 0],
        "screen": [0, 1, 0],
        "battery life": [0, 0, 1],
    }

    def encode(names):
        table = np.array([vectors[name] for name in names], dtype=np.float64)
        return table / np.linalg.norm(table, axis=1, keepdims=True)

    merged = categories(counts, True, encode, 0.9)
    assert merged == {
        "screen": "screen",
        "lcd screen": "screen",
        "battery life": "battery life",
        "picture": "picture",
        "photo": "picture",
    }
    assert categories({"服务": 4, "前台服务": 2}, False, None, 0.9)["前台服务"] == "服务"
    assert normal_name("Screens", {"screen": 1}) == "screen"


def test_wilson_never_leaves_the_unit_interval_and_none_is_all_of_it():
    low, high = wilson(np.array([0, 3, 3]), np.array([0, 3, 6]))
    assert (low[0], high[0]) == (0.0, 1.0)
    assert high[1] == 1.0 and 0.4 < low[1] < 0.45
    assert low[2] < 0.5 < high[2]


def test_marks_are_slices_of_their_sentences():
    rows = [json.loads(line) for line in MARKS.read_text("utf-8").splitlines()]
    assert len(rows) == 300 and {row["half"] for row in rows} == {"validation", "test"}
    for row in rows:
        assert row["end"] - row["start"] == len(row["text"])
        for start, end, side in row["aspects"]:
            assert 0 <= start < end <= len(row["text"]) and side in ("positive", "negative")

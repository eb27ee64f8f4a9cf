"""The stage of opinions: whole reviews, votes, quotes that are slices, flags by moments of any resolution."""

import pandas as pd
import pytest

from pipelines.buyers.tables import products
from pipelines.harness.params import read_params, section
from pipelines.opinions import OpinionsParams
from pipelines.review_trust import ReviewTrustParams, before, flags, whole_reviews
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def params() -> OpinionsParams:
    document = {**read_params(REPOSITORY), "profile": "tiny"}
    return section(document, "opinions", OpinionsParams)


def test_sentences_of_a_review_that_is_there_are_no_reviews():
    table = pd.DataFrame(
        {"review_id": ["a", "a-1", "b-1"], "text": ["x", "x", "好"], "group_id": ["a", "a", "b"]}
    )
    whole = whole_reviews(table)
    assert whole["review_id"].tolist() == ["a", "b-1"]
    assert whole["language"].tolist() == ["en", "zh"] and whole["item_id"].tolist() == ["", ""]


def trust_params() -> ReviewTrustParams:
    return section(
        {**read_params(REPOSITORY), "profile": "tiny"}, "review-trust", ReviewTrustParams
    )


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_a_burst_is_told_at_any_resolution_of_time(unit):
    days = pd.to_datetime(["2020-01-01"] * 8 + ["2010-01-01", "2015-01-01"], utc=True)
    table = pd.DataFrame(
        {
            "review_id": [f"r{at}" for at in range(10)],
            "text": [f"text {at}" for at in range(10)],
            "item_id": "a",
            "user_id": [f"u{at}" for at in range(10)],
            "rating": [1.0] * 8 + [5.0, 5.0],
            "timestamp": pd.Series(days).dt.as_unit(unit),
        }
    )
    found = flags(whole_reviews(table), trust_params().trust)
    assert found["review_id"].tolist() == [f"r{at}" for at in range(8)]
    whole = whole_reviews(table)
    assert before(whole, "2015-01-01T00:00:00+00:00")["review_id"].tolist() == ["r8"]
    assert before(whole, None) is whole


def test_a_review_votes_once_and_quotes_are_slices(params):
    text = "The screen is good. A great screen! The screen is bad."
    reviews = whole_reviews(
        pd.DataFrame({"review_id": ["a", "b"], "text": [text, "bad screen"], "item_id": "x"})
    )
    rows = [("a", 0, 19, "positive"), ("a", 20, 35, "positive"), ("a", 36, 54, "negative")]
    said = pd.DataFrame(
        [*rows, ("b", 0, 10, "negative")],
        columns=["review_id", "quote_start", "quote_end", "polarity"],
    )
    said = said.assign(item_id="x", language="en", category="screen", term="screen", start=0)
    said = said.assign(confidence=0.9, timestamp=pd.NaT)
    (line,) = products(said, reviews, params.quotes, params.longest_quote).to_dict("records")
    assert (line["reviews"], line["positive"], line["negative"]) == (2, 1, 1)
    assert line["share"] == 0.5 and line["low"] < 0.5 < line["high"]
    assert [quote["text"] for quote in line["quotes_for"]] == ["The screen is good."]
    texts = dict(zip(reviews["review_id"], reviews["text"], strict=True))
    for quote in line["quotes_for"] + line["quotes_against"]:
        assert texts[quote["review_id"]][quote["start"] : quote["end"]] == quote["text"]

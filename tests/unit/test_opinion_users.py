"""What users care for: shares against the shop's habit, verdicts against others' on the same products."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.buyers.columns import USERS
from pipelines.buyers.users import DOUBT, users


def told(rows: list[tuple[str, str | None, str, str, str]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mentions and reviews of (review, user, item, category, polarity); no category: a review that tells of none."""
    frame = pd.DataFrame(rows, columns=["review_id", "user_id", "item_id", "category", "polarity"])
    reviews = frame.drop_duplicates("review_id").assign(language="en")
    said = frame[frame["category"] != ""].assign(language="en", timestamp=pd.NaT)
    return said.drop(columns="user_id"), reviews


def test_who_speaks_of_a_thing_more_than_others_cares_for_it() -> None:
    rows = [(f"a{at}", "ada", "x", "battery", "positive") for at in range(4)]
    rows += [(f"b{at}", "ben", "y", "" if at else "battery", "positive") for at in range(16)]
    table = users(*told(rows)).set_index("user_id")
    common = 5 / 20
    assert table.loc["ada", "care"] == pytest.approx(
        (4 + DOUBT * common) / (4 + DOUBT) / common, abs=1e-6
    )
    assert table.loc["ada", "care"] > 1 > table.loc["ben", "care"]
    assert table.loc["ben", ["reviews", "written"]].tolist() == [1, 16]


def test_one_review_tells_less_than_many() -> None:
    rows = [("c0", "cleo", "x", "price", "negative")]
    rows += [(f"d{at}", "dan", "y", "price", "negative") for at in range(9)]
    rows += [(f"e{at}", "eve", "y", "", "") for at in range(30)]
    care = users(*told(rows)).set_index("user_id")["care"]
    assert 1 < care["cleo"] < care["dan"]


def test_verdicts_are_held_against_those_of_others_alone() -> None:
    rows = [
        ("1", "ada", "x", "battery", "positive"),
        ("2", "ada", "x", "battery", "positive"),
        ("3", "ben", "x", "battery", "negative"),
        ("4", "cleo", "y", "battery", "negative"),
        ("5", None, "x", "battery", "positive"),
    ]
    table = users(*told(rows)).set_index("user_id")
    assert table.loc["ada", ["against", "compared"]].tolist() == [0.5, 2]
    assert table.loc["ben", ["against", "compared"]].tolist() == [-1.0, 1]
    assert math.isnan(table.loc["cleo", "against"]) and table.loc["cleo", "compared"] == 0
    assert set(table.index) == {"ada", "ben", "cleo"}, "who is not named has no row"


VOTE = st.tuples(
    st.sampled_from(["ada", "ben", "cleo", None]),
    st.sampled_from(["x", "y", ""]),
    st.sampled_from(["battery", "price"]),
    st.sampled_from(["positive", "negative"]),
)


@settings(max_examples=30)
@given(st.lists(VOTE, min_size=1, max_size=20))
def test_against_is_what_counting_one_by_one_gives(
    votes: list[tuple[str | None, str, str, str]],
) -> None:
    rows = [(str(at), *vote) for at, vote in enumerate(votes)]
    table = users(*told(rows))
    assert table.columns.tolist() == USERS.names
    expected: dict[tuple[str, str], list[float]] = {}
    for user, item, category, side in votes:
        if user is None:
            continue
        mine = expected.setdefault((user, category), [])
        others = [
            1.0 if other_side == "positive" else 0.0
            for other, other_item, other_category, other_side in votes
            if other != user and (other_item, other_category) == (item, category)
        ]
        if others and item:
            mine.append((side == "positive") - float(np.mean(others)))
    found = {(line.user_id, line.category): line for line in table.itertuples(index=False)}
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key].compared == len(values)
        if values:
            assert found[key].against == pytest.approx(np.mean(values), abs=1e-6)


def test_no_mention_and_no_named_user_give_no_row() -> None:
    assert not len(users(*told([("1", "ada", "x", "", "")])))
    assert not len(users(*told([("1", None, "x", "price", "positive")])))

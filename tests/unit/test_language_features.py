"""Which texts are encoded, and which share a vector."""

import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.sentiment import vectors_of
from pipelines.text_features import parts_of, readable, some, unit, without_twins


def test_titles_that_differ_in_numbers_alone_share_the_first() -> None:
    titles = ["Tea, 9 oz", "Tea, 12.5 oz", "Tea, 9 ct", "Milk", "Tea, 1/2 oz"]
    shared = without_twins(titles)
    assert shared == ["Tea, 1/2 oz", "Tea, 1/2 oz", "Tea, 9 ct", "Milk", "Tea, 1/2 oz"]
    assert set(shared) <= set(titles) and without_twins(titles[::-1]) == shared[::-1]


def test_a_review_whose_sentences_are_rows_is_their_mean() -> None:
    table = pa.table(
        {
            "review_id": ["r1", "r1-1", "r1-2", "r2", "r3-1"],
            "group_id": ["r1", "r1", "r1", None, "r3"],
        }
    )
    assert parts_of(table) == ([1, 2, 3, 4], {0: [1, 2]})
    assert parts_of(table.select(["review_id"])) == ([0, 1, 2, 3, 4], {})


def test_reviews_in_other_languages_are_left_out() -> None:
    table = pa.table({"review_id": ["a", "b", "c"], "language": ["en", "zh", None]})
    assert readable(table, ["en"])["review_id"].to_pylist() == ["a", "c"]
    assert readable(table.select(["review_id"]), ["en"]).num_rows == 3


def test_of_very_many_reviews_some_are_read_whatever_comes_after_them() -> None:
    names = [f"r{at}" for at in range(100)]
    table = pa.table({"review_id": names, "text": ["ten signs."] * 100})
    read = some(table, 300)["review_id"].to_pylist()
    assert len(read) == 30 and read == [name for name in names if name in read]
    assert some(table.take(list(range(99, -1, -1))), 300)["review_id"].to_pylist() == read[::-1]
    assert some(table, 0).num_rows == some(table, 1000).num_rows == 100
    place = {name: at for at, name in enumerate(read)}
    rows = pd.DataFrame({"review_id": [read[1], next(iter(set(names) - set(read)))]})
    found = vectors_of(rows, place, np.arange(60.0).reshape(30, 2))
    assert found[0].tolist() == [2.0, 3.0] and np.isnan(found[1]).all()


def test_unit_vectors_and_zeros() -> None:
    assert np.allclose(unit(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])

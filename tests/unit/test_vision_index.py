"""An index finds nearly all of the nearest, with their exact scores; where vectors do not gather, or more are asked for, all."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.vision import index
from models.vision.agreement import NOBODY
from models.vision.families import unit
from models.vision.index import Cells, Index, nearest


def gathered(count: int, width: int = 16, seed: int = 0) -> np.ndarray:
    """Vectors around 40 middles."""
    middles = np.random.default_rng(9).normal(size=(40, width))
    draw = np.random.default_rng(seed)
    apart = 0.3 * draw.normal(size=(count, width))
    return unit((middles[np.arange(count) % 40] + apart).astype(np.float32))


def all_of(found) -> tuple[np.ndarray, np.ndarray]:
    places, scores = zip(*found, strict=True)
    return np.concatenate(places), np.concatenate(scores)


def test_most_of_the_nearest_are_found_with_their_scores():
    vectors = gathered(2400)
    made = Index.of(vectors, 1000, 10, 0)
    assert not made.exact and made.cells.looked <= len(made.cells.centres) // 4
    asked = gathered(300, seed=7)
    places, scores = all_of(made.nearest(asked, 10))
    true, _ = all_of(nearest(asked, vectors, 10))
    hits = np.mean([np.isin(own, its).mean() for own, its in zip(places, true, strict=True)])
    assert hits >= 0.95
    assert made.recall(asked, 10) == pytest.approx(hits)
    cosines = np.einsum("qd,qkd->qk", asked, vectors[places])
    np.testing.assert_allclose(scores, cosines, atol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()
    np.testing.assert_array_equal(made.take(places), vectors[places])


def test_below_the_size_and_without_a_gathering_all_are_compared():
    vectors = gathered(900)
    draw = np.random.default_rng(2)
    even = unit(draw.normal(size=(1500, 64)).astype(np.float32))
    for made in (
        Index.of(vectors, 1000, 10, 0),
        Index.of(vectors, 0, 10, 0),
        Index.of(even, 1000, 10, 0),
    ):
        assert made.exact and made.recall(made.vectors[:50], 10) == 1.0


def test_more_neighbours_than_it_was_made_for_and_filters_are_exact():
    vectors, asked = gathered(1600), gathered(60, seed=3)
    made = Index.of(vectors, 1000, 5, 0)
    assert not made.exact
    for agreement in (None, (np.arange(60) % 3, np.arange(1600) % 3)):
        count = 30 if agreement is None else 5
        places, scores = all_of(made.nearest(asked, count, agreement))
        true, its = all_of(nearest(asked, vectors, count, agreement))
        np.testing.assert_allclose(scores, its, atol=1e-5)
        assert (places == true).mean() > 0.99


def test_as_many_are_found_as_are_asked_for():
    vectors = np.repeat(gathered(300), 5, axis=0)
    made = Index.of(vectors, 1000, 9, 0)
    few = Index(made.vectors, replace(made.cells, looked=1), 9)
    places, scores = all_of(few.nearest(vectors[::50], 9))
    assert NOBODY not in places
    np.testing.assert_allclose(scores[:, :5], 1.0, atol=1e-5)


def test_the_same_vectors_give_the_same_index():
    vectors = gathered(1500)
    one, other = (Index.of(vectors, 1000, 10, 3) for _ in range(2))
    assert one.cells.looked == other.cells.looked
    np.testing.assert_array_equal(one.cells.order, other.cells.order)
    np.testing.assert_array_equal(one.cells.centres, other.cells.centres)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 90), st.integers(1, 12), st.integers(0, 5))
def test_all_cells_hold_all(count, wanted, seed):
    vectors = gathered(count, seed=seed)
    cells = Cells.of(vectors, seed)
    assert sorted(cells.order) == list(range(count))
    np.testing.assert_array_equal(cells.order[cells.place], np.arange(count))
    wanted = min(wanted, count)
    made = Index(vectors[cells.order], cells, wanted)
    places, scores = all_of(made.nearest(vectors[:7], wanted))
    _, true = all_of(nearest(vectors[:7], vectors, wanted))
    assert NOBODY not in places
    np.testing.assert_allclose(scores, true, atol=1e-5)


def test_blocks_are_bounded_by_their_scores(monkeypatch):
    vectors = gathered(500)
    whole = all_of(nearest(vectors[:40], vectors, 5))
    monkeypatch.setattr(index, "SCORES", 500 * 7)
    found = list(nearest(vectors[:40], vectors, 5))
    assert [len(place) for place, _ in found] == [7] * 5 + [5]
    np.testing.assert_array_equal(all_of(found)[0], whole[0])

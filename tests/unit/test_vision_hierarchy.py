"""Coarser classes: their probabilities are those of the fine ones, summed, in whatever order these stand."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.vision.hierarchy import Hierarchy

PARENTS = st.lists(st.sampled_from(["fruit", "milk", "tea", "juice"]), min_size=1, max_size=12)


def shares(rows: int, classes: int, seed: int, sharpness: float) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(size=(rows, classes)) * sharpness
    found = np.exp(logits - logits.max(1, keepdims=True))
    return (found / found.sum(1, keepdims=True)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(PARENTS, st.integers(0, 9), st.sampled_from([0.1, 1.0, 5.0]), st.randoms())
def test_coarse_probabilities_are_sums_in_any_order(parents, seed, sharpness, draw):
    fine = shares(7, len(parents), seed, sharpness)
    above = Hierarchy.of(parents)
    coarse = above.shares(fine)
    assert above.names == sorted(set(parents))
    np.testing.assert_allclose(coarse.sum(1), 1.0, atol=1e-5)
    names, sure = above.told(fine)
    for row, (name, share) in enumerate(zip(names, sure, strict=True)):
        own = sum(float(one) for one, its in zip(fine[row], parents, strict=True) if its == name)
        assert abs(own - share) < 1e-9
        best = int(fine[row].argmax())
        assert share >= fine[row, best] - 1e-9
        if fine[row, best] > 0.5:
            assert name == parents[best]
    order = list(range(len(parents)))
    draw.shuffle(order)
    other = Hierarchy.of([parents[at] for at in order])
    np.testing.assert_allclose(other.shares(fine[:, order]), coarse, rtol=0, atol=1e-12)


def test_nothing_asked_is_nothing_told():
    names, sure = Hierarchy.of(["fruit", "milk"]).told(np.zeros((0, 2), np.float32))
    assert names == [] and sure.shape == (0,)

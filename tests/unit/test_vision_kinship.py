"""Pictures that are asked together speak for one another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bundle import load, save
from models.encoders.image import ImageEncoder
from models.vision import kinship
from models.vision.head import softmax
from models.vision.kinship import STRANGERS, drawn, fit_kin, looks
from models.vision.linear import fit_linear
from models.vision.recognition import Expert, Recognition
from models.vision.sight import Sight


def crowd(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Directions of `count` pictures of five things, and which each shows."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 5, count)
    views = np.eye(5)[truth] + rng.normal(scale=0.1, size=(count, 5))
    return looks([views]), truth


def unsure(truth: np.ndarray, seed: int = 2) -> np.ndarray:
    """Logits that are right about two of three times."""
    rng = np.random.default_rng(seed)
    return 1.2 * np.eye(5)[truth] + rng.normal(size=(len(truth), 5))


CLOSE = np.array([-10.0, 15.0])
"""A line by which pictures from a cosine of two thirds on likely show the same."""


def slowly(logs: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """What `drawn` does with `CLOSE`, one picture at a time."""
    alike = seen @ seen.T
    np.fill_diagonal(alike, -np.inf)
    voices = np.zeros_like(alike)
    sure = softmax(logs).max(1).mean()
    for row, line in enumerate(alike):
        for other in np.argsort(-line)[: kinship.NEAREST]:
            same = 1 / (1 + np.exp(-CLOSE[0] - CLOSE[1] * line[other]))
            loud = max(same - sure, 0) / (1 - sure)
            voices[row, other] = max(voices[row, other], loud)
            voices[other, row] = max(voices[other, row], loud)
    own = logs - np.log(np.exp(logs).sum(1, keepdims=True))
    found = own
    for _ in range(kinship.ROUNDS):
        found = np.stack(
            [(own[at] + voices[at] @ found) / (1 + voices[at].sum()) for at in range(len(own))]
        )
    return found - np.log(np.exp(found).sum(1, keepdims=True))


def test_it_is_what_a_loop_over_pictures_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, truth = crowd(40)
    logs = unsure(truth)
    monkeypatch.setattr(kinship, "BLOCK", 7)
    np.testing.assert_allclose(drawn(logs, seen, CLOSE), slowly(logs, seen), atol=1e-5)


def test_those_who_are_alike_help_one_another() -> None:
    seen, truth = crowd(300)
    logs = unsure(truth)
    before, after = ((one.argmax(1) == truth).mean() for one in (logs, drawn(logs, seen, CLOSE)))
    assert after > before + 0.1


def test_how_alike_the_same_must_be_is_learned_from_pairs() -> None:
    seen, truth = crowd(200)
    kin = fit_kin(seen, truth, 0)
    cosines = seen @ seen.T
    likely = 1 / (1 + np.exp(-kin[0] - kin[1] * cosines)) > 0.5
    assert (likely == (truth[:, None] == truth)).mean() > 0.99
    rng = np.random.default_rng(1)
    for labels in (np.arange(200), np.zeros(200, int)):
        assert fit_kin(seen, labels, 0) is STRANGERS
    # Labels that have nothing to do with looks: whatever the line, nobody is heard.
    others = fit_kin(seen, rng.permutation(truth), 0)
    np.testing.assert_allclose(
        drawn(unsure(truth), seen, others), np.log(softmax(unsure(truth))), atol=1e-5
    )
    assert fit_kin(seen[:0], truth[:0], 0) is STRANGERS


def test_where_look_alikes_show_different_things_none_is_heard() -> None:
    # As alike as can be, two by two, and never of one class.
    seen = looks([np.repeat(np.eye(150), 2, axis=0)])
    mixed = np.arange(300) % 5
    logs = 4 * np.eye(5)[mixed]
    np.testing.assert_allclose(drawn(logs, seen, CLOSE), np.log(softmax(logs)), atol=1e-5)


@given(st.permutations(range(12)))
def test_chances_sum_to_one_in_any_order(order: list[int]) -> None:
    seen, truth = crowd(12)
    logs = unsure(truth)
    found = drawn(logs, seen, CLOSE)
    np.testing.assert_allclose(np.exp(found).sum(1), 1.0, atol=1e-5)
    np.testing.assert_allclose(drawn(logs[order], seen[order], CLOSE), found[order], atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_pictures_are_told_too(count: int) -> None:
    seen, truth = crowd(count)
    assert np.isfinite(drawn(unsure(truth), seen, CLOSE)).all()


def test_a_recogniser_tells_pictures_together_and_remembers_how(tmp_path) -> None:
    draw = np.random.default_rng(3)
    truth = np.arange(40) % 2
    level = np.where(truth, 150, 90)[:, None, None, None]
    pictures = (level + draw.integers(-60, 60, (40, 32, 32, 3))).astype(np.uint8)
    sight = Sight(ImageEncoder.pixels())
    probe, _ = fit_linear(sight.see(pictures), truth, 2, np.arange(40) % 4, [10.0])
    prior = np.full(2, 0.5, np.float32)
    model = Recognition(
        ["dark", "light"], (Expert(sight, probe, 0.2),) * 2, prior, kin=np.array([-2.0, 9.0])
    )
    assert len(model.sights) == 1
    found = model.together([pictures[:15], pictures[15:15], pictures[15:]])
    np.testing.assert_allclose(found, model.together([pictures]), atol=1e-5)
    assert (found.argmax(1) == truth).all() and np.abs(found - model.of_arrays(pictures)).max() > 0
    save(model.to_bundle(), tmp_path / "bundle")
    again = Recognition.from_bundle(load(tmp_path / "bundle"))
    assert len(again.sights) == 1
    np.testing.assert_allclose(again.together([pictures]), found, atol=1e-5)
    assert again.together([]).shape == (0, 2)

"""What the language models learn, and how their thresholds are chosen."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from models.encoders.reranker import Reranker
from models.encoders.text import TextEncoder
from models.language.answers import Answers
from models.language.answers_training import (
    best_margin,
    cross_fitted,
    fit_scorer,
    right_candidates,
)
from models.language.library import Review
from models.language.logistic_training import regress
from models.language.marked import Asked
from models.language.settings import ScorerSettings
from models.language.sureness import EDGE
from models.language.sureness_training import fit_sureness

FEW = ScorerSettings(epochs=40, rate=0.2, decay=0.0, folds=2)


def test_the_margin_is_where_most_questions_come_out_right() -> None:
    logits = np.array([[2.0, -9.0, 0.0], [1.0, -9.0, 0.0], [-3.0, -4.0, 0.0]])
    right = np.array([[True, False, False], [False, False, True], [False, False, True]])
    assert best_margin(logits, right) == 1.5
    assert best_margin(logits[:1], right[:1]) == 0
    assert best_margin(np.array([[-np.inf, 0.0]]), np.array([[False, True]])) == 0


def test_the_scorer_learns_to_answer_and_not_to() -> None:
    parts = ["battery", "sound", "price", "display", "handle", "weight"]
    text = " ".join(f"the {part} is great." for part in parts)
    library = {"radio": [Review("r1", text), Review("r2", "it came in a box. i like it.")]}
    model = Answers.untrained(library, TextEncoder.hashing(64), Reranker.overlap(), candidates=4)
    asked = [f"how is the {part}" for part in parts] + [
        f"is there a {thing}"
        for thing in ("motor", "camera", "lens", "printer", "engine", "garage")
    ]
    spans = []
    for part in parts:
        start = text.index(f"the {part}")
        spans.append({"r1": ((start, text.index(".", start) + 1),)})
    spans += [{}] * 6
    marked = [Asked("radio", one, where) for one, where in zip(asked, spans, strict=True)]
    shelves = [model.shelf("radio")] * len(asked)
    found = model.find(asked, shelves)
    right = right_candidates(found, shelves, marked)
    assert right[:6, :-1].sum(1).tolist() == [1] * 6 and right[6:, -1].all()
    model.scorer, losses = fit_scorer(found, right, FEW, seed=1)
    assert losses[-1] < losses[0]
    said = model.predict(pd.DataFrame({"item_id": "radio", "question": asked}))["answer"]
    wanted = [f"the {part} is great." for part in parts] + [""] * 6
    assert sum(map(str.__eq__, said, wanted)) >= 11
    logits = cross_fitted(found, right, FEW, seed=1)
    assert logits.shape == right.shape
    assert np.array_equal(logits, cross_fitted(found, right, FEW, seed=1))


def test_chances_are_made_true_and_few_questions_turn_nothing() -> None:
    rng = np.random.default_rng(1)
    bold = rng.uniform(0.5, 1, 4000)
    answered = np.arange(4000) % 2 == 0
    right = rng.random(4000) < np.where(answered, 0.3 + 0.4 * (bold - 0.5), bold)
    made = fit_sureness(bold, answered, right)
    said = made(bold, answered)
    for which in (answered, ~answered):
        assert abs(said[which].mean() - right[which].mean()) < 0.02
        worst = [
            abs(said[rows].mean() - right[rows].mean())
            for rows in np.array_split(np.flatnonzero(which)[np.argsort(said[which])], 5)
        ]
        assert max(worst) < 0.08
    none = fit_sureness(np.zeros(0), np.zeros(0, bool), np.zeros(0))
    np.testing.assert_allclose(none(bold, answered), np.clip(bold, EDGE, 1 - EDGE), atol=1e-4)


@pytest.mark.parametrize("outputs", [1, 3])
def test_regression_finds_the_optimum_that_scikit_learn_finds(outputs: int) -> None:
    rng = np.random.default_rng(3)
    classes = max(outputs, 2)
    given = rng.normal(size=(300, 12))
    truth = (given @ rng.normal(size=(12, classes)) + 2 * rng.normal(size=(300, classes))).argmax(1)
    weights, bias = regress(given, truth, outputs, strength=0.5)
    theirs = LogisticRegression(C=0.5, max_iter=1000, tol=1e-8).fit(given, truth)
    np.testing.assert_allclose(weights.T, theirs.coef_, atol=1e-4)
    shift = bias - theirs.intercept_
    np.testing.assert_allclose(shift, shift.mean(), atol=1e-4)

"""What the language models learn, and how their thresholds are chosen."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from models.encoders.reranker import Reranker
from models.encoders.text import TextEncoder
from models.language.answers import Answers
from models.language.answers_training import (
    Marked,
    best_margin,
    cross_fitted,
    fit_scorer,
    right_candidates,
)
from models.language.library import Review
from models.language.logistic_training import regress
from models.language.settings import ScorerSettings

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
    marked = []
    for part in parts:
        start = text.index(f"the {part}")
        marked.append(Marked("r1", start, text.index(".", start) + 1))
    marked += [Marked(None, 0, 0)] * 6
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

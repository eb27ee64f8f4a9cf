"""Heads, recognition and attributes: round trips, missing labels and sources, calibration, figures."""

import io
import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from models.bundle import load, save
from models.encoders.image import ImageEncoder
from models.encoders.text import TextEncoder
from models.vision.attributes import Attributes, Reading, View, pool, pool_weights, present
from models.vision.head import Head, calibrated, calibration_error, log_softmax, macro_f1, softmax
from models.vision.loss import masked_loss
from models.vision.recognition import Expert, Recognition
from models.vision.sight import Sight

CLASSES = ["bag", "hat", "shoe"]


def made_head(width: int, classes: int, seed: int = 0) -> Head:
    draw = np.random.default_rng(seed)

    def numbers(*shape: int) -> np.ndarray:
        return draw.normal(size=shape).astype(np.float32)

    return Head(
        mean=numbers(width),
        scale=np.ones(width, np.float32),
        w1=numbers(width, 8) / 10,
        b1=numbers(8),
        w2=numbers(8, classes),
        b2=numbers(classes),
        temperature=np.array([1.5], np.float32),
    )


def pictures(count: int) -> list[bytes]:
    draw = np.random.default_rng(5)
    found = []
    for _ in range(count):
        out = io.BytesIO()
        Image.fromarray(draw.integers(0, 256, (16, 16, 3), np.uint8)).save(out, "PNG")
        found.append(out.getvalue())
    return found


def made_attributes() -> Attributes:
    reading, sight = Reading(TextEncoder.hashing(16), 64), Sight(ImageEncoder.pixels())
    wide = sight.vectors(pictures(1)).shape[1]
    views = (
        View(("title",), {"colour": made_head(16 + 64, 2, 1)}, reading=reading),
        View(("picture",), {"colour": made_head(wide, 2, 2), "type": made_head(wide, 3, 3)}, sight),
        View(("title", "picture"), {"colour": made_head(wide + 80, 2, 4)}, sight, reading),
    )
    classes = {"type": CLASSES, "colour": ["black", "red"]}
    alone = {"title": [1.0, 0.0, 0.0], "picture": [0.0, 1.0, 0.0]}
    weights = {
        "type": alone | {"title+picture": [0.0, 1.0, 0.0]},
        "colour": alone | {"title+picture": [0.4, 0.3, 0.5]},
    }
    prior = {"type": np.array([0.5, 0.25, 0.25], np.float32)}
    return Attributes(classes, views, weights, prior)


def test_recognition_predicts_the_same_after_a_round_trip(tmp_path):
    sight, given = Sight(ImageEncoder.pixels(), ("colours",), True), pictures(6)
    expert = Expert(sight, made_head(sight.vectors(given).shape[1], 3))
    model = Recognition(CLASSES, (expert,), np.full(3, 1 / 3, np.float32))
    frame = pd.DataFrame({"bytes": given})
    found = model.predict(frame)
    assert list(found.columns) == ["label", "confidence", "known", "top"]
    top = json.loads(found["top"][0])
    assert top[0][0] == found["label"][0]
    assert top[0][1] == pytest.approx(found["confidence"][0], abs=1e-4)
    assert sum(share for _, share in top) == pytest.approx(1.0, abs=1e-3)
    save(model.to_bundle(), tmp_path / "bundle")
    pd.testing.assert_frame_equal(
        found, Recognition.from_bundle(load(tmp_path / "bundle")).predict(frame)
    )
    assert model.predict(frame.head(0)).empty


def test_attributes_predict_the_same_after_a_round_trip(tmp_path):
    model = made_attributes()
    frame = pd.DataFrame({"title": ["red hat", "bag", "", None], "bytes": [*pictures(3), None]})
    found = model.predict(frame)
    assert list(found.columns) == ["type", "type_confidence", "colour", "colour_confidence"]
    save(model.to_bundle(), tmp_path / "bundle")
    again = Attributes.from_bundle(load(tmp_path / "bundle"))
    pd.testing.assert_frame_equal(found, again.predict(frame))


def test_a_field_is_empty_where_nothing_tells_of_it():
    found = made_attributes().predict(
        pd.DataFrame(
            {"title": ["red hat", "", None], "bytes": [None, pictures(1)[0], float("nan")]}
        )
    )
    assert found["type"].isna().tolist() == [True, False, True]
    assert found["colour"].isna().tolist() == [False, False, True]
    assert found["type_confidence"].tolist()[::2] == [0.0, 0.0]
    titles_only = made_attributes().predict(pd.DataFrame({"title": ["red hat"]}))
    assert titles_only["colour"].notna().all() and titles_only["type"].isna().all()


def test_one_source_answers_alike_with_and_without_the_other_rows():
    model, given = made_attributes(), pictures(2)
    alone = model.predict(pd.DataFrame({"bytes": given}))
    mixed = model.predict(pd.DataFrame({"title": ["", "", "bag"], "bytes": [*given, None]}))
    np.testing.assert_allclose(mixed["colour_confidence"][:2], alone["colour_confidence"])


def test_empty_cells_of_any_kind_are_not_present():
    frame = pd.DataFrame({"title": ["a", "", None, float("nan"), "b"]})
    assert present(frame, "title").tolist() == [0, 4]
    assert present(frame, "picture").tolist() == []


def test_pool_weights_trust_the_source_that_knows():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 4, 400)
    knows = log_softmax(4.0 * np.eye(4)[labels] + draw.normal(size=(400, 4)))
    noise = log_softmax(draw.normal(size=(400, 4)))
    title, picture = pool_weights([knows, noise], labels)
    assert title >= 0.7 and picture <= 0.3
    pooled = pool((knows, noise), (title, picture))
    even = pool((knows, noise), (0.5, 0.5))
    here = np.arange(400)
    assert -pooled[here, labels].mean() < -even[here, labels].mean()
    assert pool_weights([knows[:0], noise[:0]], labels[:0]) == [0.5, 0.5]
    np.testing.assert_allclose(np.exp(pooled).sum(1), 1.0)


def test_missing_labels_cost_nothing():
    logits = [torch.randn(4, 3, requires_grad=True), torch.randn(4, 2, requires_grad=True)]
    labels = torch.tensor([[0, -1], [2, 1], [-1, -1], [1, -1]])
    loss = masked_loss(logits, labels)
    loss.backward()
    assert logits[0].grad[2].abs().sum() == 0
    assert logits[1].grad[[0, 2, 3]].abs().sum() == 0
    known = torch.nn.functional.cross_entropy
    by_hand = known(logits[0][[0, 1, 3]], torch.tensor([0, 2, 1]), reduction="sum")
    by_hand = by_hand + known(logits[1][[1]], torch.tensor([1]), reduction="sum")
    torch.testing.assert_close(loss, by_hand / 4)
    assert masked_loss(logits, torch.full((4, 2), -1)) == 0


def test_calibration_finds_a_planted_temperature():
    draw = np.random.default_rng(3)
    head = made_head(5, 4)
    vectors = draw.normal(size=(3000, 5)).astype(np.float32)
    sure = Head(**{**vars(head), "temperature": np.array([0.35], np.float32)})
    mild = Head(**{**vars(head), "temperature": np.array([1.0], np.float32)})
    shares = softmax(mild.logits(vectors))
    labels = (shares.cumsum(1) < draw.random((3000, 1))).sum(1)
    found = calibrated(sure, vectors, labels)
    assert found.temperature[0] == pytest.approx(1.0, abs=0.15)

    def surprise(head: Head) -> float:
        return -log_softmax(head.logits(vectors))[np.arange(3000), labels].mean()

    assert surprise(found) < surprise(sure)
    assert calibrated(sure, vectors, np.full(3000, -1)) is sure


def test_figures():
    assert calibration_error(np.full(100, 0.7), np.repeat([1.0, 0.0], [70, 30]), bins=1) < 1e-9
    assert calibration_error(np.ones(50), np.zeros(50)) == pytest.approx(1.0)
    assert macro_f1(np.array(list("aab")), np.array(list("aab"))) == 1.0
    assert macro_f1(np.array(list("ab")), np.array(list("cc"))) == 0.0

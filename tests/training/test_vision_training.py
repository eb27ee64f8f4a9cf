"""What recognition, attributes and look-alikes are made of: colours, families, classifiers, whitening, tuning."""

import io
import itertools
from dataclasses import replace
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.models import infer_signature
from mlflow.pyfunc import PyFuncModel
from PIL import Image

from models.bundle import load, save
from models.encoders.image import ImageEncoder, backbone
from models.encoders.text import TextEncoder
from models.training.fitting import UNHEARD, Course
from models.vision.agreement import NOBODY, groups
from models.vision.attributes import Attributes
from models.vision.colours import HISTOGRAM, colour_features
from models.vision.families import corners, families, joined, unit
from models.vision.head import softmax
from models.vision.index import Index, nearest
from models.vision.linear import Linear, fit_linear, folds_of, temperature
from models.vision.lookalikes import mutual, towards_neighbours
from models.vision.packs import Line, in_order
from models.vision.prototypes import Prototypes
from models.vision.recognition import Expert, Recognition
from models.vision.settings import (
    AttributesSettings,
    HeadSettings,
    RecognitionSettings,
    TuningSettings,
)
from models.vision.sight import Sight
from models.vision.whitening import Directions, Whitening


def on_white(colour: tuple[int, int, int], side: int = 32) -> np.ndarray:
    cells = np.full((side, side, 3), 255, np.uint8)
    cells[8:24, 8:24] = colour
    return cells


def test_colours_are_those_of_the_object_not_of_the_ground():
    whole = np.full((32, 32, 3), (200, 20, 20), np.uint8)
    found = colour_features(np.stack([on_white((200, 20, 20)), whole, on_white((20, 20, 200))]))
    alike = found[:, :HISTOGRAM] @ found[:, :HISTOGRAM].T
    assert alike[0, 1] > 0.95
    assert alike[0, 2] < 0.2
    np.testing.assert_allclose(np.diag(alike), 1.0, rtol=1e-4)


def test_colours_of_a_ring_and_of_nothing_are_finite():
    ring = on_white((10, 120, 10))
    ring[10:22, 10:22] = 255
    assert np.isfinite(colour_features(np.stack([ring, np.full_like(ring, 255)]))).all()


def test_families_hold_near_twins_together_in_chains():
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(60, 40)).astype(np.float32)
    vectors[1] = vectors[0] + 0.01
    vectors[2] = vectors[1] + 0.01
    found = families(vectors, 0.9)
    assert found[0] == found[1] == found[2]
    assert len(np.unique(found)) == 58
    assert families(vectors[:0], 0.9).shape == (0,)


def test_corners_are_rows_of_one_class_that_are_like_each_other_and_unlike_the_rest():
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(203, 16)).astype(np.float32)
    labels = np.repeat([0, 1, 2], [100, 100, 3])
    vectors[labels == 1] += 9
    apart = np.array([*range(90, 100), *range(190, 200)])
    vectors[apart, 0] += 12
    found = corners(vectors, labels, 0.1)
    assert np.flatnonzero(found).tolist() == apart.tolist()
    assert not corners(vectors, labels, 0.001).any()


def test_alike_by_any_measure_is_alike():
    found = joined([np.array([0, 0, 1, 2]), np.array([5, 6, 6, 7])])
    assert found[0] == found[1] == found[2] != found[3]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=60), st.integers(1, 6))
def test_folds_keep_groups_together(groups, count):
    groups = np.array(groups)
    folds = folds_of(groups, count, 1)
    assert all(len(np.unique(folds[groups == one])) == 1 for one in groups)
    assert folds.max() < min(count, len(np.unique(groups)))


def test_a_linear_classifier_learns_and_is_calibrated_on_held_out_rows():
    draw = np.random.default_rng(2)
    truth = draw.integers(0, 3, 600)
    vectors = (2.0 * np.eye(3)[truth] + draw.normal(size=(600, 3))).astype(np.float32)
    folds = np.arange(600) % 3
    made, held = fit_linear(vectors[:400], truth[:400], 3, folds[:400], [1.0, 10.0, 100.0])
    assert held.shape == (400, 3)
    logits = made.logits(vectors[400:])
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    right = shares.argmax(1) == truth[400:]
    assert right.mean() > 0.75
    assert abs(shares.max(1).mean() - right.mean()) < 0.08


def test_a_small_part_that_is_held_out_is_not_learned_from():
    draw = np.random.default_rng(5)
    vectors = draw.normal(size=(400, 300)).astype(np.float32)
    truth = draw.integers(0, 2, 400)
    folds = np.where(np.arange(400) < 30, 0, -1)
    _, held = fit_linear(vectors, truth, 2, folds, [1000.0], skipped=-1)
    assert (held[:30].argmax(1) == truth[:30]).mean() < 0.8


def test_whitening_evens_out_the_directions():
    draw = np.random.default_rng(3)
    vectors = (draw.normal(size=(500, 6)) * [9, 5, 3, 1, 0.5, 0.1]).astype(np.float32)
    made = Whitening.of(vectors, 4, 0.0, 0)
    turned = (vectors - made.mean) @ made.turn
    np.testing.assert_allclose(turned.std(0), 1.0, atol=0.05)
    np.testing.assert_allclose(np.linalg.norm(made(vectors), axis=1), 1.0, atol=1e-5)


def in_kinds(draw, kinds=20, each=5):
    """Vectors whose kinds differ in three quiet directions, and all of them by chance in three loud ones; the kinds."""
    own = np.repeat(np.arange(kinds), each)
    quiet = draw.normal(size=(kinds, 3))[own] + 0.05 * draw.normal(size=(len(own), 3))
    return np.hstack([quiet, 9 * draw.normal(size=(len(own), 3))]).astype(np.float32), own


def alike(vectors, own):
    """The share whose nearest other is of the same kind."""
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    return (own[cosines.argmax(1)] == own).mean()


def test_what_pairs_differ_in_counts_little():
    vectors, own = in_kinds(np.random.default_rng(6))
    directions = Directions.of(vectors, 6, 0)
    pairs = np.stack([np.arange(0, len(own), 5), np.arange(1, len(own), 5)])
    plain = directions.evened(4, 100.0)
    learned = directions.paired(vectors, pairs, 4, 1e-5)
    assert alike(plain(vectors), own) < 0.3
    assert alike(learned(vectors), own) > 0.9
    assert learned.turn.shape == (6, 4)


def test_pairs_that_are_the_same_to_the_pixel_leave_finite_vectors():
    vectors = np.repeat(np.random.default_rng(2).normal(size=(40, 5)), 2, axis=0).astype(np.float32)
    directions = Directions.of(vectors, 5, 0)
    same = np.arange(80).reshape(-1, 2).T
    for pairs in (same, same[:, :0]):
        found = directions.paired(vectors, pairs, 3, 0.3)(vectors)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-4)


@pytest.mark.parametrize("least", [0, 40])
def test_a_pair_finds_one_another(least):
    draw = np.random.default_rng(8)
    vectors = unit(draw.normal(size=(150, 4)).astype(np.float32))
    vectors[10:20] = vectors[10]
    gallery = Index.of(vectors, least, 4, 0)
    found = {tuple(pair) for pair in mutual(gallery, 3).T.tolist()}
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    near = [set(np.argsort(-row, kind="stable")[:3].tolist()) for row in cosines]
    apart = [at for at in range(150) if not 10 <= at < 20]
    expected = {(a, b) for a in apart for b in apart if a < b and b in near[a] and a in near[b]}
    others = {pair for pair in found if not {*pair} & {*range(10, 20)}}
    # An index looks at most cells, not at all.
    assert others == expected if not least else len(others ^ expected) < 0.1 * len(expected)
    assert all(a < b for a, b in found) and any(10 <= a < b < 20 for a, b in found)
    assert mutual(Index(vectors[:0]), 3).shape == (2, 0)


def test_nearest_is_exact():
    draw = np.random.default_rng(4)
    gallery = draw.normal(size=(70, 8)).astype(np.float32)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    ((places, scores),) = list(nearest(gallery[:9], gallery, 6))
    expected = np.argsort(-(gallery[:9] @ gallery.T), axis=1)[:, :6]
    np.testing.assert_array_equal(places, expected)
    assert (np.diff(scores) <= 0).all() and (places[:, 0] == np.arange(9)).all()
    drawn = towards_neighbours(gallery, Index(gallery), 3, 2.0)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1.0, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(*[st.sampled_from(["", "a", "b", "c"])] * 2), min_size=2, max_size=40),
    st.integers(1, 12),
    st.data(),
)
def test_a_filtered_search_is_the_whole_one_without_who_disagrees(rows, count, data):
    asked = data.draw(st.integers(1, len(rows) - 1))
    columns = [np.array(cells, dtype=object) for cells in zip(*rows, strict=True)]
    numbers = groups(columns, len(rows))
    for one, other in itertools.product(range(len(rows)), repeat=2):
        agree = "" not in rows[one] and rows[one] == rows[other]
        assert (numbers[one] == numbers[other] != NOBODY) == agree
    vectors = np.random.default_rng(len(rows)).normal(size=(len(rows), 5)).astype(np.float32)
    gallery = vectors[asked:]
    ((every, scores),) = nearest(vectors[:asked], gallery, len(gallery))
    ((places, found),) = nearest(
        vectors[:asked], gallery, count, (numbers[:asked], numbers[asked:])
    )
    for row in range(asked):
        kept = (numbers[asked:][every[row]] == numbers[row]) & (numbers[row] != NOBODY)
        wanted = every[row][kept][:count]
        np.testing.assert_array_equal(places[row][: len(wanted)], wanted)
        np.testing.assert_array_equal(found[row][: len(wanted)], scores[row][kept][:count])
        assert (places[row][len(wanted) :] == NOBODY).all()


def test_lines_are_read_from_top_to_bottom_and_left_to_right():
    lines = [Line("d", 60, 41, 12, 1), Line("b", 50, 3, 10, 1), Line("c", 5, 40, 12, 1)]
    lines.append(Line("a", 5, 0, 10, 1))
    assert "".join(line.text for line in in_order(lines)) == "abcd"
    assert in_order([]) == []


def small_encoder() -> ImageEncoder:
    torch.manual_seed(0)
    network = backbone("test_efficientnet", 32, None)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    return ImageEncoder.timm(
        "test_efficientnet", weights, 32, (0.5,) * 3, (0.5,) * 3, layers=[1, 3]
    )


def test_parts_of_a_vector_are_where_the_encoder_says():
    encoder = small_encoder()
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    vectors = encoder.encode_arrays(pictures)
    parts = encoder.parts
    assert len(parts) == 3 and parts[-1].stop == vectors.shape[1]
    alone = ImageEncoder.timm("test_efficientnet", encoder.weights, 32, (0.5,) * 3, (0.5,) * 3)
    np.testing.assert_allclose(vectors[:, parts[-1]], alone.encode_arrays(pictures), atol=2e-3)


def small_tuning(budget: float) -> TuningSettings:
    return TuningSettings(
        budget=budget,
        rounds=4,
        small=0.6,
        large=0.8,
        batch=8,
        rate=0.003,
        layer_decay=0.9,
        decay=0.0,
        dropout=0.0,
        smoothing=0.0,
        frozen=1,
        smallest=0.8,
        mixing=0.3,
        average=0.2,
    )


def shaded(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Dark pictures; every other one has a bright middle."""
    truth = np.arange(count) % 2
    pictures = np.random.default_rng(1).integers(0, 90, (count, 32, 32, 3)).astype(np.uint8)
    pictures[truth == 1, 8:24, 8:24] += 150
    return pictures, truth


def test_tuning_learns_and_repeats():
    from models.vision.finetuning import tuned_encoder

    pictures, truth = shaded(24)
    encoder = small_encoder()
    vectors = encoder.encode_arrays(pictures)[:, encoder.parts[-1]]
    probe, _ = fit_linear(vectors, truth, 2, np.zeros(24, np.int64), [1.0])
    labels = np.stack([truth, np.where(truth == 0, -1, 0)], axis=1)
    found = [
        tuned_encoder(
            encoder, [probe, probe], pictures, np.arange(20), labels, small_tuning(0.1), 5
        )
        for _ in range(2)
    ]
    (first, heads), (second, _) = found
    assert first.identity == second.identity != encoder.identity
    assert first.weights.keys() == encoder.weights.keys()
    kept = {
        name
        for name, value in encoder.weights.items()
        if np.array_equal(value, first.weights[name])
    }
    # The frozen part, its norms folded while the others learned, comes back as it was.
    assert {"conv_stem.weight", "bn1.weight", "bn1.running_mean"} <= kept
    assert "conv_head.weight" not in kept
    assert heads[0].logits(first.encode_arrays(pictures)).shape == (24, 2)


class Killed(Exception):
    pass


def test_tuning_that_was_killed_goes_on_to_equal_weights(tmp_path):
    from models.vision.finetuning import tuned_encoder

    pictures, truth = shaded(24)
    encoder = small_encoder()
    vectors = encoder.encode_arrays(pictures)[:, encoder.parts[-1]]
    probe, _ = fit_linear(vectors, truth, 2, np.zeros(24, np.int64), [1.0])
    tuning = replace(small_tuning(1.0), rounds=6, dropout=0.2)

    def tuned(course: Course) -> tuple[str, np.ndarray]:
        found, (head,) = tuned_encoder(
            encoder, [probe], pictures, np.arange(24), truth[:, None], tuning, 5, course
        )
        return found.identity, head.weights

    kept = tmp_path / "kept"

    def until_the_fourth(text: str) -> None:
        if text.startswith("epoch 4"):
            raise Killed

    whole = tuned(UNHEARD)
    with pytest.raises(Killed):
        tuned(Course(until_the_fourth, kept=kept))
    assert kept.exists()
    told: list[str] = []
    again = tuned(Course(told.append, kept=kept))
    assert told[0].startswith("epoch 4")
    assert again[0] == whole[0]
    np.testing.assert_array_equal(again[1], whole[1])
    assert not list(tmp_path.iterdir())


HEADS = HeadSettings(16, 6, 8, 0.01, 0.0, 0.0, 0.0)


def test_attributes_of_a_tuned_network_answer_the_same_from_their_bundle(tmp_path):
    from models.vision.attributes_training import Rows, fit

    pictures, truth = shaded(30)
    values = {
        "shade": ["bright" if one else "dark" for one in truth],
        "kind": ["" if at % 3 == 0 else "mug" if at % 2 else "cup" for at in range(30)],
        "maker": ["Acme"] * 30,
    }
    titles = [f"{'mug' if at % 2 else 'cup'} {chr(97 + at)}" if at < 20 else "" for at in range(30)]
    settings = AttributesSettings(["colours"], 0.999, 32, 1, HEADS, small_tuning(0.06))
    rows = Rows(titles, pictures[4:], np.arange(4, 30), values)
    model = fit(rows, small_encoder(), TextEncoder.hashing(16), settings, 0)
    assert [view.sources for view in model.views] == [
        ("picture",),
        ("title",),
        ("title", "picture"),
        ("picture",),
    ]
    frame = pd.DataFrame({"title": titles[8:24]})
    save(model.to_bundle(), tmp_path / "bundle")
    again = Attributes.from_bundle(load(tmp_path / "bundle"))
    pictured = np.arange(10)
    for name, (shares, spoke) in model.of_parts(frame, pictures[8:18], pictured).items():
        other, _ = again.of_parts(frame, pictures[8:18], pictured)[name]
        np.testing.assert_allclose(shares, other, atol=1e-2)
        np.testing.assert_allclose(shares.sum(1), 1.0, atol=1e-5)
        assert spoke[:12].all() == (name != "maker")
    assert set(model.classes) == set(values)


def test_recognition_of_many_pictures_weighs_what_it_tried():
    from models.vision.recognition_training import fit

    pictures, truth = shaded(40)
    settings = RecognitionSettings(
        ["colours"], [1.0, 10.0], 0.999, 4, 2, 60, 8.0, HEADS, small_tuning(0.06)
    )
    told: list[str] = []
    names = [f"class {one}" for one in truth]
    model = fit(pictures, names, small_encoder(), settings, 0, Course(told.append))
    found = model.of_arrays(pictures)
    assert (found.argmax(1) == truth).mean() > 0.9
    assert any("the tuned network: " in line for line in told)
    assert model.strangeness(np.full((2, 32, 32, 3), 250, np.uint8)).shape == (2,)
    few = fit(pictures[:6], names[:6], small_encoder(), settings, 0)
    assert len(few.experts) == 1 and few.of_arrays(pictures[6:10]).shape == (4, 2)


def plain(shades: list[int], count: int) -> np.ndarray:
    """`count` noisy pictures of each brightness."""
    draw = np.random.default_rng(4)
    level = np.repeat(np.array(shades), count)[:, None, None, None]
    noise = draw.integers(-8, 8, (len(level), 32, 32, 3))
    side = np.where(np.arange(32) < 16, 1.0, 0.5)[None, None, :, None]
    return (level * side + 8 + noise.clip(-8)).clip(0, 255).astype(np.uint8)


def test_a_class_is_taught_from_three_pictures_and_a_stranger_is_told(tmp_path):
    known, truth = plain([20, 120], 10), np.repeat([0, 1], 10)
    sight = Sight(ImageEncoder.pixels())
    vectors = sight.see(known)
    probe, _ = fit_linear(vectors, truth, 2, np.arange(20) % 2, [10.0])
    prototypes = Prototypes.of(vectors, truth, 2)
    model = Recognition(
        ["dark", "middle"], (Expert(sight, probe),), np.array([0.5, 0.5]), prototypes
    )
    strange = np.ascontiguousarray(plain([230], 6)[:, :, ::-1])
    assert model.strangeness(strange).min() > model.strangeness(known).max()
    taught = model.with_class("mirrored", strange[:3])
    save(taught.to_bundle(), tmp_path / "bundle")
    taught = Recognition.from_bundle(load(tmp_path / "bundle"))
    found = taught.of_arrays(np.concatenate([known, strange[3:]]))
    np.testing.assert_allclose(found.sum(1), 1.0, atol=1e-5)
    assert found.argmax(1).tolist() == [*truth.tolist(), 2, 2, 2]
    with pytest.raises(ValueError, match="is known"):
        taught.with_class("dark", known)
    bare = Recognition(["dark", "middle"], (Expert(sight, probe),), np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match="without prototypes"):
        bare.strangeness(known)


def test_parts_of_a_vector_are_heard_by_direction_alone():
    draw = np.random.default_rng(7)
    truth = draw.integers(0, 2, 300)
    vectors = draw.normal(size=(300, 6)).astype(np.float32)
    vectors[:, 0] += 4 * truth - 2
    made, _ = fit_linear(vectors, truth, 2, np.arange(300) % 3, [10.0], ends=[2, 6])
    louder = vectors - made.mean
    louder[:, :2] *= 3.0
    np.testing.assert_allclose(made.logits(louder + made.mean), made.logits(vectors), atol=1e-4)
    again = Linear.from_tensors({name: one.copy() for name, one in made.tensors().items()})
    np.testing.assert_array_equal(again.logits(vectors), made.logits(vectors))


def lit(pictures: np.ndarray) -> np.ndarray:
    """The same pictures in other light."""
    return (pictures * 0.6 + 90).clip(0, 255).astype(np.uint8)


def few_shaded(count: int) -> tuple[Recognition, np.ndarray, np.ndarray]:
    """A recogniser of four shades from `count` pictures each; 40 other pictures with their class."""
    shades = [20, 80, 140, 200]
    sight = Sight(ImageEncoder.pixels())
    truth = np.repeat(np.arange(4), count)
    vectors = sight.see(plain(shades, count))
    probe, _ = fit_linear(vectors, truth, 4, np.arange(4 * count) % 4, [100.0])
    model = Recognition(["a", "b", "c", "d"], (Expert(sight, probe),), np.full(4, 0.25, np.float32))
    return model, plain(shades, 10), np.repeat(np.arange(4), 10)


def test_a_recogniser_gets_used_to_other_light_where_it_sees_a_mixture():
    model, pictures, truth = few_shaded(6)
    mild = (pictures * 0.9 + 12).astype(np.uint8)
    before = (model.of_arrays(mild).argmax(1) == truth).mean()
    used = model.aligned(mild, learned=24)
    assert used is not model
    assert (used.of_arrays(mild).argmax(1) == truth).mean() >= before
    # Pictures of one class are no mixture: standardised by themselves they would be told apart by noise.
    assert model.aligned(pictures[:10], learned=24) is model
    with pytest.raises(ValueError, match="one picture alone"):
        model.aligned(pictures[:1], learned=24)


def test_the_classifier_of_a_tuned_network_stays_as_it_is():
    model, pictures, _ = few_shaded(6)
    expert = model.experts[0]
    # It is linear, too, but standardises nothing: to standardise its inputs would change what it was taught.
    assert isinstance(expert.head, Linear)
    width = len(expert.head.mean)
    head = replace(expert.head, mean=np.zeros(width), scale=np.ones(width))
    tuned = replace(model, experts=(replace(expert, head=head),))
    assert model.probes and not tuned.probes
    assert tuned.aligned(pictures, learned=24) is tuned


def test_from_one_picture_a_class_no_class_takes_all():
    model, pictures, truth = few_shaded(1)
    other = lit(pictures)
    used = model.aligned(other, learned=4)
    found = used.of_arrays(other)
    assert (found.argmax(1) == truth).mean() > (model.of_arrays(other).argmax(1) == truth).mean()
    np.testing.assert_allclose(found.sum(1), 1.0, atol=1e-5)
    assert len(np.unique(found.argmax(1))) == 4


def test_logits_that_say_one_thing_many_times_are_heard_once():
    draw = np.random.default_rng(11)
    vectors = draw.normal(size=(200, 8)).astype(np.float32)

    def told(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        one = np.ones(1, np.float32)
        bare = Linear(
            np.zeros(8), np.ones(8), np.zeros(0, np.int64), weights, 3 * np.arange(8), one
        )
        used = bare.without_hubs(vectors, 0.45, 0.5, 2.5)
        return bare.logits(vectors), used.logits(vectors)

    _, apart = told(np.eye(8, dtype=np.float32))
    shared = np.eye(8, dtype=np.float32) * 0.2
    shared[0] = 1.0
    before, together = told(shared)
    assert apart.std(0).mean() > 4 * together.std(0).mean()
    np.testing.assert_allclose(apart.std(0), 2.5, rtol=0.01)
    np.testing.assert_allclose(together.mean(0), 0.0, atol=1e-3)
    assert len(np.unique(before.argmax(1))) < len(np.unique(together.argmax(1)))


def test_two_examples_a_class_are_told_as_surely_as_they_are_right():
    draw = np.random.default_rng(12)
    centres = 0.7 * draw.normal(size=(40, 30))
    gaps = {}
    for each in (2, 30):
        truth = np.repeat(np.arange(40), each)
        seen = (centres[truth] + draw.normal(size=(len(truth), 30))).astype(np.float32)
        folds = np.tile(np.arange(each) % 5, 40)
        made, held = fit_linear(seen, truth, 40, folds, [10.0])
        asked = np.tile(np.arange(40), 25)
        shares = softmax(
            made.logits((centres[asked] + draw.normal(size=(1000, 30))).astype(np.float32))
        )
        gaps[each] = shares.max(1).mean() - (shares.argmax(1) == asked).mean()
        fell = float(made.temperature[0]) / temperature(held, truth)
        assert fell == pytest.approx(0.829 if each == 2 else 1.0, abs=0.01)
    assert abs(gaps[2]) < 0.08 and abs(gaps[30]) < 0.08


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_rows_still_have_a_whitening(count):
    vectors = np.random.default_rng(0).normal(size=(count, 5)).astype(np.float32)
    assert Whitening.of(vectors, 3, 1.0, 0)(vectors).shape[0] == count


def striped(count: int) -> np.ndarray:
    """Noisy pictures with stripes."""
    draw = np.random.default_rng(3)
    cells = np.zeros((count, 32, 32, 3))
    cells[:, ::4] = 200
    return (cells + draw.integers(0, 50, cells.shape)).astype(np.uint8)


@pytest.mark.parametrize("tuned_from", [0, 8])
def test_a_class_that_was_held_out_is_none_of_the_known(tuned_from):
    from models.vision.recognition_training import fit

    pictures, truth = shaded(120)
    settings = RecognitionSettings(
        ["colours"], [1.0, 10.0], 0.999, 4, 0, 0, tuned_from, HEADS, small_tuning(0.0)
    )
    names = ["bright" if one else "dark" for one in truth]
    model = fit(pictures[:100], names[:100], ImageEncoder.pixels(), settings, 0)
    asked = [*bytes_of(pictures[100:]), *bytes_of(striped(10))]
    found = model.predict(pd.DataFrame({"bytes": asked}))
    assert found["known"][:20].mean() >= 0.8
    assert not found["known"][20:].any()
    assert found["confidence"].between(0, 1).all()
    few = fit(pictures[:2], names[:2], ImageEncoder.pixels(), settings, 0)
    assert few.predict(pd.DataFrame({"bytes": asked[-1:]}))["known"].all()


def bytes_of(pictures: np.ndarray) -> list[bytes]:
    """Decoded pictures as files."""
    found = []
    for cells in pictures:
        out = io.BytesIO()
        Image.fromarray(cells).save(out, "PNG")
        found.append(out.getvalue())
    return found


def served(model: Recognition | Attributes, asked: pd.DataFrame, folder: Path) -> PyFuncModel:
    """The model as MLflow loads it, with the signature of what is asked."""
    save(model.to_bundle(), folder / "bundle")
    mlflow.pyfunc.save_model(
        folder / "model",
        loader_module="models.pyfunc",
        data_path=str(folder / "bundle"),
        signature=infer_signature(asked, model.predict(asked)),
        pip_requirements=[],
    )
    return mlflow.pyfunc.load_model(str(folder / "model"))


def test_a_recogniser_with_a_tuned_network_is_served_from_bytes(tmp_path):
    from models.vision.recognition_training import fit

    pictures, truth = shaded(40)
    settings = RecognitionSettings(
        ["colours"], [1.0, 10.0], 0.999, 4, 2, 60, 8.0, HEADS, small_tuning(0.06)
    )
    names = ["bright" if one else "dark" for one in truth]
    model = fit(pictures, names, small_encoder(), settings, 0)
    asked = pd.DataFrame({"bytes": bytes_of(pictures)})
    server = served(model, asked, tmp_path)
    batch = server.predict(asked)
    assert (batch["label"] == names).mean() > 0.9
    single = server.predict(asked.iloc[[3]])
    assert single["label"].tolist() == [batch["label"][3]]
    assert single["confidence"][0] == pytest.approx(batch["confidence"][3], abs=1e-3)


def test_attributes_with_a_tuned_network_are_served_from_bytes_and_titles(tmp_path):
    from models.vision.attributes_training import Rows, fit

    pictures, truth = shaded(40)
    values = {"shade": ["bright" if one else "dark" for one in truth]}
    titles = [f"{shade} cup" if at % 2 else "" for at, shade in enumerate(values["shade"])]
    settings = AttributesSettings(["colours"], 0.999, 32, 1, HEADS, small_tuning(0.06))
    rows = Rows(titles, pictures, np.arange(40), values)
    model = fit(rows, small_encoder(), TextEncoder.hashing(16), settings, 0)
    asked = pd.DataFrame({"title": titles, "bytes": bytes_of(pictures)})
    server = served(model, asked, tmp_path)
    batch = server.predict(asked)
    assert (batch["shade"] == values["shade"]).mean() > 0.9
    single = server.predict(asked.iloc[[3]])
    assert single["shade"].tolist() == [batch["shade"][3]]
    assert single["shade_confidence"][0] == pytest.approx(batch["shade_confidence"][3], abs=1e-3)


def test_a_field_that_no_picture_shows_is_not_read_from_pictures():
    from models.vision.attributes_training import Rows, fit

    pictures, truth = shaded(24)
    values = {
        "shade": ["bright" if one else "dark" for one in truth] + [""] * 16,
        "kind": [""] * 24 + ["mug", "cup"] * 8,
    }
    titles = [""] * 24 + [f"{kind} {chr(97 + at)}" for at, kind in enumerate(values["kind"][24:])]
    read = TextEncoder.hashing(16).encode(titles)
    rows = Rows(titles, pictures, np.arange(24), values, read)
    settings = AttributesSettings(["colours"], 0.999, 32, 1, HEADS, small_tuning(0.06))
    model = fit(rows, small_encoder(), TextEncoder.hashing(16), settings, 0)
    assert {view.sources: sorted(view.heads) for view in model.views} == {
        ("picture",): ["shade"],
        ("title",): ["kind"],
    }
    found = model.predict(pd.DataFrame({"bytes": bytes_of(pictures[:3])}))
    assert found["kind"].isna().all() and found["shade"].notna().all()

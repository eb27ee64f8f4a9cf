"""Fitting of a recogniser: classifiers on frozen features and, where there are enough pictures, a tuned network."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models.encoders.image import ImageEncoder
from models.training.fitting import UNHEARD, Course
from models.vision.attributes import pool_weights
from models.vision.augmenting import augmented
from models.vision.families import corners, families
from models.vision.finetuning import tuned_encoder
from models.vision.head import log_softmax
from models.vision.head_training import Examples, fit_heads
from models.vision.kinship import fit_kin, looks
from models.vision.linear import LEAST, Linear, fit_linear, folds_of
from models.vision.prototypes import Prototypes
from models.vision.recognition import ALL_KNOWN, FEW, Expert, Recognition
from models.vision.settings import RecognitionSettings
from models.vision.sight import Sight

HELD_OUT = 20
"""One of so many parts of the rows is held out where a network is tuned, and as many rows that stand apart."""
LEARNED = -1
"""The fold of rows that are never held out."""
KNOWN = 0.95
"""Share of pictures of known classes that are to be held for such."""
PROBED = 3_000_000_000
"""Numbers of the vectors times classes up to which a probe is fitted."""


def fit(
    pictures: np.ndarray,
    labels: Sequence[str],
    encoder: ImageEncoder,
    settings: RecognitionSettings,
    seed: int,
    course: Course = UNHEARD,
) -> Recognition:
    """The recogniser of pictures (n, size, size, 3) uint8 with their labels (n,).

    encoder: of several layers. What is chosen (strength, temperature, weights) is chosen on rows held out with
    everything that looks like them.
    """
    classes = sorted(set(labels))
    place = {name: at for at, name in enumerate(classes)}
    truth = np.array([place[label] for label in labels], np.int64)
    shares = np.bincount(truth, minlength=len(classes)) / len(truth)
    sight = Sight(encoder, tuple(settings.beside), mirrored=True)
    vectors = sight.see(pictures)
    groups = families(vectors, settings.alike)
    many = settings.tuned_from and len(labels) >= settings.tuned_from * len(classes)
    folds = folds_of(groups, HELD_OUT if many else settings.folds, seed)
    course.say(
        f"{len(labels)} pictures of {len(classes)} classes in {len(np.unique(groups))} families"
    )
    if not many or folds.max() == 0 or len(classes) < 2:
        experts = [_from_few(sight, pictures, vectors, truth, len(classes), folds, settings, seed)]
        kin = fit_kin(looks([vectors]), truth, seed)
    else:
        # The last fold is that of the smallest families. What is asked later may be less like what is known than
        # these are, so that rows that stand apart have their say, too.
        out = (folds == folds.max()) | corners(vectors, truth, 1 / HELD_OUT)
        experts, kin = _from_many(
            sight, pictures, vectors, truth, len(classes), out, settings, seed, course
        )
        folds = np.where(out, 0, LEARNED)
    first = experts[0].sight
    if first is sight:
        told = vectors
        # Prototypes cost next to nothing: all rows are held out, not just those of the dear classifiers.
        folds = folds_of(groups, settings.folds, seed)
    else:
        # The tuned network, where it alone is left, sees other things than the frozen one.
        told = first.see(pictures)
    prototypes = Prototypes.of(told, truth, len(classes))
    limit = strangest(told, truth, len(classes), folds)
    return Recognition(classes, tuple(experts), shares.astype(np.float32), prototypes, limit, kin)


def strangest(vectors: np.ndarray, truth: np.ndarray, classes: int, folds: np.ndarray) -> float:
    """The strangeness that `KNOWN` of the held-out rows do not exceed; with too few, that of no picture.

    vectors (n, d), truth (n,). folds (n,): each but `LEARNED` is held out once, and judged by prototypes of the others.
    A row whose class the others lack is left out.
    """
    found = []
    for fold in np.unique(folds[folds != LEARNED]):
        out = folds == fold
        rows = np.flatnonzero(out & np.isin(truth, truth[~out]))
        if len(rows):
            others = Prototypes.of(vectors[~out], truth[~out], classes)
            found.append(others.strangeness(vectors[rows]))
    strange = np.concatenate(found) if found else np.zeros(0)
    return float(np.quantile(strange, KNOWN)) if len(strange) >= LEAST else ALL_KNOWN


def _from_few(
    sight: Sight,
    pictures: np.ndarray,
    vectors: np.ndarray,
    truth: np.ndarray,
    classes: int,
    folds: np.ndarray,
    settings: RecognitionSettings,
    seed: int,
) -> Expert:
    """A linear probe that learns from changed copies, too, where a class has several pictures."""
    alone = len(truth) < FEW * classes
    copies = 0 if alone else min(settings.copies, -(-settings.enough // len(truth)) - 1)
    kin = [
        sight.see(augmented(pictures, settings.tuning.smallest, seed + at)) for at in range(copies)
    ]
    seen = np.concatenate(kin) if kin else None
    ends = sight.ends(vectors.shape[1])
    probe, _ = fit_linear(vectors, truth, classes, folds, settings.strengths, seen, ends=ends)
    return Expert(sight, probe)


def _from_many(
    sight: Sight,
    pictures: np.ndarray,
    vectors: np.ndarray,
    truth: np.ndarray,
    classes: int,
    out: np.ndarray,
    settings: RecognitionSettings,
    seed: int,
    course: Course,
) -> tuple[list[Expert], np.ndarray]:
    """A linear probe, a classifier with a hidden layer and a tuned network, weighed on the rows that are `out` (n,), and what
    look-alikes among these say of one another (see `kinship`).

    These are looked at twice, as they are and changed: what is asked later differs more from what was learned from than
    rows of the same shop, which alone would make every expert too sure.
    """
    changed = augmented(pictures[out], settings.tuning.smallest, seed)
    seen = np.concatenate([vectors, sight.see(changed)])
    labels = np.concatenate([truth, truth[out]])
    held = np.concatenate([out, np.ones(len(changed), bool)])
    wanted = labels[held]
    found: list[tuple[str, Expert, np.ndarray]] = []
    plain = {id(sight): vectors[out]}
    if seen.size * classes <= PROBED:
        folds = np.where(held, 0, LEARNED)
        ends = sight.ends(seen.shape[1])
        probe, told = fit_linear(
            seen, labels, classes, folds, settings.strengths, skipped=LEARNED, ends=ends
        )
        found.append(("the probe", Expert(sight, probe), told[held] / probe.temperature))
    examples = Examples(seen, np.arange(len(seen)), labels[:, None])
    heads, answers, curves = fit_heads(examples, held, [classes], settings.heads, seed)
    course.curves(curves, "classifier")
    found.append(("the classifier", Expert(sight, heads[0]), answers[0]))
    if sight.encoder.learned and settings.tuning.budget:
        learned, head = tune(
            pictures, vectors, truth, classes, out, sight.encoder, settings, seed, course
        )
        eye = Sight(learned, (), mirrored=True)
        plain[id(eye)] = eye.see(pictures[out])
        views = np.concatenate([plain[id(eye)], eye.see(changed)])
        head = head.warmed(head.logits(views), wanted)
        found.append(("the tuned network", Expert(eye, head), head.logits(views)))
    weights = pool_weights([log_softmax(logits) for _, _, logits in found], wanted)
    for (name, _, logits), weight in zip(found, weights, strict=True):
        right = float((logits.argmax(1) == wanted).mean())
        course.say(f"{name}: {right:.3f} of {len(wanted)} held-out views, weight {weight:.2f}")
    kept = [
        replace(expert, weight=weight)
        for (_, expert, _), weight in zip(found, weights, strict=True)
        if weight > 0
    ]
    looked = {id(one.sight): plain[id(one.sight)] for one in kept}
    return kept, fit_kin(looks(list(looked.values())), truth[out], seed)


def tune(
    pictures: np.ndarray,
    vectors: np.ndarray,
    truth: np.ndarray,
    classes: int,
    out: np.ndarray,
    encoder: ImageEncoder,
    settings: RecognitionSettings,
    seed: int,
    course: Course,
) -> tuple[ImageEncoder, Linear]:
    """The network tuned on the rows that are not `out` (n,), and its classifier."""
    rows = np.flatnonzero(~out)
    top = vectors[:, encoder.parts[-1]]
    probe, _ = fit_linear(
        top[rows], truth[rows], classes, np.zeros(len(rows), np.int64), settings.strengths[:1]
    )
    (learned, heads) = tuned_encoder(
        encoder,
        [probe],
        pictures,
        rows,
        truth[:, None],
        settings.tuning,
        seed,
        course,
    )
    return learned, heads[0]

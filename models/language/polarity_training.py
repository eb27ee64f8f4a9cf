"""Fitting of the polarity model: the voices on all rows, the model that decides on rows that they had not seen."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import scipy.sparse as sp

from models.encoders.ngrams import Grams, hashed_ngrams
from models.encoders.text import TextEncoder
from models.language.aspects_marks import Marked, sided
from models.language.lexicon import Lexicon
from models.language.polarity import (
    Deciding,
    Frozen,
    Linear,
    Passages,
    Polarity,
    Quick,
    Reader,
    Reading,
    beside,
    chances,
    counts,
    encode,
    heard,
    rate,
    rated_width,
    read,
    surroundings,
    wide_logits,
)
from models.language.polarity_reader import PolarityReader
from models.language.settings import EncoderSettings, PolarityReaderSettings, PolaritySettings
from models.training.settings import ONE, Devices

SMOOTHING = 0.5
COPIES = Grams(words=0, low=6, high=6, buckets=2)
HEAD_STRENGTHS = (0.003, 0.01, 0.03, 0.1)
PRIOR_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
SOME = 1000
"""Texts whose length stands for all."""
FEWEST = 20
"""Rows below which nothing is held back, as where all texts are one: the commonest label is all that is learned."""


@dataclass(frozen=True)
class Encoding:
    """The frozen encoder that a model asks, and how much.

    vectors (n, width): of the texts that are fitted on, where they are known already; only texts with one (a row without
    NaN) are read then.
    """

    encoder: TextEncoder
    use: EncoderSettings
    vectors: np.ndarray | None = None


@dataclass(frozen=True)
class Tuning:
    """The encoder that is trained further on the rows, on `devices`, and how.

    marks: names of its language that it reads first.
    """

    encoder: TextEncoder
    settings: PolarityReaderSettings
    devices: Devices = ONE
    marks: Sequence[Marked] = ()


def fit(
    given: Passages,
    truth: np.ndarray,
    labels: Sequence[str],
    levels: np.ndarray | None,
    reading: Reading,
    lexicon: Lexicon,
    encoding: Encoding | None,
    settings: PolaritySettings,
    seed: int,
    say: Callable[[str], None] = lambda text: None,
    tuning: Tuning | None = None,
) -> Polarity:
    """The model fitted on `given` (n) with classes `truth` (n,), places in `labels`. levels, reading: see `Polarity`.

    encoding, tuning: the encoders that read beside the quick voices, in this order; None: there is no such one.
    """
    classes = len(labels)
    folds = folds_of(given, settings.folds, seed)
    if classes < 2 or len(given) < FEWEST or not folds.any():
        return _constant(truth, labels, levels, reading, lexicon)
    words = counts(given, reading.grams, reading.near)
    rated = rate(given, lexicon)
    say(f"{len(given)} texts, {classes} labels: words")
    strength = best_wide(words, truth, classes, folds, settings.wide_strengths)
    voices = [
        out_of_fold(
            lambda rows: fit_wide(words[rows], truth[rows], classes, strength),
            lambda model, rows: wide_logits(model, words[rows]),
            truth,
            folds,
            classes,
        )
    ]
    wide = fit_wide(words, truth, classes, strength)
    whole = heard(voices, rated, levels)
    deciding = decide(whole, truth, classes, settings.stack_strength)
    known = Known(given, truth, Quick(voices, rated, deciding.stack(whole)), levels, classes)
    readers = []
    if encoding is not None and len(given) <= encoding.use.read_until:
        reader, known = _frozen(known, encoding, settings, seed, say)
        readers.append(reader)
    if tuning is not None:
        readers.append(_tuned(known, folds, tuning, settings, seed, say))
    return Polarity(labels, levels, reading, lexicon, wide, deciding, readers)


@dataclass(frozen=True)
class Known:
    """Labelled texts, and what is known of each before an encoder is asked. quick: by models that had not seen it."""

    given: Passages
    truth: np.ndarray
    quick: Quick
    levels: np.ndarray | None
    classes: int

    def deciding(
        self, voice: Frozen | PolarityReader, rows: np.ndarray, said: np.ndarray, strength: float
    ) -> Deciding:
        """What decides where `voice` said `said` (k, outputs) of `rows` (k,), which it had not seen."""
        found = beside(voice, said, self.quick.rows(rows), self.levels)
        return decide(found, self.truth[rows], self.classes, strength)


def _frozen(
    known: Known,
    encoding: Encoding,
    settings: PolaritySettings,
    seed: int,
    say: Callable[[str], None],
) -> tuple[Reader, Known]:
    """A head over the vectors of some of the texts, what decides by what it says of each fold without it, what is known then."""
    use, encoder, vectors, given = encoding.use, encoding.encoder, encoding.vectors, known.given
    order = np.random.default_rng(seed).permutation(len(given))
    if vectors is not None:
        order = order[~np.isnan(vectors[order, 0])]
    rows = np.sort(order[: use.read_rows])
    if vectors is None:
        say(f"reading {len(rows)} texts")
        found = encode(encoder, given.rows(rows))
    else:
        found = vectors[rows]
    truth, classes = known.truth[rows], known.classes
    folds = folds_of(given.rows(rows), settings.folds, seed)
    said, strength = best_head(found, truth, folds, classes)
    voice = Frozen(encoder, fit_head(found, truth, classes, strength))
    deciding = known.deciding(voice, rows, said, settings.stack_strength)
    logits = deciding.stack(beside(voice, said, known.quick.rows(rows), known.levels))
    known = replace(known, quick=known.quick.told(rows, logits))
    return Reader(voice, deciding, use.freely, use.share), known


def _tuned(
    known: Known,
    folds: np.ndarray,
    tuning: Tuning,
    settings: PolaritySettings,
    seed: int,
    say: Callable[[str], None],
) -> Reader:
    """An encoder that is trained on all folds but the first, and what decides by what it says of that one."""
    from models.encoders.tuned import Cutter
    from models.language.polarity_reader_training import train
    from models.training.fitting import spoken

    taught = partial(train, tuning.encoder, seed=seed, devices=tuning.devices)
    start, how = None, tuning.settings
    if how.warm and tuning.marks:
        texts, spans, praised = sided(tuning.marks)
        say(f"training the encoder on {len(texts)} marked names")
        warm = replace(how, epochs=how.warm)
        start = taught(texts, spans, praised, 2, warm, report=spoken(say))
    order = np.random.default_rng(seed).permutation(len(folds))
    rows, held = order[folds[order] != 0], order[folds[order] == 0]
    some = Cutter(tuning.encoder)(surroundings(known.given.rows(rows[:SOME]))[0])
    count, epochs = how.afforded(len(rows), float(np.mean([len(one.ids) for one in some])))
    # As many to learn from for each that weighs as where all are read.
    held = np.sort(held[: math.ceil(count / (settings.folds - 1))])
    rows = np.sort(rows[:count])
    say(f"training the encoder on {len(rows)} rows, {epochs} times")
    texts, spans = surroundings(known.given.rows(rows))
    truth, classes = known.truth[rows], known.classes
    how = replace(how, epochs=epochs)
    voice = taught(texts, spans, truth, classes, how, report=spoken(say), start=start)
    say(f"choosing how much to heed it by {len(held)} rows that were held back")
    said = read(voice, known.given.rows(held))
    deciding = known.deciding(voice, held, said, settings.stack_strength)
    return Reader(voice, deciding, how.freely, how.share)


def _constant(
    truth: np.ndarray,
    labels: Sequence[str],
    levels: np.ndarray | None,
    reading: Reading,
    lexicon: Lexicon,
) -> Polarity:
    """Says how often each label comes, whatever the text."""
    outputs = 1 if len(labels) == 2 else len(labels)
    width = heard(
        [np.zeros((1, outputs))],
        np.zeros((1, rated_width(lexicon, reading.aspects))),
        levels,
    ).shape[1]
    share = (np.bincount(truth, minlength=len(labels)) + SMOOTHING) / (
        len(truth) + SMOOTHING * len(labels)
    )
    bias = np.log(share)
    bias = bias[1:] - bias[:1] if outputs == 1 and len(labels) == 2 else bias
    return Polarity(
        labels,
        levels,
        reading,
        lexicon,
        Linear(np.zeros((reading.grams.buckets, outputs), np.float32), np.zeros(outputs)),
        Deciding(Linear(np.zeros((width, outputs)), bias), np.ones(len(labels))),
    )


def folds_of(given: Passages, folds: int, seed: int) -> np.ndarray:
    """(n,): the fold of each text; equal texts are in one fold, and so are most that differ in a few words.

    Texts go with the least hash among their n-grams, which likeness makes them share (Broder, 1997, On the resemblance
    and containment of documents): copies in two folds would make the voices look better than they are.
    """
    values, offsets = hashed_ngrams(given.texts, COPIES)
    known = np.concatenate([values, np.zeros(1, np.uint64)])
    _, of = np.unique(np.where(np.diff(offsets) > 0, known[offsets[:-1]], 0), return_inverse=True)
    return np.random.default_rng(seed).permutation(int(of.max(initial=0)) + 1)[of] % folds


def out_of_fold(
    make: Callable[[np.ndarray], Linear],
    ask: Callable[[Linear, np.ndarray], np.ndarray],
    truth: np.ndarray,
    folds: np.ndarray,
    classes: int,
) -> np.ndarray:
    """(n, outputs): of each row by a model that was made without its fold."""
    said = np.zeros((len(truth), 1 if classes == 2 else classes))
    for fold in np.unique(folds):
        held = np.flatnonzero(folds == fold)
        said[held] = ask(make(np.flatnonzero(folds != fold)), held)
    return said


def fit_wide(words: sp.csr_matrix, truth: np.ndarray, classes: int, strength: float) -> Linear:
    """One class against the others at a time, each n-gram weighted by the logarithm of its ratio of shares."""
    from sklearn.linear_model import LogisticRegression

    seen = np.bincount(words.indices, minlength=words.shape[1])
    kept = np.flatnonzero(seen >= (2 if words.shape[0] >= 1000 else 1))
    words = words[:, kept]
    size = 1 / np.sqrt(np.maximum(np.diff(words.indptr), 1))
    outputs = 1 if classes == 2 else classes
    weights = np.zeros((len(seen), outputs), dtype=np.float32)
    bias = np.full(outputs, -10.0)
    for output in range(outputs):
        right = truth == (1 if classes == 2 else output)
        if not right.any() or right.all():
            bias[output] = 10.0 if right.any() else -10.0
            continue
        ratio = _log_ratio(words, right)
        scaled = (sp.diags_array(size) @ words @ sp.diags_array(ratio)).tocsr()
        model = LogisticRegression(C=strength, max_iter=100, tol=1e-4).fit(scaled, right)
        weights[kept, output] = model.coef_[0] * ratio
        bias[output] = model.intercept_[0]
    return Linear(weights, bias)


def best_wide(
    words: sp.csr_matrix,
    truth: np.ndarray,
    classes: int,
    folds: np.ndarray,
    strengths: Sequence[float],
) -> float:
    """The strength with which the rows of the first fold are told best by the others."""
    if len(strengths) == 1:
        return strengths[0]
    held, rest = np.flatnonzero(folds == 0), np.flatnonzero(folds != 0)
    losses = []
    for strength in strengths:
        model = fit_wide(words[rest], truth[rest], classes, strength)
        said = chances(wide_logits(model, words[held]))
        losses.append(-np.log(said[np.arange(len(held)), truth[held]] + 1e-12).mean())
    return strengths[int(np.argmin(losses))]


def _log_ratio(words: sp.csr_matrix, right: np.ndarray) -> np.ndarray:
    inside = SMOOTHING + np.asarray(words[right].sum(0), dtype=np.float64).ravel()
    outside = SMOOTHING + np.asarray(words[~right].sum(0), dtype=np.float64).ravel()
    return np.log(inside / inside.sum()) - np.log(outside / outside.sum())


def fit_head(vectors: np.ndarray, truth: np.ndarray, classes: int, strength: float) -> Linear:
    """A linear model over standardised vectors, the standardising folded in."""
    mean, scale = vectors.mean(0), vectors.std(0) + 1e-5
    model = fit_linear((vectors - mean) / scale, truth, classes, strength)
    weights = model.weights / scale[:, None]
    return Linear(weights, model.bias - mean @ weights)


def fit_linear(given: np.ndarray, truth: np.ndarray, classes: int, strength: float) -> Linear:
    """Logistic regression; a class without a row has the least chance."""
    from models.language.logistic_training import regress

    present, codes = np.unique(truth, return_inverse=True)
    if classes == 2 and len(present) == 2:
        return Linear(*regress(given, codes, 1, strength))
    outputs = 1 if classes == 2 else classes
    weights, bias = np.zeros((given.shape[1], outputs)), np.full(outputs, -10.0)
    if outputs == 1:
        bias[:] = 10.0 if present[0] == 1 else -10.0
    elif len(present) == 1:
        bias[present] = 10.0
    else:
        weights[:, present], bias[present] = regress(given, codes, len(present), strength)
    return Linear(weights, bias)


def best_head(
    vectors: np.ndarray, truth: np.ndarray, folds: np.ndarray, classes: int
) -> tuple[np.ndarray, float]:
    """What the head with the best strength says of the rows of each fold, fitted without it; and that strength."""
    tried: list[tuple[float, np.ndarray, float]] = []
    for strength in HEAD_STRENGTHS:

        def fitted(rows: np.ndarray, strength: float = strength) -> Linear:
            return fit_head(vectors[rows], truth[rows], classes, strength)

        said = out_of_fold(fitted, lambda model, rows: model(vectors[rows]), truth, folds, classes)
        loss = -np.log(chances(said)[np.arange(len(truth)), truth] + 1e-12).mean()
        tried.append((float(loss), said, strength))
    _, said, strength = min(tried, key=lambda one: one[0])
    return said, strength


def decide(given: np.ndarray, truth: np.ndarray, classes: int, strength: float) -> Deciding:
    """The deciding model, and the share of the classes' frequencies to divide by that is best for macro-F1.

    Where classes are rare, the likeliest label is seldom theirs; all labels count the same in macro-F1.
    """
    stack = fit_head(given, truth, classes, strength)
    found = chances(stack(given))
    share = np.bincount(truth, minlength=classes) / len(truth)
    share = np.maximum(share, 1 / len(truth))
    best, chosen = -1.0, np.ones(classes)
    for power in PRIOR_SHARES:
        prior = share**power
        value = macro_f1((found / prior).argmax(1), truth, classes)
        # A prior is worth its price in accuracy only for a clear gain.
        if value > best + 0.003:
            best, chosen = value, prior
    return Deciding(stack, chosen)


def macro_f1(said: np.ndarray, truth: np.ndarray, classes: int) -> float:
    """Mean over the classes that occur of the harmonic mean of precision and recall."""
    table = np.bincount(truth * classes + said, minlength=classes * classes).reshape(classes, -1)
    right, real, named = np.diag(table), table.sum(1), table.sum(0)
    f1 = 2 * right / np.maximum(real + named, 1)
    return float(f1[real > 0].mean())

"""Fitting of the attributes model on plain rows: views of picture, title, both and pack, weighed on held-out rows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.encoders.image import ImageEncoder
from models.encoders.text import TextEncoder
from models.training.fitting import UNHEARD, Course
from models.vision.attributes import (
    PACK,
    PACKED,
    PICTURE,
    SITUATIONS,
    TITLE,
    Attributes,
    Reading,
    View,
    pool_weights,
)
from models.vision.families import families, joined
from models.vision.finetuning import tuned_encoder
from models.vision.head import log_softmax
from models.vision.head_training import Examples, fit_heads
from models.vision.linear import fit_linear, folds_of
from models.vision.settings import AttributesSettings
from models.vision.sight import Sight

PROBE = 10.0
"""Strength of the linear classifiers that a tuned network begins with."""
HELD_OUT = 8
"""One of so many parts of the rows is held out."""

WEIGHED = 4_000
"""Held-out rows that weights are chosen on, at most, evenly chosen: more tell no more."""


@dataclass(frozen=True)
class Rows:
    """titles (n,): empty where there is none. pictures (p, s, s, 3) uint8, of the rows `pictured` (p,), ascending.

    values: field to its cells (n,), empty where not known. read: what the text encoder gives of each title (n, d), where
    that is known; a row without a title may hold anything. looked: likewise what the image encoder gives of each picture
    (p, e), which then is not looked at mirrored, too. packs: the text that was read on each row's pack (n,), empty where
    none was; none at all: no row has any.
    """

    titles: Sequence[str]
    pictures: np.ndarray
    pictured: np.ndarray
    values: Mapping[str, Sequence[str]]
    read: np.ndarray | None = None
    looked: np.ndarray | None = None
    packs: Sequence[str] = ()


@dataclass(frozen=True)
class Made:
    """A fitted view, the held-out rows that it can look at, ascending, and each field's logits on them."""

    view: View
    rows: np.ndarray
    logits: Mapping[str, np.ndarray]


def fit(
    rows: Rows,
    image: ImageEncoder | None,
    text: TextEncoder,
    settings: AttributesSettings,
    seed: int,
    course: Course = UNHEARD,
) -> Attributes:
    """The model of all fields. image: of several layers; None where there are no pictures."""
    count = len(rows.titles)
    classes = {
        name: sorted({cell for cell in cells if cell}) for name, cells in rows.values.items()
    }
    places = {name: {value: at for at, value in enumerate(of)} for name, of in classes.items()}
    labels = np.array(
        [[places[name].get(cell, -1) for cell in cells] for name, cells in rows.values.items()],
        np.int64,
    ).T.reshape(count, len(classes))
    titled = np.flatnonzero([bool(title.strip()) for title in rows.titles])
    packed = np.flatnonzero([bool(text.strip()) for text in rows.packs])
    there = {TITLE: titled, PICTURE: rows.pictured, PACK: packed}
    sight = None
    if image is not None and len(rows.pictured):
        sight = Sight(image, tuple(settings.beside), mirrored=rows.looked is None)
    reading = Reading(text, settings.grams)
    kin = [named_alike(rows.titles)]
    # What is seen of each source, and which of it is each row's.
    seen: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if sight is not None:
        vectors = sight.see(rows.pictures, rows.looked)
        seen[PICTURE] = vectors, np.arange(len(vectors))
        looks = np.arange(count) + count
        looks[rows.pictured] = families(vectors, settings.alike)
        kin.append(looks)
    if len(titled):
        seen[TITLE] = titles_read(rows, titled, reading)
    if len(packed):
        seen[PACK] = texts_read(rows.packs, packed, reading)
    groups = joined(kin)
    folds = folds_of(groups, HELD_OUT, seed)
    # The last fold is that of the smallest families; a single one is not held out.
    out = (folds == folds.max()) & (folds > 0)
    course.say(f"{count} rows in {len(np.unique(groups))} families, {int(out.sum())} held out")
    names = list(classes)
    made: list[Made] = []

    def add(
        sources: tuple[str, ...],
        eye: Sight | None,
        at: np.ndarray,
        vectors: np.ndarray,
        place: np.ndarray,
    ) -> None:
        held = out[at]
        columns = learnable(labels[at[~held]])
        if not columns:
            return
        fields = [names[column] for column in columns]
        counts = [len(classes[name]) for name in fields]
        examples = Examples(vectors, place, labels[at][:, columns])
        heads, told, curves = fit_heads(examples, held, counts, settings.heads, seed)
        view = View(
            sources,
            dict(zip(fields, heads, strict=True)),
            eye,
            None if sources == (PICTURE,) else reading,
        )
        made.append(Made(view, at[held], dict(zip(fields, told, strict=True))))
        course.curves(curves, " and ".join(sources))
        course.say(f"the view of {' and '.join(sources)} is fitted")

    for source in (PICTURE, TITLE):
        if source in seen and len(there[source]):
            add((source,), sight if source == PICTURE else None, there[source], *seen[source])
    both = np.intersect1d(titled, rows.pictured)
    if len(both) and sight is not None:
        parts = [
            vectors[place[np.searchsorted(there[one], both)]]
            for one in (PICTURE, TITLE)
            for vectors, place in [seen[one]]
        ]
        add((TITLE, PICTURE), sight, both, np.concatenate(parts, axis=1), np.arange(len(both)))
    enough = settings.tuned_from and len(rows.pictured) >= settings.tuned_from
    shown = learnable(labels[rows.pictured][~out[rows.pictured]])
    if sight is not None and enough and shown:
        chosen = {names[column]: classes[names[column]] for column in shown}
        made.append(
            tuned_view(
                rows, sight, seen[PICTURE][0], labels[:, shown], chosen, out, settings, seed, course
            )
        )
    if PACK in seen:
        add((PACK,), None, packed, *seen[PACK])
    packs = any(PACK in one.view.sources for one in made)
    weights = {
        name: {
            "+".join(sources): weigh(made, name, labels[:, at], sources, out)
            for sources in SITUATIONS + (PACKED if packs else ())
        }
        for at, name in enumerate(classes)
    }
    prior = {}
    for at, (name, of) in enumerate(classes.items()):
        known = labels[:, at][labels[:, at] >= 0]
        prior[name] = np.bincount(known, minlength=len(of)) / max(len(known), 1)
    return Attributes(classes, tuple(one.view for one in made), weights, prior)


def learnable(labels: np.ndarray) -> list[int]:
    """The fields of labels (n, fields), -1 where not known, that have two values or more."""
    return [at for at, of in enumerate(labels.T) if len(np.unique(of[of >= 0])) > 1]


def tuned_view(
    rows: Rows,
    sight: Sight,
    vectors: np.ndarray,
    labels: np.ndarray,
    classes: Mapping[str, list[str]],
    out: np.ndarray,
    settings: AttributesSettings,
    seed: int,
    course: Course,
) -> Made:
    """The view of a network that is tuned on the rows that are not `out`."""
    held = out[rows.pictured]
    mine = labels[rows.pictured]
    top = vectors[:, sight.encoder.parts[-1]]
    probes = []
    for at, of in enumerate(classes.values()):
        known = np.flatnonzero(~held & (mine[:, at] >= 0))
        folds = np.zeros(len(known), np.int64)
        probe, _ = fit_linear(top[known], mine[known, at], len(of), folds, [PROBE])
        probes.append(probe)
    chosen = np.flatnonzero(~held & (mine >= 0).any(1))
    learned, heads = tuned_encoder(
        sight.encoder, probes, rows.pictures, chosen, mine, settings.tuning, seed, course
    )
    eye = Sight(learned, (), mirrored=True)
    seen = eye.see(rows.pictures[held])
    named = {
        name: head.warmed(head.logits(seen), mine[held, at])
        for at, (name, head) in enumerate(zip(classes, heads, strict=True))
    }
    view = View((PICTURE,), named, eye)
    logits = {name: head.logits(seen) for name, head in named.items()}
    return Made(view, rows.pictured[held], logits)


def weigh(
    made: Sequence[Made], name: str, truth: np.ndarray, sources: tuple[str, ...], out: np.ndarray
) -> list[float]:
    """The weight of each view for one field where just `sources` are there, from the held-out rows that have them.

    Text on the pack is heard beside others as far as these rows show: without any it is silent.
    """
    able = [
        at
        for at, one in enumerate(made)
        if set(one.view.sources) <= set(sources) and name in one.view.heads
    ]
    weights = [0.0] * len(made)
    if not able:
        return weights
    drawn = None
    if PACK in sources:
        others = tuple(source for source in sources if source != PACK)
        without = weigh(made, name, truth, others, out) if others else weights
        if any(without):
            drawn = [without[at] for at in able]
    rows = np.flatnonzero(out & (truth >= 0))
    for at in able:
        rows = np.intersect1d(rows, made[at].rows)
    if len(rows) > WEIGHED:
        rows = rows[np.linspace(0, len(rows) - 1, WEIGHED).astype(np.int64)]
    logs = [log_softmax(made[at].logits[name][np.searchsorted(made[at].rows, rows)]) for at in able]
    for at, weight in zip(able, pool_weights(logs, truth[rows], drawn), strict=True):
        weights[at] = weight
    return weights


def titles_read(rows: Rows, titled: np.ndarray, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    """What is read of each different title of the rows `titled` (t,), and which of these is each row's, (t,)."""
    if rows.read is None:
        return texts_read(rows.titles, titled, reading)
    titles = np.array([rows.titles[at] for at in titled.tolist()], object)
    names, first, place = np.unique(titles, return_index=True, return_inverse=True)
    return reading.complete(rows.read[titled[first]], names.tolist()), place


def texts_read(
    texts: Sequence[str], chosen: np.ndarray, reading: Reading
) -> tuple[np.ndarray, np.ndarray]:
    """What is read of each different text of the rows `chosen` (t,), and which of these is each row's, (t,)."""
    mine = np.array([texts[at] for at in chosen.tolist()], object)
    names, place = np.unique(mine, return_inverse=True)
    return reading.vectors(names.tolist()), place


def named_alike(titles: Sequence[str]) -> np.ndarray:
    """A number for each title (n,): titles of the same letters share it; an empty one shares it with none."""
    plain = [re.sub(r"[\W\d_]+", " ", title.lower()).strip() for title in titles]
    known: dict[str, int] = {}
    return np.array(
        [known.setdefault(name, len(known)) if name else -1 - at for at, name in enumerate(plain)],
        np.int64,
    )

"""Learning to read opinions in one language: what names are, from its texts; their polarity, from labelled ones."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from models.language import aspects_spaceless, aspects_words
from models.language.aspects import Finder, Spoken
from models.language.lexicon import Lexicon
from models.language.opinions import SIDES, OpinionReader, Sentences, around
from models.language.polarity import Polarity, Reading, passages
from models.language.polarity_training import fit as fit_polarity
from models.language.sentiment import LABELS
from models.language.settings import OpinionSettings

PER_TEXT = 10
"""Names of one text that the polarity is learned from at most."""


def fit(
    texts: Sequence[str],
    labelled: Sequence[str],
    labels: Sequence[str],
    support: int,
    spaced: bool,
    rated: Mapping[str, float],
    dictionary: Mapping[str, str],
    settings: OpinionSettings,
    seed: int,
) -> OpinionReader:
    """The reader of a language. texts: what it is to read; labelled (n,): texts with their `labels`, of both sides.

    support: texts that must have a name. spaced: whether spaces set words apart; rated: words with their values,
    dictionary: with their kinds (see `aspects_naming.name_scores`), both used where they do.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(labelled))[: settings.learn]).tolist()
    order = np.sort(rng.permutation(len(texts))[: settings.learn]).tolist()
    known, told = [labelled[row] for row in rows], [labels[row] for row in rows]
    finder = finder_of(
        [texts[row] for row in order],
        known,
        told,
        support,
        spaced,
        Lexicon(rated),
        dictionary,
        settings.least,
    )
    # The lexicon rates no word of Chinese, and reading with it is dear.
    lexicon = Lexicon(rated if spaced else {})
    polarity = polarity_of(known, told, finder, spaced, lexicon, settings, seed)
    return OpinionReader(finder, polarity, spaced)


def finder_of(
    texts: Sequence[str],
    labelled: Sequence[str],
    labels: Sequence[str],
    support: int,
    spaced: bool,
    lexicon: Lexicon,
    dictionary: Mapping[str, str],
    least: float,
) -> Finder:
    """What finds names, learned from `texts` and from `labelled` (n,) with their `labels`. The others: see `fit`."""
    sides = [SIDES.get(label, 0) for label in labels]
    if spaced:
        return aspects_words.learn(texts, labelled, sides, lexicon, least, support, dictionary)
    known = set(labelled)
    every = [*labelled, *(text for text in texts if text not in known)]
    sides += [0] * (len(every) - len(sides))
    return aspects_spaceless.SignFinder(aspects_spaceless.learn(every, sides, support))


def polarity_of(
    labelled: Sequence[str],
    labels: Sequence[str],
    finder: Finder,
    spaced: bool,
    lexicon: Lexicon,
    settings: OpinionSettings,
    seed: int,
) -> Polarity:
    """The polarity of a name, learned from labelled texts (n,) as a whole and from the clauses of their names.

    A clause speaks for its text's side; that is wrong of some, which the whole texts, more and longer, make good.
    """
    kept = [at for at, label in enumerate(labels) if label in LABELS]
    names = [label for label in LABELS if label in {labels[at] for at in kept}]
    whole = [labelled[at] for at in kept]
    truth = np.asarray([names.index(labels[at]) for at in kept], dtype=np.int64)
    cut = Sentences.of(whole)
    spoken = _few(finder.find(cut.texts), cut)
    of = cut.rows[np.asarray([one.text for one in spoken], dtype=np.int64)]
    given = around([cut.texts[one.text] for one in spoken], spoken, spaced)
    texts = [*whole, *(text for text, _ in given)]
    spans = [*[(0, 0)] * len(whole), *(span for _, span in given)]
    grams = settings.grams.of(spaced)
    return fit_polarity(
        passages(texts, spans),
        np.concatenate([truth, truth[of]]),
        names,
        None,
        Reading(grams, grams, aspects=True),
        lexicon,
        None,
        settings.polarity,
        seed,
    )


def _few(spoken: Sequence[Spoken], cut: Sentences) -> list[Spoken]:
    """The first `PER_TEXT` of each text."""
    taken: Counter[int] = Counter()
    kept = []
    for one in spoken:
        row = int(cut.rows[one.text])
        taken[row] += 1
        if taken[row] <= PER_TEXT:
            kept.append(one)
    return kept

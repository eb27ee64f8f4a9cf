"""Which model answers questions: a reader trained on marked ones, a scorer over a frozen cross-encoder, or that as it is."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from models.encoders.reranker import Progress
from models.encoders.text import TextEncoder
from models.language import quoting_training
from models.language.answers import Answers
from models.language.answers_training import fit_answers
from models.language.finding import Finder
from models.language.library import Library
from models.language.marked import Asked, gained
from models.language.quoting import Quoter
from models.language.settings import AnsweringSettings
from models.training.settings import ONE, Devices


def readable(asked: Sequence[Asked], fewest: int) -> bool:
    """Whether there are marked questions enough for training a reader: `fewest`, a quarter of them with an answer."""
    return len(asked) >= fewest and sum(bool(one.spans) for one in asked) >= fewest // 4


def fit(
    library: Library,
    asked: Sequence[Asked],
    plain: Callable[[Library], Answers],
    encoder: Callable[[], TextEncoder] | None,
    finder: Callable[[Library], Finder],
    settings: AnsweringSettings,
    f1: Callable[[str, str], float],
    seed: int,
    say: Callable[[str], None] = lambda text: None,
    progress: Progress = lambda done, what: None,
    devices: Devices = ONE,
) -> Answers | Quoter:
    """The model fitted on `asked`. plain: untrained, with the cross-encoder. encoder: what a reader starts from; None: no
    reader. finder: untrained, of what is to be read.

    Of questions enough for a reader, but fewer than `settings.sure`, some are held back, and the reader is taken where it
    answers those at least as well as the scorer. f1: how good an answer is for a marked one, 0 to 1. devices: what the
    reader is trained on; the scorer is too small to gain by several.
    """
    if encoder is not None and readable(asked, settings.fewest):
        quoter, held = quoting_training.fit(
            library, asked, encoder(), finder(library), settings.quoter, f1, seed, say, devices
        )
        if len(asked) >= settings.sure:
            return quoter
        theirs = scored(library, asked, held.asked, plain, settings, f1, seed)
        told = f"of {len(held.asked)} questions held back the reader answers {held.gained.mean():.3f} right"
        say(f"{told}, the scorer {theirs:.3f}")
        if held.gained.mean() >= theirs:
            return quoter
    model = plain(library)
    if len(asked) >= settings.scored:
        fit_answers(model, asked, settings.scorer, f1, seed, progress)
    else:
        say(f"{len(asked)} questions are marked: too few to learn from")
    return model


def scored(
    library: Library,
    asked: Sequence[Asked],
    held: Sequence[Asked],
    plain: Callable[[Library], Answers],
    settings: AnsweringSettings,
    f1: Callable[[str, str], float],
    seed: int,
) -> float:
    """How well a scorer that is fitted without the items of `held` answers these, 0 to 1."""
    model = plain({one.item: library.get(one.item, ()) for one in asked})
    items = {one.item for one in held}
    fit_answers(model, [one for one in asked if one.item not in items], settings.scorer, f1, seed)
    frame = pd.DataFrame(
        {"item_id": [one.item for one in held], "question": [one.question for one in held]}
    )
    return float(np.mean(gained(model.predict(frame)["answer"].tolist(), held, library, f1)))

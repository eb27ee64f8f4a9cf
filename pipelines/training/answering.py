"""The model that answers questions, from its parameters: the same for the answers stage and the benchmark door."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from models.language.settings import AnsweringSettings
from pipelines.training.trained import TrainedParams

if TYPE_CHECKING:
    import numpy as np

    from models.encoders.reranker import Progress, Reranker
    from models.encoders.text import TextEncoder
    from models.language.answers import Answers
    from models.language.finding import Finder
    from models.language.library import Library
    from models.language.marked import Asked
    from models.language.quoting import Quoter

Known = Callable[["TextEncoder"], Mapping[str, "np.ndarray"]]
NONE = {"package": -5.0, "overlap": 0.2}
"""What the cross-encoder says, untrained, of a sentence that just answers: below it there is no answer."""
WHOLE = 12
"""Layers of the multilingual encoder."""
MEANT = (150.0, -9.65)
"""Slope and shift that make logits as those of the cross-encoder from how far a sentence's cosine, by that encoder, is above
the others': .031 is where a sentence just answers, as was best on 24 questions of ours."""
LATIN = 0.95
"""Of the signs of questions, the share of plain Latin ones from which on the English cross-encoder reads them."""


class AnsweringParams(TrainedParams):
    """What the model is made of and how it is fitted.

    encoder: package, hub:NAME or hashing. reranker: package or overlap; max_tokens: of a question with a passage, as it
    reads them. candidates: sentences that it reads with each question. depth: layers of what a reader starts from, by the
    language; 0: none is trained.
    """

    encoder: str
    reranker: str
    max_tokens: int
    candidates: int
    depth: dict[str, int]
    fitting: AnsweringSettings


def fit(
    params: AnsweringParams,
    library: "Library",
    asked: Sequence["Asked"],
    folder: Callable[[str], Path],
    seed: int,
    say: Callable[[str], None],
    progress: "Progress" = lambda done, what: None,
    known: "Known | None" = None,
) -> "Answers | Quoter":
    """The model fitted on the marked questions `asked` (none: as packaged).

    folder: of a packaged encoder by its name. known: of an encoder, the texts with the vectors that it gave them before.
    """
    from models.language.answering_training import fit as fit_answering
    from pipelines.capabilities.answers import f1

    name = "reranker" if mostly_latin([one.question for one in asked]) else "multilingual"
    depth = params.depth[name]
    reader = partial(reader_encoder, name, folder, depth, params) if depth else None
    foreign = params.encoder == "package" and chinese(library, asked)
    plain = partial(
        untrained, params, folder=folder, progress=progress, known=known, foreign=foreign
    )
    finder = partial(finding, params, folder=folder, foreign=foreign)
    return fit_answering(
        *(library, asked, plain, reader, finder, params.fitting, f1, seed, say, progress),
        devices=params.devices,
    )


def reader_encoder(
    name: str, folder: Callable[[str], Path], depth: int, params: AnsweringParams
) -> "TextEncoder":
    """What a reader starts from."""
    from pipelines.packaged.weights import packed_encoder

    return packed_encoder(name, folder(name), depth, params.fitting.quoter.reader.limit)


def mostly_latin(texts: Sequence[str]) -> bool:
    """Whether texts are in plain Latin letters."""
    whole = "".join(texts)
    return sum(sign.isascii() for sign in whole) >= LATIN * len(whole)


def chinese(library: "Library", asked: Sequence["Asked"]) -> bool:
    """Whether any question or any review is Chinese."""
    from models.language.sentiment import CHINESE, language_of

    texts = chain(
        (one.question for one in asked), (one.text for of in library.values() for one in of)
    )
    return any(language_of(text) == CHINESE for text in texts)


def untrained(
    params: AnsweringParams,
    library: "Library",
    folder: Callable[[str], Path],
    progress: "Progress",
    known: "Known | None",
    foreign: bool,
) -> "Answers":
    """Sentences found by words and meaning, weighed by the packaged cross-encoder as it is.

    foreign: the packaged encoder is the multilingual one, and it weighs what is Chinese, which the cross-encoder can't read.
    """
    from models.language.answers import Answers, Scorer

    encoder = frozen_encoder(params, folder, foreign)
    model = Answers.untrained(
        library,
        encoder,
        frozen_reranker(params, folder),
        params.candidates,
        progress,
        known(encoder) if known else None,
    )
    model.scorer = Scorer.plain(NONE[params.reranker])
    model.meant = MEANT if foreign and params.reranker == "package" else None
    return model


def finding(
    params: AnsweringParams, library: "Library", folder: Callable[[str], Path], foreign: bool
) -> "Finder":
    """What finds the reviews that a reader reads. foreign: the cross-encoder can't read them, as of `untrained`."""
    from models.language.finding import Finder

    reader = None if foreign else frozen_reranker(params, folder)
    return Finder.untrained(library, frozen_encoder(params, folder, foreign), reader)


def frozen_encoder(
    params: AnsweringParams, folder: Callable[[str], Path], foreign: bool
) -> "TextEncoder":
    """What tells the meaning of sentences. foreign: some are Chinese."""
    from pipelines.packaged.encoders import text_encoder
    from pipelines.packaged.weights import packed_encoder

    if foreign:
        return packed_encoder("multilingual", folder("multilingual"), WHOLE, params.max_tokens)
    return text_encoder(params.encoder, folder("text") if params.encoder == "package" else None)


def frozen_reranker(params: AnsweringParams, folder: Callable[[str], Path]) -> "Reranker":
    """The packaged cross-encoder, or what stands for it."""
    from pipelines.packaged.encoders import reranker

    packaged = folder("reranker") if params.reranker == "package" else None
    return reranker(params.reranker, packaged, params.max_tokens)

"""What the models of language are made of and how they are fitted, as it stands in the parameters.

Apart from the models, so that parameters can be read without what fitting imports.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from models.encoders.ngrams import Grams


@dataclass(frozen=True)
class GramSettings:
    """The n-grams of any language (see `Grams`).

    words: the most of one, where spaces set words apart; characters: the fewest and the most of one there. ideographs:
    the fewest and the most of one where they do not. buckets: numbers that n-grams are hashed to, a power of two.
    """

    words: int
    characters: Sequence[int]
    ideographs: Sequence[int]
    buckets: int

    def of(self, spaced: bool) -> Grams:
        """Those of a language whose words are set apart by spaces, or not."""
        low, high = self.characters if spaced else self.ideographs
        return Grams(self.words if spaced else 0, low, high, self.buckets)


@dataclass(frozen=True)
class PolaritySettings:
    """How `polarity_training.fit` fits.

    folds: of the rows that the voices do not see. wide_strengths: inverse penalties of the n-grams' weights, to choose
    from; stack_strength: of the deciding model's.
    """

    folds: int
    wide_strengths: Sequence[float]
    stack_strength: float


@dataclass(frozen=True)
class EncoderSettings:
    """How much a polarity model's encoder is asked.

    read_rows: texts that it reads in fitting at most; read_until: rows above which it is not asked at all, as the quick
    voices have learned enough. freely, share: see `polarity.Reader`.
    """

    read_rows: int
    read_until: int
    freely: int
    share: float


@dataclass(frozen=True)
class PolarityReaderSettings:
    """How `polarity_reader_training.train` learns the polarity of texts, or of given aspects.

    frozen: layers of the encoder, from the first, that stay as they are. epochs, batch: of the labelled rows, before
    which it reads marked names, where there are some, for `warm` epochs; rate: of the other layers' weights, that of the
    new ones is ten times it. fewest: rows from which on it is trained; pieces: of words, in thousands, that it reads in
    all epochs together at most, see `afforded`. freely, share: see `polarity.Reader`.
    """

    frozen: int
    warm: int
    epochs: int
    batch: int
    rate: float
    fewest: int
    pieces: int
    freely: int
    share: float

    def afforded(self, rows: int, length: float) -> tuple[int, int]:
        """How many of `rows`, of `length` pieces each, are read, and in how many epochs.

        >>> settings = PolarityReaderSettings(2, 0, epochs=3, batch=16, rate=1e-4, fewest=300, pieces=600, freely=3000, share=0.04)
        >>> settings.afforded(2_000, 20.0), settings.afforded(2_000, 125.0), settings.afforded(50_000, 125.0)
        ((2000, 3), (2000, 2), (4800, 1))
        """
        count = int(1000 * self.pieces / max(length, 1.0))
        if count < rows:
            return count, 1
        return rows, min(self.epochs, count // max(rows, 1))


@dataclass(frozen=True)
class OpinionSettings:
    """How `opinions_training.fit` learns to read one language.

    learn: texts that names are learned from at most, and labelled ones that polarity is. least: score from which a word
    is a name (see `aspects_naming.names`). grams, polarity: of the model that judges what is said.
    """

    learn: int
    least: float
    grams: GramSettings
    polarity: PolaritySettings


@dataclass(frozen=True)
class TaggingSettings:
    """How `aspects_tagging_training.train` learns what names are.

    frozen: layers of the encoder, from the first, that stay as they are. epochs, batch: of the marked sentences; rate: of
    the other layers' weights, that of the labels' is ten times it. sure: chance from which on a word is part of a name.
    """

    frozen: int
    epochs: int
    batch: int
    rate: float
    sure: float


@dataclass(frozen=True)
class TrustSettings:
    """Which reviews `trust.flags` flags.

    alike: share of the pieces of both texts from which on one is a copy. shortest: letters below which a text may be
    like others by chance (a sign of a script without spaces counts as three). repeated: share of a text's pieces that
    are different below which it repeats itself. days: of a burst; burst: reviews of one product in that time, at
    least; times: as many as at the product's usual pace, at least. one_sided: share that praises, or blames, in a
    burst. newcomers: share of a burst by users without an earlier review.
    """

    alike: float
    shortest: int
    repeated: float
    days: float
    burst: int
    times: float
    one_sided: float
    newcomers: float


@dataclass(frozen=True)
class ScorerSettings:
    """How the scorer of answers is fitted. folds: of the cross-fitting that chooses how sure it must be."""

    epochs: int
    rate: float
    decay: float
    folds: int


@dataclass(frozen=True)
class ReaderSettings:
    """How the reader of answers is fitted.

    frozen: layers, from the first, that stay as they are: they know words, not questions. rate: of the others, that of
    the new ones is ten times it. limit: see `reader.SpanReader`.
    """

    frozen: int
    epochs: int
    batch: int
    rate: float
    limit: int


@dataclass(frozen=True)
class QuoterSettings:
    """How the quoter is fitted. held: share of the items whose questions choose the threshold.

    reviews_read: of an item, see `quoting.Quoter`.
    """

    reader: ReaderSettings
    held: float
    reviews_read: int


@dataclass(frozen=True)
class AnsweringSettings:
    """How `answering_training.fit` chooses what answers.

    scored: marked questions from which on a scorer is fitted; fewest: from which on a reader is trained; sure: from which on
    that is not held against the scorer.
    """

    scored: int
    fewest: int
    sure: int
    scorer: ScorerSettings
    quoter: QuoterSettings


@dataclass(frozen=True)
class TaggerSettings:
    """How the reader of titles is fitted. hidden: of the recurrent net. voices: networks that are averaged.

    least: see `extraction.chosen`.
    """

    hidden: int
    epochs: int
    batch: int
    rate: float
    decay: float
    dropout: float
    voices: int
    least: float

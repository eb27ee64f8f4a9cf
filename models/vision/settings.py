"""How models of pictures are fitted, as it stands in the parameters.

Apart from the models, so that parameters can be read without what fitting imports.
"""

from dataclasses import dataclass
from typing import Literal

STEP = 16
"""Sides of pictures in training are a multiple of so many pixels: half a cell of a usual network's last map."""


@dataclass(frozen=True)
class HeadSettings:
    """How classifiers over frozen features are fitted.

    mixup: strength of mixing (0: none). Source: Zhang et al. (2018), mixup: beyond empirical risk minimization.
    """

    hidden: int
    epochs: int
    batch: int
    rate: float
    decay: float
    dropout: float
    mixup: float


@dataclass(frozen=True)
class TuningSettings:
    """How a network is fine-tuned.

    budget: millions of pixels that training looks at, repeats counted; rounds: of the whole training set, at most.

    small, large: side of the pictures in training as a share of the encoder's, at first and at last. It grows, so that
    early rounds are cheap; crops show things larger than they are, so that the largest is best a little below 1.
    Sources: Tan and Le (2021), EfficientNetV2 (progressive learning); Touvron et al. (2019), Fixing the train-test
    resolution discrepancy.
    rate: of the top; each block below learns at `layer_decay` times that of the one above. frozen: blocks at the
    bottom that do not learn. smallest: share of a picture's area that a crop keeps at least. mixing: share of the
    batches whose pictures are pasted into one another. average: share of the steps that the moving average reaches back.
    """

    budget: float
    rounds: int
    small: float
    large: float
    batch: int
    rate: float
    layer_decay: float
    decay: float
    dropout: float
    smoothing: float
    frozen: int
    smallest: float
    mixing: float
    average: float

    def side(self, size: int, done: float) -> int:
        """Pixels a side that are trained on when a share `done` of the steps is over. size: the encoder's.

        A multiple of `STEP`, and never more than `size`.

        >>> tuning = TuningSettings(1.0, 1, 0.6, 0.9, 1, 0.1, 1.0, 0.0, 0.0, 0.0, 0, 1.0, 0.0, 0.1)
        >>> [tuning.side(160, done) for done in (0.0, 0.5, 1.0)]
        [96, 128, 144]
        """
        wanted = size * (self.small + (self.large - self.small) * done)
        return min(max(round(wanted / STEP), 1) * STEP, size)

    def epochs(self, size: int, rows: int) -> int:
        """Rounds over so many rows that the budget allows, one at least."""
        sides = [self.side(size, step / 99) for step in range(100)]
        looked_at = rows * sum(side**2 for side in sides) / len(sides)
        return int(min(max(self.budget * 1e6 // max(looked_at, 1), 1), self.rounds))


@dataclass(frozen=True)
class RecognitionSettings:
    """How a recogniser is fitted. heads: of the classifier beside the probe.

    beside: features without weights beside the encoder's: `colours`, and `pixels`, which tell outlines of small pictures.
    strengths: of the linear probe, ascending. alike: see `families`. folds: parts of which one is held out. copies: changed
    copies of each picture, at most, beside which the probe learns from few pictures; enough: pictures of which no more are
    made. tuned_from: pictures a class, in the mean, from which there is that classifier and the network is tuned; 0: never.
    """

    beside: list[Literal["colours", "pixels"]]
    strengths: list[float]
    alike: float
    folds: int
    copies: int
    enough: int
    tuned_from: float
    heads: HeadSettings
    tuning: TuningSettings


@dataclass(frozen=True)
class AttributesSettings:
    """How a model of attributes is fitted. heads: of the classifiers over frozen features.

    beside: as of a recogniser. alike: see `families`. grams: hashed n-grams beside a title's vector. tuned_from: rows with
    pictures from which the network is tuned; 0: never.
    """

    beside: list[Literal["colours", "pixels"]]
    alike: float
    grams: int
    tuned_from: int
    heads: HeadSettings
    tuning: TuningSettings


@dataclass(frozen=True)
class LookalikesSettings:
    """How pictures become alike. width, shrink: see `whitening.Whitening`.

    neighbours, power: see `lookalikes.towards_neighbours`; 0 neighbours: none. colours, own: the weights of colours, and of
    what a picture is by itself, beside its draw to its neighbours. indexed: pictures from which neighbours are sought among
    the cells of an `index.Index`, no longer exactly; 0: never.
    rounds: how often pairs that look alike are sought, from so many pictures on as `enough` says, to learn from them what
    tells pictures apart; paired: nearest of each among which the other must be; loose: see `whitening.Directions.paired`.
    """

    width: int
    shrink: float
    colours: float
    own: float
    neighbours: int
    power: float
    indexed: int
    rounds: int
    enough: int
    paired: int
    loose: float

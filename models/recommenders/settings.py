"""How recommenders are fitted, as it stands in the parameters.

Apart from the models, so that parameters can be read without what fitting imports.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class TowerSettings:
    """How the two towers are trained. dim: numbers a vector. hidden: width of r.

    windows: cuts in the past, `window_days` apart. buyers: an item with fewer has no behaviour vector and no part in the
    loss. dropout: share of a history's entries that a step doesn't see. drop: share of items whose behaviour vector is
    hidden in a step, so that content learns to stand alone. decay: weight decay of the maps.

    What bounds the work in a large shop: most_events: that behaviour vectors are made of; of more, users are drawn.
    most_users: who teach at one cut. most_items: in the loss; of more, those with most buyers.
    """

    dim: int
    hidden: int
    epochs: int
    batch: int
    rate: float
    decay: float
    dropout: float
    windows: int
    window_days: float
    buyers: int
    drop: float
    most_events: int
    most_users: int
    most_items: int


@dataclass(frozen=True)
class SequenceSettings:
    """How the sequential recommender is trained. length: of a sequence. dim, heads, blocks: of its attention.

    sampled: items of a batch that the softmax is over. places: of a batch. budget: places in all epochs together. epochs: at
    most, as many as the budget allows; 0: it is left out.
    """

    dim: int
    heads: int
    blocks: int
    length: int
    dropout: float
    rate: float
    decay: float
    sampled: int
    places: int
    budget: int
    epochs: int


@dataclass(frozen=True)
class RegistrySettings:
    """What recommenders are tried with. dim: of the factors. rounds: of the least squares that find them.

    ease_items: that take part in EASE at most. ease_penalty: in mean buyers an item. neighbours: users that vote.
    """

    dim: int
    rounds: int
    ease_items: int
    ease_penalty: float
    neighbours: int
    sequence: SequenceSettings

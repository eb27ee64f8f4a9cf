"""How a network is fine-tuned; apart from `finetuning`, whose libraries take long to load."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """passes: pictures seen in training, repeats counted; rounds: of the whole training set, at most.

    rate: of the top; each block below learns at `layer_decay` times that of the one above. frozen: blocks at the
    bottom that do not learn. smallest: share of a picture's area that a crop keeps at least. mixing: share of the
    batches whose pictures are pasted into one another. average: share of the steps that the moving average reaches back.
    """

    passes: int
    rounds: int
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

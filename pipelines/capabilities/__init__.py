"""How each capability is judged: its rows, its score a row, its baselines.

`evaluate` scores the challenger with them, `promote` the champion on the same frozen rows, and the training stages
use them on the validation part. A module here has the functions of `Capability`.
"""

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

MODULES = {
    "collaborative": "recommending",
    "content": "recommending",
    "hybrid": "recommending",
    "recommender": "recommending",
    "recognition": "recognition",
    "attributes": "attributes",
    "sentiment": "sentiment",
    "answers": "answers",
}


class Capability(Protocol):
    """What a module of this package offers."""

    METRIC: str
    """Name of the headline metric; it is the mean over rows of `score`."""
    KEY: str | None
    """The column of the split's parts that `row_id` is, where a row is in one part alone."""
    TIME: str | None
    """The column of the split's parts by which they are cut, where they are cut by time."""
    SIDES: tuple[str, ...]
    """The figures beside the score that `score` always tells; without one of them nothing is promoted."""

    def freeze(self, split: Path, part: str, rows: Path, beside: Path | None = None) -> None:
        """Write into the new folder `rows` all that `score` needs of `part` ("valid" or "test").

        split: the folder of this capability's task under `data/split`. beside: the table that it reads beside that
        folder, for one that does. The folder is self-contained: a champion of another week is scored from it alone.
        """
        ...

    def score(self, model: Any, rows: Path) -> pd.DataFrame:
        """One line a row: `row_id`, `score` (higher is better), one column a slice (`slice_language`…), and one a figure
        beside the score that must not fall either (`side_confidence`…; higher is better, too), one a figure that is only told (`also_Recall@20`…).

        Further columns are kept for reports: `prediction`, `truth` and `confidence` of a class.
        """
        ...

    def example(self, rows: Path, count: int) -> pd.DataFrame:
        """The first `count` of the frozen rows as an input of the model's `predict`."""
        ...

    def baselines(self, split: Path, rows: Path, seed: int) -> dict[str, np.ndarray]:
        """Name to scores (n,) in the order of `score`'s lines; fitted on the training part alone."""
        ...


def capability(name: str) -> Capability:
    """The module that judges `name`. Raises `KeyError` for an unknown one."""
    found: Any = import_module(f"pipelines.capabilities.{MODULES[name]}")
    module: Capability = found
    return module

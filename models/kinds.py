"""Which class reads a bundle of which kind. Classes are imported when asked for."""

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from models.bundle import Bundle, load

KINDS = {
    "collaborative": "models.recommenders.collaborative:Collaborative",
    "content": "models.recommenders.content:Content",
    "hybrid": "models.recommenders.hybrid:Hybrid",
    "recommender": "models.recommenders.auto:Auto",
    "recognition": "models.vision.recognition:Recognition",
    "attributes": "models.vision.attributes:Attributes",
    "sentiment": "models.language.sentiment:Sentiment",
    "answers": "models.language.answers:Answers",
    "quoter": "models.language.quoting:Quoter",
}


class Model(Protocol):
    """What every registered model can do."""

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Model": ...

    def to_bundle(self) -> Bundle: ...

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """One table in, one table out; each kind documents its columns."""
        ...


def model_class(kind: str) -> Any:
    """The class for `kind`. Raises `KeyError` naming the known kinds."""
    if kind not in KINDS:
        raise KeyError(f"no model of kind {kind!r}; known: {', '.join(sorted(KINDS))}")
    module, name = KINDS[kind].split(":")
    return getattr(import_module(module), name)


def load_model(folder: Path) -> Any:
    """The model whose bundle lies in `folder`. Raises `DamagedBundle` where a file was changed."""
    bundle = load(folder)
    return model_class(bundle.kind).from_bundle(bundle)

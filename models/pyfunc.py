"""A bundle as MLflow loads it: `mlflow.pyfunc.load_model` finds `_load_pyfunc` here by name.

The registered version carries this package with it, so that it loads where the project is not checked out.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from models.kinds import Model, load_model


class Served:
    """One model behind MLflow's interface."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One table in, one table out, with the columns that the model's kind documents.

        params: none is known. Raises `ValueError` where one is given.
        """
        if params:
            raise ValueError(f"no parameter is known; given: {', '.join(sorted(params))}")
        return self.model.predict(model_input)


def _load_pyfunc(data_path: str) -> Served:
    """The model whose bundle lies at `data_path`. Raises `DamagedBundle` where a file was changed."""
    return Served(load_model(Path(data_path)))

"""How recognition of pictures is judged: accuracy on pictures that were never seen.

Baselines: the most frequent class, and the five nearest training pictures on raw pixel features.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from models.metrics import honesty
from models.vision.sight import pixels
from pipelines.tables import Images

METRIC = "accuracy"
KEY: str | None = Images.IMAGE
TIME: str | None = None
SIDES: tuple[str, ...] = ("confidence",)
ROWS = "pictures.parquet"
NEIGHBOURS = 5


def freeze(split: Path, part: str, rows: Path, beside: Path | None = None) -> None:
    rows.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(split / f"{part}.parquet", rows / ROWS)


def frozen(rows: Path) -> pd.DataFrame:
    """image_key, label and bytes of the frozen pictures."""
    return pq.read_table(rows / ROWS).to_pandas()


def score(model: Any, rows: Path) -> pd.DataFrame:
    table = frozen(rows)
    found = model.predict(table[[Images.BYTES]])
    right = (found["label"] == table[Images.LABEL]).astype(float)
    return pd.DataFrame(
        {
            "row_id": table[Images.IMAGE],
            "score": right,
            "side_confidence": honesty(found["confidence"], right),
            "slice_label": table[Images.LABEL],
            "prediction": found["label"],
            "truth": table[Images.LABEL],
            "confidence": found["confidence"],
        }
    )


def example(rows: Path, count: int) -> pd.DataFrame:
    return frozen(rows)[[Images.BYTES]].head(count)


def baselines(split: Path, rows: Path, seed: int) -> dict[str, np.ndarray]:
    from sklearn.neighbors import KNeighborsClassifier

    train = pq.read_table(split / "train.parquet").to_pandas()
    table = frozen(rows)
    truth = table[Images.LABEL].to_numpy(object)
    known = train[Images.LABEL].to_numpy(object)
    frequent = train[Images.LABEL].value_counts().sort_index().idxmax()
    nearest = KNeighborsClassifier(min(NEIGHBOURS, len(train)))
    nearest.fit(pixels(train[Images.BYTES].tolist()), known)
    found = nearest.predict(pixels(table[Images.BYTES].tolist()))
    return {
        "majority": (truth == frequent).astype(float),
        "nearest pixels": (truth == found).astype(float),
    }

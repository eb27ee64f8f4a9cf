"""How the stand-in is judged: share of rows that are positive."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

METRIC = "accuracy"
KEY: str | None = "review_id"
TIME: str | None = None
SIDES: tuple[str, ...] = ()


def freeze(split: Path, part: str, rows: Path, beside: Path | None = None) -> None:
    rows.mkdir()
    pq.write_table(pq.read_table(split / f"{part}.parquet"), rows / "rows.parquet")


def score(model: Any, rows: Path) -> pd.DataFrame:
    table = pd.read_parquet(rows / "rows.parquet")
    score = (model.predict(table)["label"] == "positive").astype(float)
    return pd.DataFrame(
        {"row_id": table["review_id"], "score": score, "slice_language": table["language"]}
    )


def example(rows: Path, count: int) -> pd.DataFrame:
    table = pd.read_parquet(rows / "rows.parquet")
    return table[["bytes"] if "bytes" in table else ["text", "language"]].head(count)


def baselines(split: Path, rows: Path, seed: int) -> dict[str, np.ndarray]:
    count = len(pd.read_parquet(rows / "rows.parquet"))
    return {"never": np.zeros(count), "coin": (np.arange(count) % 2).astype(float)}

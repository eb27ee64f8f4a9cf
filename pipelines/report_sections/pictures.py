"""Pictures beside their nearest pictures, by the cosine of their features."""

from typing import Any

import numpy as np

from pipelines.artefacts.vectors import read_vectors
from pipelines.report_sections.inputs import Absent, Choice, Inputs
from pipelines.report_sections.swatches import swatches
from pipelines.report_sections.thumbnails import TABLE, thumbnails
from pipelines.tables import Images

KEY = "pictures"
TITLE = "Nearest pictures"
FEATURES = "image-features/images.parquet"
QUERIES, NEAR = 5, 6
BLOCK = 8192


def view(inputs: Inputs, choice: Choice) -> dict[str, Any]:
    """rows: pictures of different labels picked by hash, each with its colours and its six nearest; total: pictures.

    measured: whether colours were.
    """
    keys, vectors, _ = read_vectors(inputs.path(FEATURES), Images.IMAGE)
    if len(keys) <= NEAR:
        raise Absent(f"data/{FEATURES} holds too few pictures to compare.")
    table = inputs.table(TABLE, need=(Images.IMAGE,), like=(Images.LABEL,))
    names = table[Images.LABEL] if Images.LABEL in table else [None] * len(table)
    labels = dict(zip(table[Images.IMAGE], names, strict=True))
    place = {key: at for at, key in enumerate(keys)}
    chosen = _queries(choice, keys, labels)
    near, cosines = nearest(vectors, np.array([place[key] for key in chosen]), NEAR)
    colours = swatches(inputs, chosen)
    shown = thumbnails(inputs, [*chosen, *(keys[at] for at in near.ravel())])

    def card(key: str) -> dict[str, Any]:
        label = labels.get(key)
        return {"picture": shown.get(key, ""), "label": label if isinstance(label, str) else ""}

    rows = [
        {
            "query": card(key),
            "colours": colours.get(key, []),
            "near": [
                {**card(keys[at]), "cosine": float(cosine)}
                for at, cosine in zip(near[row], cosines[row], strict=True)
            ],
        }
        for row, key in enumerate(chosen)
    ]
    return {"rows": rows, "total": len(keys), "measured": bool(colours)}


def _queries(choice: Choice, keys: list[str], labels: dict[str, Any]) -> list[str]:
    """Keys in the order of their hash, at most one a label, then more where the labels are too few."""
    order = choice.pick(keys, len(keys))
    first: dict[Any, str] = {}
    for key in order:
        first.setdefault(labels.get(key), key)
    chosen = list(first.values())[:QUERIES]
    return chosen + [key for key in order if key not in chosen][: QUERIES - len(chosen)]


def nearest(vectors: np.ndarray, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` nearest vectors of each of `rows`, itself left out. vectors: (n, d), compared a block at a time.

    Returns indices and cosines, both (rows, count), nearest first; equal cosines in the order of the indices.
    """
    queries = _unit(vectors[rows])
    cosines = np.concatenate(
        [queries @ _unit(vectors[at : at + BLOCK]).T for at in range(0, len(vectors), BLOCK)],
        axis=1,
    )
    cosines[np.arange(len(rows)), rows] = -np.inf
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(cosines, order, axis=1)


def _unit(block: np.ndarray) -> np.ndarray:
    wide = block.astype(np.float32)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)

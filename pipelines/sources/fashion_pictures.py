"""Fashion-MNIST: 70,000 grey product pictures of 28 x 28 pixels in ten classes.

Source: Xiao, Rasul and Vollgraf (2017), Fashion-MNIST: a novel image dataset for benchmarking.
"""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from pipelines.harness import BadData, Run
from pipelines.sources import Found, chosen, fetched, origin

PACKAGE = "fashion-mnist"
LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@contextlib.contextmanager
def read(run: Run, images: int) -> Iterator[Found]:
    """images: `images` pictures (0: all), each as a PNG with its class."""
    files = fetched(run, PACKAGE)
    pixels = np.concatenate(
        [read_idx(files[f"{part}-images-idx3-ubyte"]) for part in ("train", "t10k")]
    )
    labels = np.concatenate(
        [read_idx(files[f"{part}-labels-idx1-ubyte"]) for part in ("train", "t10k")]
    )
    keys = [f"fashion-{at:05d}" for at in range(len(pixels))]
    kept = chosen(keys, images, run.seed)
    rows = [at for at, key in enumerate(keys) if key in kept]
    packed = [png(pixels[at]) for at in run.progress(rows, "packing pictures")]
    table = pa.table(
        {
            "image_key": [keys[at] for at in rows],
            "bytes": pa.array(packed, pa.binary()),
            "label": [LABELS[labels[at]] for at in rows],
        }
    )
    yield Found({"images": table}, **origin(PACKAGE))


def read_idx(path: Path) -> np.ndarray:
    """An array of unsigned bytes in IDX format: two zeros, 8, the number of axes, their lengths, the cells.

    Raises `BadData` for another content. Source: LeCun, Cortes and Burges, the MNIST database, "file formats".
    """
    body = path.read_bytes()
    if len(body) < 4 or body[:3] != b"\x00\x00\x08" or len(body) < 4 + 4 * body[3]:
        raise BadData(f"{path}: no IDX file of unsigned bytes; remove it, then start again")
    first = 4 + 4 * body[3]
    shape = np.frombuffer(body[4:first], ">u4").tolist()
    cells = np.frombuffer(body[first:], np.uint8)
    if cells.size != int(np.prod(shape)):
        raise BadData(
            f"{path}: {cells.size} cells where its head says {shape}; remove it, then start again"
        )
    return cells.reshape(shape)


def png(pixels: np.ndarray) -> bytes:
    """One picture (height, width[, 3]) uint8 as a PNG."""
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()

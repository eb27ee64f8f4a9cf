"""Fashion-MNIST: 70,000 grey product pictures of 28 x 28 pixels in ten classes.

Source: Xiao, Rasul and Vollgraf (2017), Fashion-MNIST: a novel image dataset for benchmarking.
"""

import io

import numpy as np
import pyarrow as pa
from PIL import Image

from pipelines.harness import Run
from pipelines.packages import read_idx
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


def read(run: Run, images: int) -> Found:
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
    return Found({"images": table}, **origin(PACKAGE))


def png(pixels: np.ndarray) -> bytes:
    """One picture (height, width[, 3]) uint8 as a PNG."""
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()

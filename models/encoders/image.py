"""Frozen picture encoders: bytes of pictures in, vectors out.

Two backends: `timm` (any backbone, its pooled features) and `pixels` (no weights: a thumbnail, its edges and its
colours). A bundle of either is self-contained. Only JPEG, PNG and WebP are decoded.
"""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from models.bundle import Bundle

KIND = "image-encoder"
FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 40_000_000
THUMBNAIL = 16
COLOUR_BINS = 4

Progress = Callable[[float, str], None]


class Undecodable(ValueError):
    """Bytes that are no picture we read; the text says why."""


def decode(data: bytes, size: int) -> np.ndarray:
    """One picture as (size, size, 3) uint8: turned as EXIF says, on white, padded to a square, resized.

    Raises `Undecodable` for other formats, damaged bytes and more than `MAX_PIXELS`.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            width, height = opened.size
            if width * height > MAX_PIXELS:
                raise Undecodable(f"{width} x {height} pixels, more than {MAX_PIXELS:,}")
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I;16") or picture.mode == "I":
                picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
            if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
                clear = picture.convert("RGBA")
                picture = Image.new("RGBA", clear.size, "white")
                picture.alpha_composite(clear)
            picture = picture.convert("RGB")
            side = max(picture.size)
            # The border's own grey: a white frame round a picture on black would be an edge.
            border = int(np.median(np.asarray(picture.convert("L"))[[0, -1]]))
            square = Image.new("RGB", (side, side), (border, border, border))
            square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
            return np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))
    except Undecodable:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Undecodable(f"no {', '.join(FORMATS)} picture: {error}") from None


class ImageEncoder:
    """A frozen encoder of pictures. Make it by `pixels`, `timm` or `from_bundle`."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> None:
        self.config = dict(config)
        self.weights = dict(weights)
        self._network: torch.nn.Module | None = None

    @classmethod
    def pixels(cls) -> "ImageEncoder":
        """Without weights: a thumbnail of 16 x 16, its gradients and a histogram of colours."""
        return cls({"backend": "pixels", "size": THUMBNAIL * 2}, {})

    @classmethod
    def timm(
        cls,
        name: str,
        weights: Mapping[str, np.ndarray],
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> "ImageEncoder":
        """A timm backbone. weights: its state without the classifier. size: pixels a side that it sees."""
        config = {
            "backend": "timm",
            "name": name,
            "size": size,
            "mean": list(mean),
            "std": list(std),
        }
        return cls(config, weights)

    @property
    def size(self) -> int:
        """Pixels a side."""
        return int(self.config["size"])

    @property
    def identity(self) -> str:
        """A hash of everything that decides the vectors."""
        digest = hashlib.sha256(repr(sorted(self.config.items())).encode())
        for name in sorted(self.weights):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(self.weights[name]).data)
        return digest.hexdigest()

    def network(self) -> torch.nn.Module:
        """The backbone, built when first used."""
        if self._network is None:
            import timm

            network = timm.create_model(self.config["name"], pretrained=False, num_classes=0)
            state = {name: torch.from_numpy(value) for name, value in self.weights.items()}
            network.load_state_dict(
                {
                    name: value.float() if value.is_floating_point() else value
                    for name, value in state.items()
                }
            )
            self._network = network.eval().to(memory_format=torch.channels_last)
        return self._network

    def encode(
        self,
        pictures: Sequence[bytes],
        batch: int = 64,
        progress: Progress = lambda done, what: None,
    ) -> np.ndarray:
        """Vectors (n, d) float32. Raises `Undecodable` for the first picture that can't be read."""
        parts = []
        for start in range(0, len(pictures), batch):
            chunk = np.stack([decode(data, self.size) for data in pictures[start : start + batch]])
            parts.append(self.encode_arrays(chunk))
            progress(min(start + batch, len(pictures)) / len(pictures), "encoding pictures")
        if not parts:
            blank = np.zeros((1, self.size, self.size, 3), np.uint8)
            return self.encode_arrays(blank)[:0]
        return np.concatenate(parts)

    @torch.inference_mode()
    def encode_arrays(self, pictures: np.ndarray) -> np.ndarray:
        """Vectors (n, d) float32 of decoded pictures (n, size, size, 3) uint8."""
        if self.config["backend"] == "pixels":
            return pixel_features(pictures)
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(255.0)
        mean = torch.tensor(self.config["mean"]).view(1, 3, 1, 1)
        std = torch.tensor(self.config["std"]).view(1, 3, 1, 1)
        seen = ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)
        return self.network()(seen).numpy()

    def to_bundle(self) -> Bundle:
        """All that `from_bundle` needs; weights as float16."""
        weights = {
            name: value.astype(np.float16) if value.dtype == np.float32 else value
            for name, value in self.weights.items()
        }
        return Bundle(KIND, self.config, weights)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "ImageEncoder":
        """The encoder that `to_bundle` gave. Raises `ValueError` where the bundle is of another kind."""
        if bundle.kind != KIND:
            raise ValueError(f"a bundle of kind {bundle.kind!r} is no {KIND}")
        return cls(bundle.config, bundle.tensors)


def pixel_features(pictures: np.ndarray) -> np.ndarray:
    """Thumbnail, gradients and colours of pictures (n, s, s, 3) uint8, s a multiple of 16: (n, 16*16*3 + 64) float32."""
    n, side = pictures.shape[:2]
    cell = side // THUMBNAIL
    shape = (n, THUMBNAIL, cell, THUMBNAIL, cell, 3)
    small = pictures.reshape(shape).astype(np.float32).mean((2, 4)) / 255.0
    grey = small.mean(-1)
    across = np.diff(grey, axis=2, prepend=grey[:, :, :1])
    down = np.diff(grey, axis=1, prepend=grey[:, :1, :])
    levels = (pictures.reshape(n, -1, 3).astype(np.int64) * COLOUR_BINS) >> 8
    code = (levels[..., 0] * COLOUR_BINS + levels[..., 1]) * COLOUR_BINS + levels[..., 2]
    bins = COLOUR_BINS**3
    flat = (code + np.arange(n)[:, None] * bins).ravel()
    colours = np.bincount(flat, minlength=n * bins).reshape(n, bins) / code.shape[1]
    parts = [grey.reshape(n, -1), across.reshape(n, -1), down.reshape(n, -1), np.sqrt(colours)]
    return np.concatenate(parts, axis=1).astype(np.float32)

"""Frozen picture encoders: bytes of pictures in, vectors out.

Two backends: `timm` (any backbone: its pooled output, or the maps of an inner layer) and `pixels` (no weights: a
thumbnail, its edges and its colours). A bundle of either is self-contained.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from models.bundle import Bundle
from models.encoders.decoding import Undecodable, decode

KIND = "image-encoder"
THUMBNAIL = 16
COLOUR_BINS = 4
PIXEL_WIDTH = 3 * THUMBNAIL**2 + COLOUR_BINS**3
GRID = 2
"""An inner layer's map is averaged over this many cells a side: coarse places are kept."""

Progress = Callable[[float, str], None]
Network = Any
"""An `nn.Module` as timm makes them; what they have beyond it, timm's types leave out."""


def backbone(name: str, size: int, layer: int | None, pretrained: bool = False) -> Network:
    """The timm network `name` for pictures of `size` pixels a side, without classifier, ready for inference.

    layer: what lies above this one of timm's `feature_info` is cut off; None: nothing is.
    """
    import timm

    seen = timm.models.get_pretrained_cfg(name)
    fixed: dict[str, Any] = {}
    if seen is not None and seen.fixed_input_size:
        fixed["img_size"] = size
    network: Network = timm.create_model(name, pretrained=pretrained, num_classes=0, **fixed)
    if layer is not None:
        network.prune_intermediate_layers([layer], prune_norm=True, prune_head=True)
    return network.eval().requires_grad_(False)


def fold_norms(module: nn.Module, learned: Collection[nn.Module] = ()) -> None:
    """Put each batch normalisation into the convolution before it, in place: a third of the time on a CPU.

    Right only where neighbours among the children run one after the other, as in EfficientNets. learned: parts that
    stay as they are.
    """
    children = [(name, child) for name, child in module.named_children() if child not in learned]
    for (name, first), (after, second) in zip(children, children[1:], strict=False):
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            setattr(module, name, nn.utils.fusion.fuse_conv_bn_eval(first, second))
            # timm's norms carry the activation that follows them.
            setattr(module, after, getattr(second, "act", nn.Identity()))
    for _, child in children:
        fold_norms(child, learned)


def foldable(name: str) -> bool:
    """Whether `fold_norms` is right for the timm network `name`."""
    return "efficientnet" in name


class ImageEncoder:
    """A frozen encoder of pictures. Make it by `pixels`, `timm` or `from_bundle`."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> None:
        self.config = dict(config)
        self.weights = {
            # Matrices as float16; statistics of norms would lose range by it.
            name: value.astype(np.float16)
            if value.dtype == np.float32 and value.ndim > 1
            else value
            for name, value in weights.items()
        }
        self._network: Network | None = None

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
        layer: int | None = None,
        layers: Sequence[int] = (),
    ) -> "ImageEncoder":
        """A timm backbone. weights: its state without the classifier. size: pixels a side that it sees.

        layer: index in timm's `feature_info` of the layer whose map is averaged over 2 x 2 cells; None: the pooled
        output of the whole network. layers: of each map the averages over 2 x 2 cells and the deviation stand before
        that output.
        mean, std: of the three channels, in 0 to 1.
        """
        config = {
            "backend": "timm",
            "name": name,
            "size": size,
            "mean": list(mean),
            "std": list(std),
            "layer": layer,
        }
        # An encoder of one layer keeps the identity that its stored vectors name.
        return cls(config | ({"layers": list(layers)} if layers else {}), weights)

    @property
    def size(self) -> int:
        """Pixels a side."""
        return int(self.config["size"])

    @property
    def learned(self) -> bool:
        """Whether there are weights: whether the vectors tell more than `pixel_features` do."""
        return self.config["backend"] != "pixels"

    @property
    def identity(self) -> str:
        """A hash of everything that decides the vectors."""
        digest = hashlib.sha256(repr(sorted(self.config.items())).encode())
        for name in sorted(self.weights):
            digest.update(f"{name} {self.weights[name].dtype} {self.weights[name].shape}".encode())
            digest.update(np.ascontiguousarray(self.weights[name]).data)
        return digest.hexdigest()

    def network(self) -> Network:
        """The backbone, built when first used."""
        if self._network is None:
            config = self.config
            network = backbone(config["name"], config["size"], config["layer"])
            state = {name: torch.from_numpy(value) for name, value in self.weights.items()}
            network.load_state_dict(
                {
                    name: value.float() if value.is_floating_point() else value
                    for name, value in state.items()
                }
            )
            if foldable(config["name"]):
                fold_norms(network)
            self._network = network.to(memory_format=torch.channels_last)
        return self._network

    @property
    def parts(self) -> list[slice]:
        """Where what each layer gives stands in a vector; the whole network's output is the last."""
        if not self.learned:
            return [slice(0, PIXEL_WIDTH)]
        network = self.network()
        inner = self.config.get("layers", [])
        widths = [(GRID**2 + 1) * network.feature_info[at]["num_chs"] for at in inner]
        ends = np.cumsum([0, *widths, network.head_hidden_size]).tolist()
        return [slice(*pair) for pair in zip(ends, ends[1:], strict=False)]

    def encode(
        self,
        pictures: Sequence[bytes],
        batch: int = 64,
        progress: Progress = lambda done, what: None,
    ) -> np.ndarray:
        """Vectors (n, d) float32. Raises `Undecodable` naming the first picture (from 0) that can't be read."""
        parts = []
        for start in range(0, len(pictures), batch):
            parts.append(self.encode_arrays(self.decode(pictures[start : start + batch], start)))
            progress(min(start + batch, len(pictures)) / len(pictures), "encoding pictures")
        if not parts:
            blank = np.zeros((1, self.size, self.size, 3), np.uint8)
            return self.encode_arrays(blank)[:0]
        return np.concatenate(parts)

    def decode(self, pictures: Sequence[bytes], first: int = 0) -> np.ndarray:
        """Pictures (n,) as (n, size, size, 3) uint8; raises as `encode` does, counting from `first`."""
        found = np.empty((len(pictures), self.size, self.size, 3), np.uint8)
        for at, data in enumerate(pictures):
            try:
                found[at] = decode(data, self.size)
            except Undecodable as error:
                named = Undecodable(f"picture {first + at}: {error}")
                named.at = first + at
                raise named from None
        return found

    @torch.inference_mode()
    def encode_arrays(self, pictures: np.ndarray) -> np.ndarray:
        """Vectors (n, d) float32 of decoded pictures (n, size, size, 3) uint8."""
        if not self.learned:
            return pixel_features(pictures)
        network, layer = self.network(), self.config["layer"]
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(255.0)
        mean = torch.tensor(self.config["mean"]).view(1, 3, 1, 1)
        std = torch.tensor(self.config["std"]).view(1, 3, 1, 1)
        seen = ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)
        if "layers" in self.config:
            top, inner = network.forward_intermediates(seen, indices=self.config["layers"])
            pooled = [
                torch.cat([nn.functional.adaptive_avg_pool2d(x, GRID).flatten(1), x.std((2, 3))], 1)
                for x in inner
            ]
            return torch.cat([*pooled, network.forward_head(top, pre_logits=True)], 1).numpy()
        if layer is None:
            return network(seen).numpy()
        (inner,) = network.forward_intermediates(
            seen, indices=[layer], stop_early=True, intermediates_only=True
        )
        return nn.functional.adaptive_avg_pool2d(inner, GRID).flatten(1).numpy()

    def to_bundle(self) -> Bundle:
        """All that `from_bundle` needs."""
        return Bundle(KIND, self.config, self.weights)

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

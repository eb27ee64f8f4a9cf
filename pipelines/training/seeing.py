"""How pictures are looked at: what the stages that learn from them share with the door's verbs."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.harness import Params

if TYPE_CHECKING:
    from models.encoders.image import ImageEncoder


class SightParams(Params):
    """encoder, layers: see `pipelines.packaged.encoders`. sizes: sides in pixels to choose from, ascending.

    enlarged: how much larger than the pictures are they are looked at; networks were taught on large ones.
    """

    encoder: str
    layers: list[int]
    sizes: list[int]
    enlarged: float

    def fitting_size(self, side: int) -> int:
        """The first of `sizes` that is not smaller than `enlarged` times the usual picture's `side`; else the last."""
        wanted = self.enlarged * side
        return next((size for size in self.sizes if size >= wanted), self.sizes[-1])

    def image_encoder(self, side: int, folder: Path | None) -> "ImageEncoder":
        """The encoder for pictures whose usual side is `side` pixels. folder: that of the packaged files."""
        from pipelines.packaged.encoders import image_encoder

        return image_encoder(self.encoder, folder, self.fitting_size(side), self.layers)

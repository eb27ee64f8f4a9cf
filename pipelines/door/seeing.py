"""Settings that the verbs on pictures share."""

from typing import TYPE_CHECKING

from pipelines.door.verb import Asked
from pipelines.harness import Params

if TYPE_CHECKING:
    from models.encoders.image import ImageEncoder
    from models.vision.finetuning_settings import Tuning
    from models.vision.head_training import Settings as HeadSettings


class SightParams(Params):
    """encoder, layers: see `pipelines.encoders`. sizes: sides in pixels to choose from, ascending.

    enlarged: how much larger than the pictures are they are looked at; networks were taught on large ones.
    """

    encoder: str
    layers: list[int]
    sizes: list[int]
    enlarged: float

    def image_encoder(self, size: int, asked: Asked) -> "ImageEncoder":
        """The encoder for pictures of `size` pixels a side."""
        from pipelines import unpacked
        from pipelines.encoders import image_encoder

        folder = unpacked.folder("image", asked) if self.encoder == "package" else None
        return image_encoder(self.encoder, folder, size, self.layers)


class LearningParams(SightParams):
    """hidden to mixup: see `head_training.Settings`. Those that follow: see `finetuning_settings.Tuning`."""

    hidden: int
    epochs: int
    head_batch: int
    head_rate: float
    head_decay: float
    head_dropout: float
    mixup: float
    budget: float
    rounds: int
    small: float
    large: float
    batch: int
    rate: float
    layer_decay: float
    decay: float
    dropout: float
    smoothing: float
    frozen: int
    smallest: float
    mixing: float
    average: float

    def heads(self) -> "HeadSettings":
        """Of classifiers over frozen features."""
        from models.vision.head_training import Settings

        return Settings(
            self.hidden,
            self.epochs,
            self.head_batch,
            self.head_rate,
            self.head_decay,
            self.head_dropout,
            self.mixup,
        )

    def tuning(self) -> "Tuning":
        """Of the whole network."""
        from models.vision.finetuning_settings import Tuning

        return Tuning(**self.model_dump(include=set(Tuning.__dataclass_fields__)))

"""Settings that the stages that learn from pictures share with the door's verbs."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipelines.harness import Params

if TYPE_CHECKING:
    from models.encoders.image import ImageEncoder
    from models.vision.finetuning_settings import Tuning
    from models.vision.head_training import Settings as HeadSettings
    from models.vision.recognition_training import Settings as RecognitionSettings


class SightParams(Params):
    """encoder, layers: see `pipelines.encoders`. sizes: sides in pixels to choose from, ascending.

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
        from pipelines.encoders import image_encoder

        return image_encoder(self.encoder, folder, self.fitting_size(side), self.layers)


class LearningParams(SightParams):
    """beside: features without weights beside the encoder's: `colours`, and `pixels`, which tell outlines of small pictures.

    hidden to mixup: see `head_training.Settings`. Those that follow: see `finetuning_settings.Tuning`."""

    beside: list[Literal["colours", "pixels"]]
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


class RecognitionParams(LearningParams):
    """strengths, alike, folds, copies, enough, tuned_from: see `models.vision.recognition_training.Settings`."""

    strengths: list[float]
    alike: float
    folds: int
    copies: int
    enough: int
    tuned_from: float

    def settings(self) -> "RecognitionSettings":
        """Of a recogniser's fitting."""
        from models.vision.recognition_training import Settings

        return Settings(
            self.beside,
            self.strengths,
            self.alike,
            self.folds,
            self.copies,
            self.enough,
            self.tuned_from,
            self.heads(),
            self.tuning(),
        )

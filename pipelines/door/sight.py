"""What the verbs of pictures share: the pictures that are asked about, and the encoder that suits those that are given."""

from typing import TYPE_CHECKING

from pipelines.door.verb import Asked

if TYPE_CHECKING:
    from models.encoders.image import ImageEncoder
    from pipelines.door.pictures import Listing
    from pipelines.training.seeing import SightParams


def asked_pictures(asked: Asked) -> None:
    """Read which pictures the file `test` names. Raises `BadData`."""
    from pipelines.door import pictures

    pictures.listed(asked.files["test"])


def image_encoder(params: "SightParams", listing: "Listing", asked: Asked) -> "ImageEncoder":
    """The encoder that suits the pictures of a file."""
    from pipelines.door import pictures
    from pipelines.packaged import unpacked

    files = unpacked.folder("image", asked) if params.encoder == "package" else None
    return params.image_encoder(pictures.usual_side(listing), files)

"""The frozen encoder, of texts or of pictures, or the reranker, that a name in `params.yaml` stands for.

`package`: the files of the ingest stage. `hub:NAME`: a sentence-transformers model from a hub. `hashing`, `pixels`
and `overlap`: no weights.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.encoders.image import ImageEncoder, backbone
from models.encoders.reranker import Reranker
from models.encoders.text import POOLINGS, TextEncoder
from pipelines.harness import BadConfig, MissingResource

HASHING_WIDTH = 256
HUB = "hub:"
PACKAGED_BACKBONE = "tf_efficientnet_lite0"
PACKAGED_FILE = "efficientnet-lite0-57934424.pth"
PACKAGED_LAYER = 3
"""Of the five in timm's `feature_info`: on product pictures it tells more than the layers above, at half their cost."""


def text_encoder(name: str, folder: Path | None) -> TextEncoder:
    """The encoder called `name`. folder: that of the packaged files, read for `package` alone.

    Raises `BadConfig` for an unknown name or a model of an unknown make, `MissingResource` where its files are away.
    """
    if name == "hashing":
        return TextEncoder.hashing(HASHING_WIDTH)
    if name == "package":
        return _from_folder(folder)
    if name.startswith(HUB):
        return from_sentence_transformer(sentence_transformer(name.removeprefix(HUB)))
    raise BadConfig(f"text encoder {name!r} is none of: package, hashing, {HUB}NAME")


def sentence_transformer(source: str) -> Any:
    """The sentence-transformers model in a folder or of a hub's name. Raises `MissingResource`."""
    import sentence_transformers

    try:
        return sentence_transformers.SentenceTransformer(source, device="cpu")
    except (OSError, ValueError) as error:
        raise MissingResource(
            f"the text encoder {source!r} can't be loaded ({str(error).splitlines()[0]}): check the name, and that "
            "the hub can be reached (HF_ENDPOINT and HF_HOME say where and what is kept), or set the stage's "
            "`encoder` to `package` in params.yaml"
        ) from None


def from_sentence_transformer(model: Any) -> TextEncoder:
    """The same encoder without the package. Raises `BadConfig` where the model is more than transformer and pooling."""
    makes = [type(module).__name__ for module in model]
    if makes not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise BadConfig(
            f"a text encoder of the modules {', '.join(makes)} is not supported: choose one of Transformer, Pooling"
        )
    inner = model[0].auto_model
    return TextEncoder.transformer(
        inner.config.to_dict() if hasattr(inner.config, "to_dict") else dict(inner.config),
        {name: value.numpy() for name, value in inner.state_dict().items()},
        model.tokenizer.backend_tokenizer.to_str(),
        str(model[1].pooling_mode),
        int(model.max_seq_length),
    )


def _from_folder(folder: Path | None) -> TextEncoder:
    from safetensors.numpy import load_file

    if folder is None or not (folder / "model.safetensors").is_file():
        raise MissingResource(
            f"{folder}/model.safetensors is missing: set `ingest-encoders.text` to `package` in params.yaml and run "
            "`dvc repro ingest-encoders`, or set the stage's `encoder` to `hashing`"
        )
    config = json.loads((folder / "config.json").read_text("utf-8"))
    settings = json.loads((folder / "sentence_bert_config.json").read_text("utf-8"))
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text("utf-8"))
    chosen = [
        name
        for name in POOLINGS
        if pooling.get(f"pooling_mode_{name}_{'token' if name == 'cls' else 'tokens'}")
    ]
    if len(chosen) != 1:
        raise BadConfig(
            f"{folder}/1_Pooling/config.json: the pooling is none of {', '.join(POOLINGS)}"
        )
    weights = load_file(folder / "model.safetensors")
    return TextEncoder.transformer(
        config,
        {name: np.asarray(value) for name, value in weights.items()},
        (folder / "tokenizer.json").read_text("utf-8"),
        chosen[0],
        int(settings["max_seq_length"]),
    )


def reranker(name: str, folder: Path | None, max_tokens: int) -> Reranker:
    """The reranker called `name`: `package` or `overlap`. folder: that of the packaged files. max_tokens: of a pair.

    Raises `BadConfig` for an unknown name, `MissingResource` where its files are away.
    """
    if name == "overlap":
        return Reranker.overlap()
    if name != "package":
        raise BadConfig(f"reranker {name!r} is none of: package, overlap")
    if folder is None or not (folder / "model.onnx").is_file():
        raise MissingResource(
            f"{folder}/model.onnx is missing: set `ingest-encoders.reranker` to `package` in params.yaml and run "
            "`dvc repro ingest-encoders`, or set `answers.reranker` to `overlap`"
        )
    return Reranker.onnx(
        (folder / "model.onnx").read_bytes(),
        (folder / "tokenizer.json").read_text("utf-8"),
        max_tokens,
    )


def image_encoder(
    name: str, folder: Path | None, size: int, layers: Sequence[int] | None = None
) -> ImageEncoder:
    """The picture encoder called `name`: `package`, `pixels` or `hub:NAME` of timm. size: pixels a side.

    layers: of timm's `feature_info`, that stand before the whole network's output; None: as is best at little cost.
    Raises `BadConfig` for an unknown name, `MissingResource` where its weights are away.
    """
    if name == "pixels":
        return ImageEncoder.pixels()
    if name == "package":
        return _packaged_backbone(folder, size, layers)
    if name.startswith(HUB):
        return _hub_backbone(name.removeprefix(HUB), size, layers or ())
    raise BadConfig(f"image encoder {name!r} is none of: package, pixels, {HUB}NAME")


def _packaged_backbone(
    folder: Path | None, size: int, layers: Sequence[int] | None
) -> ImageEncoder:
    """The packaged weights have other names in the same order as timm's."""
    import torch

    path = folder / PACKAGED_FILE if folder else None
    if path is None or not path.is_file():
        raise MissingResource(
            f"{path} is missing: set `ingest-encoders.image` to `package` in params.yaml and run "
            "`dvc repro ingest-encoders`, or set the stage's `encoder` to `pixels`"
        )
    given = torch.load(path, map_location="cpu", weights_only=True)
    layer = PACKAGED_LAYER if layers is None else None
    kept = backbone(PACKAGED_BACKBONE, size, layer).state_dict()
    # The cut network's names come first and in the same order.
    pairs = list(zip(kept.items(), given.values(), strict=False))
    if len(given) < len(kept) or any(own.shape != other.shape for (_, own), other in pairs):
        raise MissingResource(f"{path} does not hold the weights of {PACKAGED_BACKBONE}")
    weights = {name: value.numpy() for (name, _), value in pairs}
    return ImageEncoder.timm(
        PACKAGED_BACKBONE, weights, size, (0.5,) * 3, (0.5,) * 3, layer, layers or ()
    )


def _hub_backbone(name: str, size: int, layers: Sequence[int]) -> ImageEncoder:
    from timm.data.config import resolve_model_data_config

    try:
        network = backbone(name, size, None, pretrained=True)
    except (OSError, RuntimeError) as error:
        raise MissingResource(
            f"the image encoder {name!r} can't be loaded ({str(error).splitlines()[0]}): check the name, and that "
            "the hub can be reached (HF_ENDPOINT and HF_HOME say where and what is kept), or set the stage's "
            "`encoder` to `package` in params.yaml"
        ) from None
    weights = {key: value.numpy() for key, value in network.state_dict().items()}
    seen = resolve_model_data_config(network)  # type: ignore[no-untyped-call] # timm leaves it untyped
    return ImageEncoder.timm(name, weights, size, seen["mean"], seen["std"], layers=layers)

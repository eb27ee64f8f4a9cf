"""The frozen text encoder that a name in `params.yaml` stands for.

`package`: the files of the ingest stage. `hub:NAME`: a sentence-transformers model from a hub. `hashing`: no weights.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from models.encoders.text import POOLINGS, TextEncoder
from pipelines.harness import BadConfig, MissingResource

HASHING_WIDTH = 256
HUB = "hub:"


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

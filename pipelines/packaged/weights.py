"""Read the weights of transformers from the files that packages carry: int8 ONNX and a packed 4-bit image.

Neither the package nor the library that wrote a file is imported: both formats are plain records. What comes out are
arrays under the names of the published BERT checkpoints, and for the packed image its tokenizer.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.harness import MissingResource, Params

if TYPE_CHECKING:
    from models.encoders.text import TextEncoder

ONNX_TYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 10: np.float16}
QUANTIZED = "_quantized"
MAGIC = b"E5S1"
HEAD = 32
BLOCK = 32
"""Weights that share one scale in the packed image."""
NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


class Layers(Params):
    """encoder: one of `ingest_encoders.PACKAGES`. depth: its first layers, that are trained further."""

    encoder: str
    depth: int


def bert_of_onnx(path: Path) -> dict[str, np.ndarray]:
    """Weights, float16, of a BERT that was exported to ONNX and quantized to 8 bits dynamically.

    Linear layers are (out, in) as torch has them; a name starts at `embeddings.` or `encoder.`, a head keeps its own.
    Raises `MissingResource` where the file is no such model.
    """
    tensors, nodes = _graph(path)
    try:
        found = {
            name: value
            for name, value in tensors.items()
            if value.dtype == np.float32 and ".".join(name.split(".")[-1:]) in ("weight", "bias")
        }
        for name in list(tensors):
            if name.endswith(".weight" + QUANTIZED):
                whole = name.removesuffix(QUANTIZED)
                found[whole] = _whole(tensors, whole)
        for kind, name, inputs in nodes:
            if kind == "MatMulInteger" and inputs[1].endswith(QUANTIZED):
                place = (
                    name.strip("/").removesuffix("/MatMul_quant").removesuffix("/Gemm_MatMul_quant")
                )
                weight = _whole(tensors, inputs[1].removesuffix(QUANTIZED))
                found[f"{place.replace('/', '.')}.weight"] = weight.T
        return {
            name.removeprefix("bert."): np.ascontiguousarray(value, dtype=np.float16)
            for name, value in sorted(found.items())
        }
    except (KeyError, ValueError) as error:
        raise MissingResource(f"{path} is no BERT in 8-bit ONNX: {error}") from None


def _whole(tensors: dict[str, np.ndarray], name: str) -> np.ndarray:
    zero = tensors[name + "_zero_point"].astype(np.float32)
    return (tensors[name + QUANTIZED].astype(np.float32) - zero) * tensors[name + "_scale"]


def _graph(path: Path) -> tuple[dict[str, np.ndarray], list[tuple[str, str, list[str]]]]:
    """Initial tensors by name, and (operator, name, inputs) of each node. Field numbers are those of onnx.proto."""
    whole = memoryview(path.read_bytes())
    graph = next(value for field, value in _fields(whole) if field == 7)
    tensors, nodes = {}, []
    for field, value in _fields(graph):
        if field == 5:
            name, tensor = _tensor(value)
            if tensor is not None:
                tensors[name] = tensor
        elif field == 1:
            parts = list(_fields(value))
            texts = {at: bytes(one).decode() for at, one in parts if at in (3, 4)}
            inputs = [bytes(one).decode() for at, one in parts if at == 1]
            nodes.append((texts.get(4, ""), texts.get(3, ""), inputs))
    return tensors, nodes


def _tensor(record: memoryview) -> tuple[str, np.ndarray | None]:
    shape, kind, name = [], 0, ""
    raw: Any = None
    for field, value in _fields(record):
        if field == 1:
            shape += [value] if isinstance(value, int) else list(_varints(value))
        elif field == 2:
            kind = value
        elif field == 8:
            name = bytes(value).decode()
        elif field == 9:
            raw = np.frombuffer(value, ONNX_TYPES[kind]) if kind in ONNX_TYPES else None
        elif field == 4:
            raw = np.frombuffer(value, np.float32)
        elif field in (5, 7):
            values = [value] if isinstance(value, int) else list(_varints(value))
            raw = np.asarray(values, dtype=np.int64).astype(ONNX_TYPES.get(kind, np.int64))
    return name, None if raw is None else raw.reshape(shape)


def _varints(record: memoryview) -> Iterator[int]:
    at = 0
    while at < len(record):
        value, at = _varint(record, at)
        yield value


def _varint(record: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = record[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _fields(record: memoryview) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field of a protocol buffer: an int, or the bytes."""
    at = 0
    while at < len(record):
        key, at = _varint(record, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(record, at)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if size is None:
            size, at = _varint(record, at)
        yield key >> 3, record[at : at + size]
        at += size


def packed(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray], str]:
    """Config (of `transformers`), weights (float16) and tokenizer.json of a packed 4-bit encoder.

    Blocks of 32 weights: a float16 scale, then 16 bytes whose low halves are the first 16 weights and whose high
    halves the others, each less 8. Raises `MissingResource` where the file is another.
    """
    image = path.read_bytes()
    if image[:4] != MAGIC:
        raise MissingResource(f"{path} is no packed encoder: it starts with {image[:4]!r}")
    width, layers, heads, inner, words, places, kinds, eps, block = struct.unpack_from(
        "<7ifi", image, 8
    )
    if block != BLOCK:
        raise MissingResource(f"{path}: blocks of {block} weights are not known, only of {BLOCK}")
    tokenizer, at = _tokenizer(image, 44)
    weights: dict[str, np.ndarray] = {}
    (count,) = struct.unpack_from("<i", image, at)
    at += 4
    for _ in range(count):
        (length,) = struct.unpack_from("<H", image, at)
        name = image[at + 2 : at + 2 + length].decode()
        _, size, start, _ = struct.unpack_from("<BIQQ", image, at + 2 + length)
        at += 2 + length + 21
        weights[_published(name)] = _values(image, name, size, start, width, inner)
    config = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "vocab_size": words,
        "max_position_embeddings": places,
        "type_vocab_size": kinds,
        "layer_norm_eps": eps,
    }
    return config, weights, tokenizer


def _values(image: bytes, name: str, size: int, start: int, width: int, inner: int) -> np.ndarray:
    """float16, (out, in) for a matrix."""
    columns = inner if name.endswith("fo.w") else width
    if name == "emb.word" or (name.endswith(".w") and not name.endswith("ln.w")):
        kind = np.dtype([("scale", "<f2"), ("halves", "u1", (BLOCK // 2,))])
        blocks = np.frombuffer(image, kind, size // BLOCK, start)
        levels = np.concatenate([blocks["halves"] & 15, blocks["halves"] >> 4], axis=1)
        values = (levels.astype(np.float32) - 8) * blocks["scale"][:, None].astype(np.float32)
        return values.reshape(-1, columns).astype(np.float16)
    values = np.frombuffer(image, "<f4", size, start).astype(np.float16)
    return values.reshape(-1, width) if name in ("emb.pos", "emb.type") else values


def _published(name: str) -> str:
    first, _, rest = name.partition(".")
    if first == "emb":
        of = {
            "word": "word_embeddings",
            "pos": "position_embeddings",
            "type": "token_type_embeddings",
        }
        if rest in of:
            return f"embeddings.{of[rest]}.weight"
        return f"embeddings.LayerNorm.{'weight' if rest.endswith('w') else 'bias'}"
    part, _, kind = rest.partition(".")
    return f"encoder.layer.{first[1:]}.{NAMES[part]}.{'weight' if kind == 'w' else 'bias'}"


def _tokenizer(image: bytes, at: int) -> tuple[str, int]:
    """tokenizer.json of the unigram model at `at`, and where it ends."""
    pieces, first, last, padding, unknown, size = struct.unpack_from("<5iQ", image, at)
    at += 28
    offsets = np.frombuffer(image, "<u4", pieces + 1, at)
    at += 4 * (pieces + 1)
    scores = np.frombuffer(image, "<f4", pieces, at)
    at += 4 * pieces
    blob = image[at : at + size]
    at += size
    vocabulary = [
        [blob[start:end].decode("utf-8", "replace"), float(score)]
        for start, end, score in zip(offsets, offsets[1:], scores, strict=False)
    ]
    count, length = struct.unpack_from("<iI", image, at)
    at += 8
    stop = at + length
    replaced: dict[str, str] = {}
    for _ in range(count):
        code, much = struct.unpack_from("<IB", image, at)
        codes = struct.unpack_from(f"<{much}I", image, at + 5)
        at += 5 + 4 * much
        replaced[chr(code)] = "".join(map(chr, codes))
    known = {"bos": vocabulary[first][0], "eos": vocabulary[last][0]}
    document: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "NFKC"},
                {"type": "Replace", "pattern": {"Regex": "[\\x00-\\x1f\\x7f\\s]+"}, "content": " "},
            ],
        },
        "pre_tokenizer": {
            "type": "Metaspace",
            "replacement": "▁",
            "prepend_scheme": "always",
            "split": True,
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": known["bos"], "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": known["eos"], "type_id": 0}},
            ],
            "pair": [
                {"SpecialToken": {"id": known["bos"], "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": known["eos"], "type_id": 0}},
                {"SpecialToken": {"id": known["eos"], "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 0}},
                {"SpecialToken": {"id": known["eos"], "type_id": 0}},
            ],
            "special_tokens": {
                name: {"id": name, "ids": [place], "tokens": [name]}
                for name, place in ((known["bos"], first), (known["eos"], last))
            },
        },
        "decoder": None,
        "model": {"type": "Unigram", "unk_id": unknown, "vocab": vocabulary},
    }
    return json.dumps(document, ensure_ascii=False), stop


def packed_encoder(name: str, folder: Path, depth: int, max_tokens: int) -> "TextEncoder":
    """The encoder `english`, `multilingual` or `reranker` from its packaged file, its first `depth` layers alone.

    What a text feels like stands in the middle layers; those above were made for likeness of topic. A vector is the
    mean over tokens. Raises `MissingResource` where the file is away or another.
    """
    from models.encoders.text import TextEncoder

    if name == "multilingual":
        config, weights, tokenizer = packed(_found(folder / "e5-small-q4.bin"))
    else:
        weights = bert_of_onnx(_found(folder / "model.onnx"))
        tokenizer = _found(folder / "tokenizer.json").read_text("utf-8")
        config = config_of(weights)
    whole = config["num_hidden_layers"]
    depth = min(depth, whole)
    kept = {
        name: value
        for name, value in weights.items()
        if (int(name.split(".")[2]) < depth if name.startswith("encoder.layer.") else True)
        and (depth == whole or name.startswith(("embeddings.", "encoder.")))
    }
    config = {**config, "num_hidden_layers": depth}
    return TextEncoder.transformer(config, kept, tokenizer, "mean", max_tokens)


def config_of(weights: dict[str, np.ndarray]) -> dict[str, Any]:
    """Config (of `transformers`) of a BERT by the shapes of its weights; its heads are 32 numbers wide, as MiniLM's."""
    words, width = weights["embeddings.word_embeddings.weight"].shape
    layers = {name.split(".")[2] for name in weights if name.startswith("encoder.layer.")}
    return {
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": width,
        "num_hidden_layers": len(layers),
        "num_attention_heads": width // HEAD,
        "intermediate_size": len(weights["encoder.layer.0.intermediate.dense.bias"]),
        "vocab_size": words,
        "max_position_embeddings": len(weights["embeddings.position_embeddings.weight"]),
        "type_vocab_size": len(weights["embeddings.token_type_embeddings.weight"]),
        "layer_norm_eps": 1e-12,
    }


def _found(path: Path) -> Path:
    if not path.is_file():
        raise MissingResource(
            f"{path} is missing: remove its folder, and the packaged encoder is fetched again"
        )
    return path

"""Weights read from packed files, made here by the formats' own rules."""

import struct

import numpy as np
import pytest

from pipelines.harness import MissingResource
from pipelines.packaged import lexicons
from pipelines.packaged.weights import bert_of_onnx, packed, packed_encoder

WIDTH, INNER, WORDS, PLACES = 32, 64, 6, 12


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def tensor(name: str, value: np.ndarray) -> bytes:
    kind = {"float32": 1, "uint8": 2, "int8": 3}[value.dtype.name]
    shape = b"".join(field(1, size) for size in value.shape)
    return field(5, shape + field(2, kind) + field(8, name.encode()) + field(9, value.tobytes()))


def test_an_int8_onnx_gives_the_weights_under_their_published_names(tmp_path) -> None:
    levels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    base = "onnx::MatMul_1"
    node = field(1, f"{base}_x".encode()) + field(1, f"{base}_quantized".encode())
    node += field(3, b"/bert/encoder/layer.0/output/dense/MatMul_quant") + field(
        4, b"MatMulInteger"
    )
    graph = (
        tensor(f"{base}_quantized", levels)
        + tensor(f"{base}_scale", np.float32(0.5).reshape(()))
        + tensor(f"{base}_zero_point", np.uint8(2).reshape(()))
        + tensor("bert.encoder.layer.0.output.dense.bias", np.ones(3, np.float32))
        + field(1, node)
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(field(7, graph))
    found = bert_of_onnx(path)
    assert sorted(found) == [
        "encoder.layer.0.output.dense.bias",
        "encoder.layer.0.output.dense.weight",
    ]
    assert (
        found["encoder.layer.0.output.dense.weight"].tolist() == ((levels - 2.0) * 0.5).T.tolist()
    )


def image() -> bytes:
    """A packed encoder of one layer."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁good", "▁bad"]
    blob = "".join(pieces).encode()
    ends = np.cumsum([0, *(len(piece.encode()) for piece in pieces)]).astype("<u4")
    head = b"E5S1" + struct.pack("<I7ifi", 1, WIDTH, 1, 2, INNER, WORDS, PLACES, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(pieces), 0, 2, 1, 3, len(blob)) + ends.tobytes()
    head += np.full(len(pieces), -1.0, "<f4").tobytes() + blob + struct.pack("<iI", 0, 0)
    square, wide = (WIDTH, WIDTH), (INNER, WIDTH)
    shapes = {"emb.word": (WORDS, WIDTH), "emb.pos": (PLACES, WIDTH), "emb.type": (2, WIDTH)}
    shapes |= {"emb.ln.w": (WIDTH,), "emb.ln.b": (WIDTH,)}
    for part, shape in (("q", square), ("k", square), ("v", square), ("ao", square), ("fi", wide)):
        shapes |= {f"l0.{part}.w": shape, f"l0.{part}.b": shape[:1]}
    shapes |= {"l0.fo.w": (WIDTH, INNER), "l0.fo.b": (WIDTH,)}
    shapes |= {f"l0.{part}.{kind}": (WIDTH,) for part in ("aln", "oln") for kind in "wb"}
    bodies, rng = [], np.random.default_rng(1)
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        if name == "emb.word" or (name.endswith(".w") and not name.endswith("ln.w")):
            scales = np.full((size // 32, 1), 0.5, "<f2").view("u1")
            halves = rng.integers(0, 256, (size // 32, 16), dtype=np.uint8)
            bodies.append(np.concatenate([scales, halves], axis=1).tobytes())
        else:
            bodies.append(np.ones(size, "<f4").tobytes())
    start = len(head) + 4 + sum(2 + len(name) + 21 for name in shapes)
    listing = struct.pack("<i", len(shapes))
    for (name, shape), body in zip(shapes.items(), bodies, strict=True):
        listing += struct.pack("<H", len(name)) + name.encode()
        listing += struct.pack("<BIQQ", 0, int(np.prod(shape)), start, len(body))
        start += len(body)
    return head + listing + b"".join(bodies)


def test_a_packed_image_gives_an_encoder_of_any_depth(tmp_path) -> None:
    path = tmp_path / "e5-small-q4.bin"
    path.write_bytes(image())
    config, weights, _ = packed(path)
    assert (config["hidden_size"], config["num_hidden_layers"]) == (WIDTH, 1)
    words = weights["embeddings.word_embeddings.weight"]
    assert words.shape == (WORDS, WIDTH) and set(np.unique(words)) <= {x / 2 for x in range(-8, 8)}
    assert weights["encoder.layer.0.output.dense.weight"].shape == (WIDTH, INNER)
    for depth in (0, 1, 9):
        vectors = packed_encoder("multilingual", tmp_path, depth, 8).encode(["good", "bad", "good"])
        assert np.array_equal(vectors[0], vectors[2]) and not np.allclose(vectors[0], vectors[1])


def test_another_file_or_none_is_named(tmp_path) -> None:
    with pytest.raises(MissingResource, match="is missing"):
        packed_encoder("english", tmp_path, 6, 8)
    (tmp_path / "e5-small-q4.bin").write_bytes(b"nonsense")
    with pytest.raises(MissingResource, match="no packed encoder"):
        packed_encoder("multilingual", tmp_path, 6, 8)


def test_the_lexicon_has_words_and_emoji() -> None:
    found = lexicons.english()
    assert found["great"] > 0 > found["awful"] and found["😍"] > 0

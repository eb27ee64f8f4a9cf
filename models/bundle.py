"""A trained model on disk: safetensors + JSON + a manifest of SHA-256, checked before anything is parsed.

The one module of `models` that touches disk. No pickle is written or read. Layout of a bundle's folder::

    manifest.json        written last: its presence means that the bundle is complete
    config.json          kind, numbers and names
    tensors.safetensors  weights and vectors
    vocabulary.json      lists of strings (ids, classes, words)
    <name>/…             other bundles inside this one (an encoder)
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

MANIFEST = "manifest.json"
FORMAT = 1
HOW: dict[str, Any] = {"ensure_ascii": False, "sort_keys": True, "allow_nan": False, "indent": 1}
"""How JSON is written."""
TYPES = {
    "BOOL": np.bool_,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "I8": np.int8,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
    "U8": np.uint8,
    "U16": np.uint16,
    "U32": np.uint32,
    "U64": np.uint64,
}
"""Names of types in a file of safetensors."""


class DamagedBundle(Exception):
    """A file of the bundle is missing, added, or not what the manifest says; the text names it."""


@dataclass(frozen=True)
class Bundle:
    """Everything that a model of a `kind` is made from.

    kind: key of `models.kinds.KINDS`. config: JSON values. tensors: name to array.
    vocabulary: name to list of strings. members: name to bundle.
    """

    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)
    vocabulary: Mapping[str, list[str]] = field(default_factory=dict)
    members: Mapping[str, "Bundle"] = field(default_factory=dict)


def _dump(value: Any) -> str:
    return json.dumps(value, **HOW) + "\n"


def sha256(path: Path) -> str:
    """Hash of one file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(bundle: Bundle, folder: Path) -> str:
    """Write `bundle` into a new `folder` and return the hash of its manifest.

    Equal bundles give equal bytes. Raises `FileExistsError` where `folder` exists.
    """
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        _dump({"format": FORMAT, "kind": bundle.kind, "config": dict(bundle.config)}), "utf-8"
    )
    tensors = {name: np.ascontiguousarray(bundle.tensors[name]) for name in sorted(bundle.tensors)}
    save_file(tensors, folder / "tensors.safetensors")
    with (folder / "vocabulary.json").open("w", encoding="utf-8") as file:
        # A text of all names would be as large as they are.
        json.dump(dict(bundle.vocabulary), file, **HOW)
        file.write("\n")
    for name, member in bundle.members.items():
        save(member, folder / name)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listing = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    (folder / MANIFEST).write_text(_dump({"format": FORMAT, "files": listing}), "utf-8")
    return sha256(folder / MANIFEST)


def manifest_hash(folder: Path) -> str:
    """The identity of the bundle in `folder`: the hash of its manifest."""
    return sha256(folder / MANIFEST)


def verify(folder: Path) -> None:
    """Compare every file with the manifest. Raises `DamagedBundle` naming the first that differs."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise DamagedBundle(f"{manifest} is missing: the bundle was never finished")
    expected = json.loads(manifest.read_text("utf-8"))["files"]
    present = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path != manifest
    }
    for name in sorted(present ^ set(expected)):
        fault = "is missing" if name in expected else "is not in the manifest"
        raise DamagedBundle(f"{folder / name} {fault}")
    for name, digest in expected.items():
        if sha256(folder / name) != digest:
            raise DamagedBundle(f"{folder / name} is not what the manifest says (SHA-256 differs)")


def load(folder: Path) -> Bundle:
    """Read the bundle in `folder` after `verify`. Raises `DamagedBundle`."""
    verify(folder)
    return _load(folder)


def _load(folder: Path) -> Bundle:
    head = json.loads((folder / "config.json").read_text("utf-8"))
    if head["format"] != FORMAT:
        raise DamagedBundle(f"{folder}: format {head['format']}, this code reads {FORMAT}")
    return Bundle(
        kind=head["kind"],
        config=head["config"],
        tensors=_mapped(folder / "tensors.safetensors"),
        vocabulary=json.loads((folder / "vocabulary.json").read_text("utf-8")),
        members={
            path.parent.name: _load(path.parent) for path in sorted(folder.glob("*/config.json"))
        },
    )


def _mapped(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file as its format tells them: eight bytes of the header's length, the header, the numbers.

    They are read when they are looked at: a recommender's events, half of its bytes, mostly are not. What is written to
    them changes no file.
    """
    whole = np.memmap(path, np.uint8, "c")
    begin = 8 + int(whole[:8].view("<u8")[0])
    header = json.loads(whole[8:begin].tobytes())
    header.pop("__metadata__", None)
    found = {}
    for name, told in header.items():
        start, end = told["data_offsets"]
        part = np.asarray(whole[begin + start : begin + end])
        found[name] = part.view(TYPES[told["dtype"]]).reshape(told["shape"])
    return found

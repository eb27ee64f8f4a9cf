"""Recommenders as bundles: what a data class's fields hold, found out by looking, so that no class says a word about it.

Arrays become tensors, lists of texts vocabularies, all else JSON. What several parts share (the catalogue, the events) is
written once.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import import_module
from typing import Any

import numpy as np
import scipy.sparse as sp

from models.bundle import Bundle, DamagedBundle
from models.recommenders.columns import parts, release

HOME = __name__.rpartition(".")[0]
"""The package whose data classes are read and written: no other."""
SPARSE = ("data", "indices", "indptr")
HASHED = 1 << 24
"""Bytes that are hashed at a time."""


@dataclass
class _Writer:
    """What was written so far. seen: type, shape and hash of an array to its name."""

    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    vocabulary: dict[str, list[str]] = field(default_factory=dict)
    seen: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def array(self, value: np.ndarray, name: str) -> str:
        value = np.ascontiguousarray(value)
        key = (value.dtype.str, value.shape, _digest(value))
        if key not in self.seen:
            self.seen[key] = name
            self.tensors[name] = value
        return self.seen[key]

    def names(self, value: list[str], name: str) -> str:
        same = (other for other, kept in self.vocabulary.items() if kept is value or kept == value)
        found = next(same, name)
        self.vocabulary.setdefault(found, value)
        return found

    def tree(self, value: Any, name: str) -> Any:
        """`value` as JSON that names what was put aside."""
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.ndarray):
            return {"array": self.array(value, name)}
        if sp.issparse(value):
            rows = sp.csr_matrix(value)
            parts = {part: self.array(getattr(rows, part), f"{name}.{part}") for part in SPARSE}
            return {"sparse": {**parts, "shape": list(rows.shape)}}
        if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
            return {"names": self.names(value, name)}
        if isinstance(value, list | tuple):
            each = [self.tree(one, f"{name}.{at}") for at, one in enumerate(value)]
            return {"tuple" if isinstance(value, tuple) else "list": each}
        if isinstance(value, Mapping):
            # Pairs, as JSON is written in the order of its keys.
            return {"pairs": [[key, self.tree(one, f"{name}.{key}")] for key, one in value.items()]}
        home, _, module = type(value).__module__.rpartition(".")
        if not is_dataclass(value) or home != HOME:
            raise TypeError(f"{name}: {type(value).__name__} is no part that a bundle can hold")
        inside = f"{name}." if name else ""
        return {
            "part": f"{module}:{type(value).__name__}",
            "of": {
                one.name: self.tree(getattr(value, one.name), inside + one.name)
                for one in fields(value)
            },
        }


def _digest(value: np.ndarray) -> bytes:
    """Of the bytes of an array that may be mapped."""
    found, whole = hashlib.sha256(), value.reshape(-1).view(np.uint8)
    for part in parts(len(whole), HASHED):
        found.update(whole[part].data)
        release(value)
    return found.digest()


def packed(kind: str, model: Any) -> Bundle:
    """`model`, a data class of this package, as a bundle of `kind`. Raises `TypeError` for what no bundle can hold."""
    writer = _Writer()
    tree = writer.tree(model, "")
    return Bundle(kind, {"model": tree}, writer.tensors, writer.vocabulary)


def unpacked(bundle: Bundle) -> Any:
    """What `packed` was given. Raises `DamagedBundle` for a part that this code doesn't know."""
    return _read(bundle.config["model"], bundle)


def _read(tree: Any, bundle: Bundle) -> Any:
    if not isinstance(tree, dict):
        return tree
    what, value = next(iter(tree.items()))
    if what == "array":
        return bundle.tensors[value]
    if what == "sparse":
        parts = tuple(bundle.tensors[value[part]] for part in SPARSE)
        return sp.csr_matrix(parts, shape=tuple(value["shape"]))
    if what == "names":
        return bundle.vocabulary[value]
    if what == "list":
        return [_read(one, bundle) for one in value]
    if what == "tuple":
        return tuple(_read(one, bundle) for one in value)
    if what == "pairs":
        return {key: _read(one, bundle) for key, one in value}
    held = {name: _read(one, bundle) for name, one in tree["of"].items()}
    return _part(tree["part"])(**held)


def _part(name: str) -> Any:
    module, _, kind = name.partition(":")
    try:
        found = getattr(import_module(f"{HOME}.{module}"), kind) if module.isidentifier() else None
    except (ImportError, AttributeError):
        found = None
    if not (isinstance(found, type) and is_dataclass(found)):
        raise DamagedBundle(f"{name!r} is no part of a recommender that this code knows")
    return found

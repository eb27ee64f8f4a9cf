"""What is known of items beside behaviour, from columns of any make."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp

WORD = re.compile(r"[\u3400-\u9fff]|[^\W_]+")
SHORT = 3.0
"""A text column of fewer words on average holds values; of more, prose."""
MOST_VALUES = 0.8
"""A column whose values are more different than this share of the items says little as a value."""
PROSE = 0.05
"""Prose is seldom the same: so many of the texts differ."""
BINS = 10
"""A column of numbers is cut into so many values of equal size."""
MOST_CODES = 8
"""Columns that are kept as values."""


@dataclass(frozen=True)
class Catalogue:
    """tokens: (n, F) float32, words and values weighed by rarity, rows of length 1 (0 where nothing is known).

    codes: (n, C) int32, the value's number in each column of values, -1 for none. sizes: how many values each has.
    names: of these columns. numbers: (n, M) float32, NaN where missing.
    """

    tokens: sp.csr_matrix
    codes: np.ndarray
    sizes: tuple[int, ...]
    names: tuple[str, ...]
    numbers: np.ndarray

    @classmethod
    def none(cls, items: int) -> "Catalogue":
        """Of a shop that tells nothing about its items."""
        return cls(
            sp.csr_matrix((items, 0), dtype=np.float32),
            np.zeros((items, 0), np.int32),
            (),
            (),
            np.zeros((items, 0), np.float32),
        )

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[Any]], items: int) -> "Catalogue":
        """columns: name to a value for each item: text, number, truth value, list of values, list of numbers, None."""
        parts, codes, names, numbers = [], [], [], []
        for name, values in columns.items():
            made = _Column.of(values)
            if made.tokens is not None:
                parts.append(made.tokens)
            if made.codes is not None:
                codes.append(made.codes)
                names.append(name)
            if made.numbers is not None:
                numbers.append(made.numbers)
        kept = _different(codes)
        codes, names = [codes[at] for at in kept], [names[at] for at in kept]
        stacked = np.stack(codes, axis=1) if codes else np.zeros((items, 0), np.int32)
        return cls(
            tokens=_rows(parts, items),
            codes=stacked,
            sizes=tuple(int(one.max(initial=-1)) + 1 for one in codes),
            names=tuple(names),
            numbers=np.stack(numbers, axis=1) if numbers else np.zeros((items, 0), np.float32),
        )

    @classmethod
    def from_table(cls, table: pa.Table, key: str, ids: Sequence[str]) -> "Catalogue":
        """What the other columns of `table` tell of `ids`, in their order; of rows of one `key` the first counts."""
        frame = table.to_pandas().drop_duplicates(key).set_index(key).reindex(ids)
        columns = {str(name): frame[name].tolist() for name in frame.columns}
        return cls.from_columns(columns, len(ids))

    @property
    def known(self) -> bool:
        return self.tokens.nnz > 0


def _different(codes: list[np.ndarray]) -> list[int]:
    """Positions of up to `MOST_CODES` columns from the coarsest to the finest that divide the items differently."""
    first: dict[bytes, int] = {}
    for at, code in enumerate(codes):
        # Numbered in the order of the items: a name and its number become the same.
        alike = pd.factorize(code)[0].astype(np.int32)
        if alike.max(initial=0) > 0:
            first.setdefault(alike.tobytes(), at)
    order = sorted(first.values(), key=lambda at: len(np.unique(codes[at])))
    spread = np.linspace(0, len(order) - 1, min(MOST_CODES, len(order))).round().astype(int)
    return [order[at] for at in dict.fromkeys(spread.tolist())]


def _rows(parts: list[sp.csr_matrix], items: int) -> sp.csr_matrix:
    """All columns' tokens side by side: rarity times 1 for each, rows of length 1."""
    if not parts:
        return sp.csr_matrix((items, 0), dtype=np.float32)
    whole = sp.hstack(parts).tocsc()
    held = np.diff(whole.indptr)
    whole = whole[:, held > 0]
    whole = (whole @ sp.diags(np.log1p(items / held[held > 0]).astype(np.float32))).tocsr()
    length = np.sqrt(np.asarray(whole.multiply(whole).sum(1)).ravel())
    return (sp.diags((1.0 / np.maximum(length, 1e-9)).astype(np.float32)) @ whole).tocsr()


@dataclass(frozen=True)
class _Column:
    """One column, as what it can be used as."""

    tokens: sp.csr_matrix | None = None
    codes: np.ndarray | None = None
    numbers: np.ndarray | None = None

    @classmethod
    def of(cls, values: Sequence[Any]) -> "_Column":
        given = [None if _missing(value) else value for value in values]
        sample = next((value for value in given if value is not None), None)
        if sample is None:
            return cls()
        if isinstance(sample, list | tuple | np.ndarray):
            return cls._lists(given)
        if isinstance(sample, bool | np.bool_):
            return cls._values([None if value is None else str(value) for value in given])
        if isinstance(sample, int | float | np.number):
            return cls._numbers(
                pd.to_numeric(pd.Series(given), errors="coerce").to_numpy(np.float32)
            )
        text = [None if value is None else str(value).strip() or None for value in given]
        words = [[] if value is None else WORD.findall(value.lower()) for value in text]
        held = max(sum(value is not None for value in text), 1)
        different = len({value for value in text if value is not None})
        length = sum(map(len, words)) / held
        if length > SHORT and different > PROSE * held:
            return cls(tokens=_bags(words))
        found = cls() if different > max(BINS, MOST_VALUES * held) else cls._values(text)
        if length > 1.0:
            bags = _bags(words)
            both = bags if found.tokens is None else sp.hstack([found.tokens, bags]).tocsr()
            return cls(tokens=both, codes=found.codes)
        return found

    @classmethod
    def _lists(cls, given: list[Any]) -> "_Column":
        held = [at for at, value in enumerate(given) if value is not None and len(value)]
        sizes = {len(given[at]) for at in held}
        if len(sizes) == 1 and isinstance(given[held[0]][0], float | np.floating):
            dense = np.zeros((len(given), sizes.pop()), dtype=np.float32)
            dense[held] = np.nan_to_num(np.array([given[at] for at in held], dtype=np.float32))
            dense /= np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-9)
            return cls(tokens=sp.csr_matrix(dense))
        return cls(tokens=_bags([[] if v is None else [str(one) for one in v] for v in given]))

    @classmethod
    def _values(cls, text: list[str | None]) -> "_Column":
        names = {
            name: at for at, name in enumerate(sorted({one for one in text if one is not None}))
        }
        codes = np.fromiter(
            (-1 if one is None else names[one] for one in text), np.int32, len(text)
        )
        held = codes >= 0
        ones = np.ones(int(held.sum()), dtype=np.float32)
        shape = (len(codes), max(len(names), 1))
        return cls(
            tokens=sp.csr_matrix((ones, (np.flatnonzero(held), codes[held])), shape=shape),
            codes=codes,
        )

    @classmethod
    def _numbers(cls, values: np.ndarray) -> "_Column":
        finite = np.isfinite(values)
        different = np.unique(values[finite])
        whole = bool((different == np.round(different)).all())
        if whole and len(different) <= max(BINS, MOST_VALUES * finite.sum()):
            return cls._values(
                [str(int(v)) if ok else None for v, ok in zip(values, finite, strict=True)]
            )
        edges = np.unique(np.quantile(values[finite], np.linspace(0, 1, BINS + 1)[1:-1]))
        bins = np.searchsorted(edges, values, side="right")
        found = cls._values(
            [f"{at:02}" if ok else None for at, ok in zip(bins, finite, strict=True)]
        )
        return cls(found.tokens, found.codes, np.where(finite, values, np.nan).astype(np.float32))


def _missing(value: Any) -> bool:
    return value is None or value is pd.NaT or (isinstance(value, float) and value != value)


def _bags(bags: Sequence[Sequence[str]]) -> sp.csr_matrix:
    """Which words each text holds, (n, words), words of one text left out."""
    lengths = np.fromiter((len(one) for one in bags), dtype=np.int64, count=len(bags))
    flat = [word for one in bags for word in one]
    codes, names = pd.factorize(np.asarray(flat, dtype=object), sort=True)
    rows = np.repeat(np.arange(len(bags)), lengths)
    ones = np.ones(len(codes), dtype=np.float32)
    found = sp.csr_matrix((ones, (rows, codes)), shape=(len(bags), max(len(names), 1)))
    found.data[:] = 1.0
    held = np.bincount(found.indices, minlength=found.shape[1])
    return found[:, held > 1]

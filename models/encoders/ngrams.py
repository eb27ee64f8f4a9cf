"""Hashed word and character n-grams of many texts at once, as arrays.

Source: Weinberger et al. (2009), Feature Hashing for Large Scale Multitask Learning; the mixing is that of Steele,
Lea and Flood (2014), Fast Splittable Pseudorandom Number Generators. Every text is normalised (NFKC, lower case,
runs of white space as one space). A word is a run of letters and digits; each CJK character is a word of its own.
"""

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FACTOR = 0x9E3779B97F4A7C15
BLOCK_CHARACTERS = 2_000_000
CJK = ((0x2E80, 0x9FFF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
LETTER, IDEOGRAPH = 1, 2


@dataclass(frozen=True)
class Grams:
    """What is taken from a text: word n-grams up to `words` long, character n-grams of `low` to `high` characters.

    high = 0: no character n-grams. buckets: a power of two, the number of different ids.
    """

    words: int
    low: int
    high: int
    buckets: int


def normal(text: str) -> str:
    """The text as n-grams see it.

    >>> normal("  Ｇood\\n DEAL ")
    'good deal'
    """
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def mix(values: np.ndarray) -> np.ndarray:
    """Scramble uint64 values (n,) so that every bit of the result depends on all bits (splitmix64)."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))


def hashed_ngrams(texts: Sequence[str], grams: Grams) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all n-grams: uint64 values (m,) and offsets (n + 1,) int64; text i owns the slice between two.

    Equal n-grams have equal values wherever they are; a text's values are sorted and come once each.
    """
    rows, values = [], []
    start = 0
    while start < len(texts):
        stop, size = start, 0
        while stop < len(texts) and (stop == start or size < BLOCK_CHARACTERS):
            size += len(texts[stop])
            stop += 1
        row, value = _block([normal(text) for text in texts[start:stop]], grams)
        rows.append(row + start)
        values.append(value)
        start = stop
    row = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    value = np.concatenate(values) if values else np.zeros(0, np.uint64)
    offsets = np.searchsorted(row, np.arange(len(texts) + 1))
    return value, offsets.astype(np.int64)


def bucket_ids(values: np.ndarray, buckets: int) -> np.ndarray:
    """The bucket, (m,) int64 from 0 to buckets - 1, of each hash: its highest bits."""
    bits = buckets.bit_length() - 1
    if buckets != 1 << bits or not 1 <= bits <= 32:
        raise ValueError(f"buckets must be a power of two up to 2^32, not {buckets}")
    return (values >> np.uint64(64 - bits)).astype(np.int64)


@functools.cache
def _kinds() -> np.ndarray:
    """Of every code point, whether it is part of a word (LETTER) or one by itself (IDEOGRAPH)."""
    kinds = np.fromiter(
        (chr(code).isalnum() for code in range(0x110000)), dtype=np.uint8, count=0x110000
    )
    for low, high in CJK:
        kinds[low : high + 1] *= IDEOGRAPH
    return kinds


def _powers(count: int) -> np.ndarray:
    powers = np.full(max(count, 1), FACTOR, dtype=np.uint64)
    powers[0] = 1
    with np.errstate(over="ignore"):
        return np.multiply.accumulate(powers)


def _block(texts: list[str], grams: Grams) -> tuple[np.ndarray, np.ndarray]:
    """Rows (m,) and hashes (m,) of normalised texts, sorted by both, without repeats."""
    framed = [f" {text} " if text else "" for text in texts]
    lengths = np.fromiter((len(text) for text in framed), np.int64, len(framed))
    raw = "".join(framed).encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(raw, dtype=np.uint32)
    owner = np.repeat(np.arange(len(texts)), lengths)
    rows: list[np.ndarray] = []
    values: list[np.ndarray] = []
    with np.errstate(over="ignore"):
        for row, value in [*_characters(codes, owner, grams), *_words(codes, owner, grams)]:
            rows.append(row)
            values.append(mix(value))
    if not rows:
        return np.zeros(0, np.int64), np.zeros(0, np.uint64)
    row, value = np.concatenate(rows), np.concatenate(values)
    order = np.lexsort((value, row))
    row, value = row[order], value[order]
    fresh = np.ones(len(row), dtype=bool)
    fresh[1:] = (row[1:] != row[:-1]) | (value[1:] != value[:-1])
    return row[fresh], value[fresh]


def _characters(
    codes: np.ndarray, owner: np.ndarray, grams: Grams
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each length n: sum over j of code[i + j] x FACTOR^j, where i and i + n - 1 are of one text."""
    found = []
    powers = _powers(grams.high)
    wide = codes.astype(np.uint64)
    running = np.zeros(len(codes), dtype=np.uint64)
    for length in range(1, grams.high + 1):
        stop = len(codes) - length + 1
        if stop <= 0:
            break
        running = running[:stop] + wide[length - 1 :] * powers[length - 1]
        if length >= grams.low:
            whole = owner[:stop] == owner[length - 1 :]
            found.append((owner[:stop][whole], running[whole] + np.uint64(2 * length)))
    return found


def _words(
    codes: np.ndarray, owner: np.ndarray, grams: Grams
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Words as sum over their characters of code x FACTOR^position, n-grams by folding the mixed words."""
    kinds = _kinds()[codes]
    before = np.concatenate([[0], kinds[:-1]])
    starts = np.flatnonzero((kinds == IDEOGRAPH) | ((kinds == LETTER) & (before != LETTER)))
    if not grams.words or not len(starts):
        return []
    inside = kinds > 0
    index = np.cumsum(np.isin(np.arange(len(codes)), starts, assume_unique=True)) - 1
    place = np.maximum(np.arange(len(codes)) - starts[np.maximum(index, 0)], 0)
    longest = int(place[inside].max()) + 1
    terms = np.where(
        inside, codes.astype(np.uint64) * _powers(longest)[np.minimum(place, longest - 1)], 0
    ).astype(np.uint64)
    word = mix(np.add.reduceat(terms, starts))
    of = owner[starts]
    found = []
    running = word
    for length in range(1, grams.words + 1):
        stop = len(word) - length + 1
        if stop <= 0:
            break
        if length > 1:
            running = running[:stop] * np.uint64(FACTOR) + word[length - 1 :]
        whole = of[:stop] == of[length - 1 :]
        found.append((of[:stop][whole], running[:stop][whole] + np.uint64(2 * length + 1)))
    return found

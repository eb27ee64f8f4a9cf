"""Values as titles write them: each word is marked as outside, or as beginning or going on with a field's value.

Scores of words come from hashed features of the word and its surroundings, from values that training titles had, and
from a two-way recurrent net over a language model's states; a conditional random field joins them. A title's category
says which fields are asked. Sources: Lafferty, McCallum and Pereira (2001), Conditional random fields; Lample et al.
(2016), Neural architectures for named entity recognition.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn
from torch.nn import functional

from models.encoders.text import TextEncoder

WORD = re.compile(r"[^\W\d_]+|\d+(?:[.,]\d+)*|[^\w\s]|_")
BUCKETS = 1 << 30
NEVER = -1e4
PAD = 0
TINY = 1e-30


@dataclass(frozen=True)
class Title:
    """One title to read. fields: those that are asked."""

    text: str
    category: str
    fields: tuple[str, ...]


def words(text: str) -> list[tuple[int, int]]:
    """Where each word, number or mark of a text begins and ends.

    >>> [("16.9 Fl-Oz")[a:b] for a, b in words("16.9 Fl-Oz")]
    ['16.9', 'Fl', '-', 'Oz']
    """
    return [found.span() for found in WORD.finditer(text)]


def shape(word: str) -> str:
    """Capitals, small letters, digits and marks, repeats shortened.

    >>> shape("Keurig2")
    'Xx0'
    """
    plain = re.sub(r"[^\W\d_]", lambda one: "X" if one[0].isupper() else "x", word)
    return re.sub(r"(.)\1+", r"\1", re.sub(r"\d", "0", plain))


def bucket(text: str) -> int:
    """A stable number from 1 for a feature (FNV-1a)."""
    value = 2166136261
    for byte in text.encode("utf-8", "replace"):
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return 1 + value % (BUCKETS - 1)


@dataclass(frozen=True)
class Gazetteer:
    """Values that training titles had: the lowered words of a value to the fields and how many titles had them."""

    values: Mapping[tuple[str, ...], Mapping[str, int]] = field(default_factory=dict)
    longest: int = 0

    @classmethod
    def of(cls, marked: Sequence[tuple[Sequence[str], str]]) -> "Gazetteer":
        """From pairs of a value's words and its field."""
        values: dict[tuple[str, ...], dict[str, int]] = {}
        for parts, name in marked:
            counts = values.setdefault(tuple(part.lower() for part in parts), {})
            counts[name] = counts.get(name, 0) + 1
        return cls(values, max(map(len, values), default=0))

    def marks(self, lowered: Sequence[str], own: Mapping[tuple[str, ...], str]) -> list[list[str]]:
        """For each word the fields whose values cover it, as `B:field` or `I:field`, longest values only.

        own: values that this very title taught, which count one less: else training would trust the list too much.
        """
        found: list[list[str]] = [[] for _ in lowered]
        for start in range(len(lowered)):
            for length in range(min(self.longest, len(lowered) - start), 0, -1):
                key = tuple(lowered[start : start + length])
                counts = self.values.get(key, {})
                names = [
                    name for name, count in counts.items() if count - (own.get(key) == name) > 0
                ]
                for name in names:
                    for at in range(length):
                        found[start + at].append(f"{'B' if at == 0 else 'I'}:{name}")
                if names:
                    break
        return found


def features(
    title: Title, gazetteer: Gazetteer, own: Mapping[tuple[str, ...], str] = {}
) -> list[list[int]]:
    """Buckets of each word's features."""
    spans = words(title.text)
    parts = [title.text[a:b] for a, b in spans]
    lowered = [part.lower() for part in parts]
    marks = gazetteer.marks(lowered, own)
    count = len(parts)

    def at(place: int) -> str:
        return lowered[place] if 0 <= place < count else ("<" if place < 0 else ">")

    def kind(place: int) -> str:
        return shape(parts[place]) if 0 <= place < count else ("<" if place < 0 else ">")

    rows = []
    for place in range(count):
        word = lowered[place]
        told = [
            f"w={word}",
            f"s={kind(place)}",
            f"c={title.category}|w={word}",
            f"c={title.category}|s={kind(place)}",
            f"c={title.category}",
            f"p={min(place, 5)}",
            f"c={title.category}|p={min(place, 3)}",
            f"e={min(count - 1 - place, 3)}",
        ]
        told += [f"pre={word[:n]}" for n in (1, 2, 3, 4) if len(word) > n]
        told += [f"suf={word[-n:]}" for n in (1, 2, 3, 4) if len(word) > n]
        for step in (-3, -2, -1, 1, 2, 3):
            told.append(f"w{step}={at(place + step)}")
            told.append(f"s{step}={kind(place + step)}")
        told.append(f"b-={at(place - 1)}|{word}")
        told.append(f"b+={word}|{at(place + 1)}")
        told.append(f"t={at(place - 1)}|{word}|{at(place + 1)}")
        told.append(f"sb={kind(place - 1)}|{kind(place)}|{kind(place + 1)}")
        told.append(f"n2={at(place + 1)}|{at(place + 2)}")
        told.append(f"p2={at(place - 2)}|{at(place - 1)}")
        inside = title.text[: spans[place][0]]
        told.append(f"()={inside.count('(') > inside.count(')')}")
        told.append(f"comma={min(inside.count(','), 4)}")
        for step, name in ((0, "g"), (-1, "g-"), (1, "g+")):
            if 0 <= place + step < count:
                told += [f"{name}={mark}" for mark in marks[place + step]]
        rows.append([bucket(one) for one in told])
    return rows


class Tagger(nn.Module):
    """Scores of labels for words, and of labels that follow one another.

    Labels: 0 is outside; of field f, 2 f + 1 begins a value and 2 f + 2 goes on with it.
    """

    def __init__(self, known: int, fields: int, width: int, hidden: int, drop: float) -> None:
        super().__init__()
        labels = 2 * fields + 1
        self.sparse = nn.EmbeddingBag(known + 1, labels, mode="sum", padding_idx=PAD)
        self.bags = nn.EmbeddingBag(known + 1, hidden, mode="sum", padding_idx=PAD)
        self.width = width
        self.states = nn.Linear(width, hidden) if width else None
        self.net = nn.LSTM(
            hidden * (2 if width else 1), hidden, batch_first=True, bidirectional=True
        )
        self.out = nn.Linear(2 * hidden, labels)
        self.drop = nn.Dropout(drop)
        self.follow = nn.Parameter(torch.zeros(labels, labels))
        self.first = nn.Parameter(torch.zeros(labels))
        nn.init.zeros_(self.sparse.weight)
        nn.init.normal_(self.bags.weight, std=0.05)
        barred = torch.zeros(labels, labels)
        barred_first = torch.zeros(labels)
        for at in range(fields):
            inside = 2 * at + 2
            barred[:, inside] = NEVER
            barred[[inside - 1, inside], inside] = 0.0
            barred_first[inside] = NEVER
        self.barred: torch.Tensor
        self.barred_first: torch.Tensor
        self.register_buffer("barred", barred, persistent=False)
        self.register_buffer("barred_first", barred_first, persistent=False)

    def emit(
        self, bags: torch.Tensor, states: torch.Tensor, mask: torch.Tensor, asked: torch.Tensor
    ) -> torch.Tensor:
        """bags (b, t, k) buckets, states (b, t, width), mask (b, t), asked (b, labels) of 0 and NEVER: (b, t, labels)."""
        count, length, most = bags.shape
        flat = bags.reshape(count * length, most)
        seen = functional.gelu(self.bags(flat).view(count, length, -1))
        parts = [self.drop(seen)]
        if self.states is not None:
            parts.append(self.drop(functional.gelu(self.states(self.drop(states)))))
        packed = nn.utils.rnn.pack_padded_sequence(
            torch.cat(parts, -1), mask.sum(1).cpu(), batch_first=True, enforce_sorted=False
        )
        hidden, _ = nn.utils.rnn.pad_packed_sequence(
            self.net(packed)[0], batch_first=True, total_length=length
        )
        scores = self.out(self.drop(hidden)) + self.sparse(flat).view(count, length, -1)
        return scores + asked[:, None]

    def transitions(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores of pairs (labels, labels), from and to, and of the first label (labels,)."""
        return self.follow + self.barred, self.first + self.barred_first


def log_partition(
    scores: torch.Tensor, mask: torch.Tensor, follow: torch.Tensor, first: torch.Tensor
) -> torch.Tensor:
    """Logarithm of the summed weight of all label sequences, (b,), for scores (b, t, labels)."""
    total = scores[:, 0] + first
    # A product of matrices in place of a sum over all pairs of labels for each row.
    highest = follow.detach().max()
    weights = (follow - highest).exp()
    for at in range(1, scores.shape[1]):
        top = total.detach().max(1, keepdim=True).values
        sums = (total - top).exp() @ weights
        step = sums.clamp(min=TINY).log() + top + highest + scores[:, at]
        total = torch.where(mask[:, at, None], step, total)
    return torch.logsumexp(total, 1)


def weight_of(
    scores: torch.Tensor,
    labels: torch.Tensor,
    mask: torch.Tensor,
    follow: torch.Tensor,
    first: torch.Tensor,
) -> torch.Tensor:
    """Logarithm of the weight of one label sequence each, (b,)."""
    own = torch.gather(scores, 2, labels[..., None])[..., 0] * mask
    steps = follow[labels[:, :-1], labels[:, 1:]] * mask[:, 1:]
    return own.sum(1) + steps.sum(1) + first[labels[:, 0]]


def span_chances(
    scores: np.ndarray, follow: np.ndarray, first: np.ndarray, longest: int
) -> np.ndarray:
    """Probabilities (fields, t, longest) that a field's value begins at a word and has 1, 2, … words.

    scores (t, labels), follow (labels, labels), first (labels,). They are summed over all that the other words may be: the
    likeliest labels of a whole title may hold values that are less likely than others.
    """
    count, labels = scores.shape
    begin, inside = np.arange(1, labels, 2), np.arange(2, labels, 2)
    before, after = np.empty((count, labels)), np.zeros((count, labels))
    ended = np.zeros((count, labels))
    leave = follow.copy()
    leave[begin, inside] = leave[inside, inside] = NEVER
    before[0] = first + scores[0]
    for at in range(1, count):
        paths = before[at - 1][:, None] + follow
        before[at] = np.logaddexp.reduce(paths, axis=0) + scores[at]
    for at in range(count - 2, -1, -1):
        onward = scores[at + 1] + after[at + 1]
        after[at] = np.logaddexp.reduce(follow + onward, axis=1)
        ended[at] = np.logaddexp.reduce(leave + onward, axis=1)
    stay, enter = follow[inside, inside][:, None], follow[begin, inside][:, None]
    total = np.logaddexp.reduce(before[-1])
    inner = np.cumsum(scores[:, inside].T + stay, axis=1)
    starts = before[:, begin].T - inner + enter - stay - total
    stops = np.pad(inner + ended[:, inside].T, ((0, 0), (0, longest - 1)), constant_values=-np.inf)
    found = starts[:, :, None] + sliding_window_view(stops, longest, axis=1)
    found[:, :, 0] = (before + ended)[:, begin].T - total
    return np.exp(np.minimum(found, 0.0))


def chosen(chances: np.ndarray, least: float) -> list[tuple[int, int, int, float]]:
    """Field, first word, the word after the last and chance of the likeliest values, one a field, none over another.

    chances: see `span_chances`. least: what a value's chance is at least. Where right values are held against all that are
    told and all that there are (F1), half of what is reached is best.
    Source: Lipton, Elkan and Naryanaswamy (2014), Optimal thresholding of classifiers to maximize F1 measure.
    """
    found = []
    fields, begins, lengths = np.nonzero(chances >= least)
    sure = chances[fields, begins, lengths]
    told: set[int] = set()
    taken = np.zeros(chances.shape[1], bool)
    for at in np.argsort(-sure, kind="stable"):
        name, begin, end = int(fields[at]), int(begins[at]), int(begins[at] + lengths[at] + 1)
        if name not in told and not taken[begin:end].any():
            told.add(name)
            taken[begin:end] = True
            found.append((name, begin, end, float(sure[at])))
    return found


@dataclass(frozen=True)
class Inputs:
    """Titles as arrays: bags (n, t, k), states (n, t, width) float32, lengths (n,), asked (n, labels)."""

    bags: np.ndarray
    states: np.ndarray
    lengths: np.ndarray
    asked: np.ndarray


def asked_labels(
    titles: Sequence[Title], fields: Sequence[str], known: Mapping[str, Sequence[str]]
) -> np.ndarray:
    """0 for labels of asked fields and outside, NEVER for others, (n, labels) float32.

    A title that names no field is asked those that are `known` of its category, else all.
    """
    found = np.full((len(titles), 2 * len(fields) + 1), NEVER, np.float32)
    found[:, 0] = 0.0
    place = {name: at for at, name in enumerate(fields)}
    for row, title in enumerate(titles):
        for name in title.fields or known.get(title.category, fields):
            if name in place:
                found[row, 2 * place[name] + 1 : 2 * place[name] + 3] = 0.0
    return found


def padded(rows: Sequence[Sequence[Sequence[int]]], kept: np.ndarray) -> np.ndarray:
    """Bags of different sizes as (n, t, k) int64: places from 1 in `kept`, ascending buckets; others are left out."""
    length = max((len(row) for row in rows), default=1)
    most = max((len(bag) for row in rows for bag in row), default=1)
    found = np.full((len(rows), max(length, 1), most), PAD, np.int64)
    for at, row in enumerate(rows):
        for place, bag in enumerate(row):
            found[at, place, : len(bag)] = bag
    if not len(kept):
        return np.full_like(found, PAD)
    spot = np.searchsorted(kept, found).clip(max=len(kept) - 1)
    return np.where(kept[spot] == found, spot + 1, PAD)


@dataclass(frozen=True)
class Extraction:
    """fields: in the order of their labels. known: category to its fields. kept: buckets of
    features that the taggers know. taggers: the chances that they give to values are averaged. least: see `chosen`."""

    fields: list[str]
    known: Mapping[str, Sequence[str]]
    gazetteer: Gazetteer
    kept: np.ndarray
    taggers: tuple[Tagger, ...]
    states: "States"
    least: float
    kind: ClassVar[str] = "extraction"

    def read(self, titles: Sequence[Title], batch: int = 64) -> list[dict[str, tuple[str, float]]]:
        """For each title field to the value as written, and its confidence; fields that it lacks are absent."""
        found: list[dict[str, tuple[str, float]]] = []
        for start in range(0, len(titles), batch):
            found += self._block(titles[start : start + batch])
        return found

    @torch.no_grad()
    def _block(self, titles: Sequence[Title]) -> list[dict[str, tuple[str, float]]]:
        spans = [words(title.text) for title in titles]
        some = [at for at, of in enumerate(spans) if of]
        answers: list[dict[str, tuple[str, float]]] = [{} for _ in titles]
        if not some:
            return answers
        inputs = make_inputs(
            [titles[at] for at in some],
            self.fields,
            self.known,
            self.gazetteer,
            self.kept,
            self.states,
        )
        mask = torch.arange(inputs.bags.shape[1])[None] < torch.from_numpy(inputs.lengths)[:, None]
        bags, states, asked = (
            torch.from_numpy(x) for x in (inputs.bags, inputs.states, inputs.asked)
        )
        voices = [
            [
                part.double().numpy()
                for part in (one.emit(bags, states, mask, asked), *one.transitions())
            ]
            for one in self.taggers
        ]
        for row, at in enumerate(some):
            length = int(inputs.lengths[row])
            own = np.flatnonzero(inputs.asked[row] == 0)
            chances = np.mean(
                [
                    span_chances(
                        scores[row, :length][:, own],
                        follow[np.ix_(own, own)],
                        first[own],
                        max(self.gazetteer.longest, 1),
                    )
                    for scores, follow, first in voices
                ],
                axis=0,
            )
            for name, begin, end, sure in chosen(chances, self.least):
                value = titles[at].text[spans[at][begin][0] : spans[at][end - 1][1]]
                answers[at][self.fields[(own[2 * name + 1] - 1) // 2]] = (value, sure)
        return answers


class States:
    """A language model's states of words: the mean over a word's pieces."""

    def __init__(self, encoder: TextEncoder | None) -> None:
        self.encoder = encoder

    @property
    def width(self) -> int:
        """Numbers of one word."""
        return self.encoder.width if self.encoder is not None else 0

    def of(self, texts: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]]) -> np.ndarray:
        """(n, t, width) float32, zeros beyond a text's end."""
        length = max((len(of) for of in spans), default=1)
        found = np.zeros((len(texts), max(length, 1), self.width), np.float32)
        if self.encoder is None:
            return found
        for at, (pieces, states) in enumerate(self.encoder.states(texts)):
            for place, (begin, end) in enumerate(spans[at]):
                inside = [k for k, (a, b) in enumerate(pieces) if a < end and b > begin]
                if inside:
                    found[at, place] = states[inside].mean(0)
        return found


def make_inputs(
    titles: Sequence[Title],
    fields: Sequence[str],
    known: Mapping[str, Sequence[str]],
    gazetteer: Gazetteer,
    kept: np.ndarray,
    states: States,
    own: Sequence[Mapping[tuple[str, ...], str]] | None = None,
) -> Inputs:
    """The arrays of titles that have a word each. own: see `Gazetteer.marks`, by title."""
    spans = [words(title.text) for title in titles]
    taught = own or [{}] * len(titles)
    bags = padded(
        [features(t, gazetteer, mine) for t, mine in zip(titles, taught, strict=True)], kept
    )
    return Inputs(
        bags,
        states.of([title.text for title in titles], spans),
        np.array([len(of) for of in spans], np.int64),
        asked_labels(titles, fields, known),
    )

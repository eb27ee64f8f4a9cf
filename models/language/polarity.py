"""The polarity of reviews, or of one aspect in each, as one of any set of labels.

Several voices give logits: words and their neighbours (a linear model over n-grams weighted by how much more often a
class has them; Wang and Manning, 2012, Baselines and Bigrams), a lexicon of rated words, a frozen encoder with a linear
head over its vectors, and one that was trained further (`polarity_reader`). A linear model over what they say decides; it
was fitted on rows that the voices had not seen (Wolpert, 1992, Stacked Generalization), which also makes its probabilities
fit (Guo et al., 2017). Each encoder adds to what was decided before it.
"""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import scipy.sparse as sp

from models.bundle import Bundle
from models.encoders.ngrams import Grams, bucket_ids, hashed_ngrams, mix
from models.encoders.text import TextEncoder
from models.language.lexicon import NAMES, NEAR_NAMES, Lexicon
from models.language.polarity_reader import KIND as READER
from models.language.polarity_reader import PolarityReader

KIND = "polarity"
LONGEST = 6000
"""Characters: of a longer text the first and the last half of that are read."""
TAGS = re.compile(
    r"<(script|style)\b[^>]{0,500}>.*?</\1\s*>|</?[a-zA-Z][^<>]{0,500}>|<!--.*?-->", re.DOTALL
)
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
CLAUSE = re.compile(
    r"[.!?;:,()\n。！？；，、：]|\b(?:but|however|although|though|except|while|yet)\b",
    re.IGNORECASE,
)
NEAR, TERM = np.uint64(0xA5A5_A5A5_0000_0001), np.uint64(0x5A5A_5A5A_0000_0002)
ASPECT = "\u2009"
CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")
WHOLE = 500
"""Characters that an encoder reads of a text; one of a script without spaces counts as three."""


@dataclass(frozen=True)
class Passages:
    """n texts as they are read, and of each the span [start, end) of the aspect that is asked about, or none."""

    texts: list[str]
    spans: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def rows(self, rows: np.ndarray) -> "Passages":
        """Those at `rows` (k,)."""
        spans = None if self.spans is None else self.spans[rows]
        return Passages([self.texts[row] for row in rows], spans)


def passages(texts: Sequence[str], spans: Sequence[tuple[int, int]] | None = None) -> Passages:
    """What is read of `texts` (n,): without markup and control characters, and of a long one its two ends.

    spans: of the aspects, in characters of the texts as given. With them, markup stays and of a long text the
    surroundings of the aspect are read.

    >>> passages(["<b>Good</b>&amp; cheap\\x00"]).texts
    ['Good & cheap']
    """
    if spans is None:
        return Passages([clean(text) for text in texts])
    cut, moved = [], np.zeros((len(texts), 2), dtype=np.int64)
    for row, (text, (start, end)) in enumerate(zip(texts, spans, strict=True)):
        start = min(max(start, 0), len(text))
        end = min(max(end, start), len(text))
        first = max(start - LONGEST // 2, 0) if len(text) > LONGEST else 0
        part = text[first : first + LONGEST]
        # One character for one, so that the span stays.
        cut.append(CONTROLS.sub(" ", part.encode("utf-8", "replace").decode("utf-8")))
        moved[row] = start - first, min(end - first, len(part))
    return Passages(cut, moved)


def clean(text: str) -> str:
    """One text without markup and control characters; of a long one its two ends."""
    if len(text) > LONGEST:
        text = text[: LONGEST // 2] + "\n" + text[-LONGEST // 2 :]
    if "<" in text:
        text = TAGS.sub(" ", text)
    if "&" in text:
        text = html.unescape(text)
    text = CONTROLS.sub(" ", text.encode("utf-8", "replace").decode("utf-8"))
    return text.strip()


def clause(text: str, start: int, end: int) -> str:
    """The part of `text` around [start, end) up to the nearest commas, stops and words of contrast.

    >>> clause("good screen, but an awful battery.", 21, 34)
    'an awful battery.'
    """
    left = max((match.end() for match in CLAUSE.finditer(text, 0, start)), default=0)
    right = CLAUSE.search(text, end)
    return text[left : right.start() if right else len(text)].strip()


def window(text: str, start: int, end: int, words: int = 4) -> str:
    """The aspect with up to `words` words of its sentence on each side, the aspect as one sign."""
    left, right = text[:start].split(), text[end:].split()
    return " ".join([*left[-words:], ASPECT, *right[:words]])


def counts(given: Passages, grams: Grams, near: Grams) -> sp.csr_matrix:
    """(n, buckets) of ones: which n-grams each text has; with aspects, also their clause's and their own."""
    fields = [_hashed(given.texts, grams, np.uint64(0))]
    if given.spans is not None:
        spans = given.spans.tolist()
        around = [
            f"{clause(text, *span)}\n{window(text, *span)}"
            for text, span in zip(given.texts, spans, strict=True)
        ]
        terms = [text[start:end] for text, (start, end) in zip(given.texts, spans, strict=True)]
        fields += [_hashed(around, near, NEAR), _hashed(terms, near, TERM)]
    parts = [
        sp.csr_matrix(
            (
                np.ones(len(values), dtype=np.float32),
                bucket_ids(values, grams.buckets),
                offsets,
            ),
            shape=(len(given), grams.buckets),
        )
        for values, offsets in fields
    ]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    whole.sum_duplicates()
    whole.data[:] = 1
    return whole


def _hashed(texts: Sequence[str], grams: Grams, field: np.uint64) -> tuple[np.ndarray, np.ndarray]:
    values, offsets = hashed_ngrams(texts, grams)
    return (mix(values ^ field) if field else values), offsets


@dataclass(frozen=True)
class Linear:
    """Logits by `weights` (width, outputs) and `bias` (outputs,); one output stands for two classes."""

    weights: np.ndarray
    bias: np.ndarray

    def __call__(self, given: np.ndarray | sp.csr_matrix) -> np.ndarray:
        """(n, outputs) float64."""
        return np.asarray(given @ self.weights, dtype=np.float64) + self.bias


def wide_logits(model: Linear, words: sp.csr_matrix) -> np.ndarray:
    """(n, outputs): of texts by their n-grams, each weighing 1 / sqrt(how many the text has)."""
    size = np.sqrt(np.maximum(np.diff(words.indptr), 1))[:, None]
    return np.asarray(words @ model.weights, dtype=np.float64) / size + model.bias


def chances(logits: np.ndarray) -> np.ndarray:
    """(n, classes) probabilities from (n, outputs) logits."""
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    logits = logits - logits.max(1, keepdims=True)
    shares = np.exp(logits)
    return shares / shares.sum(1, keepdims=True)


@dataclass(frozen=True)
class Reading:
    """How texts become numbers. grams: of whole texts; near: around an aspect, with the same buckets."""

    grams: Grams
    near: Grams
    aspects: bool


@dataclass(frozen=True)
class Deciding:
    """The model over the voices. prior (classes,): what each class's chance is divided by before the choice."""

    stack: Linear
    prior: np.ndarray


@dataclass(frozen=True)
class Frozen:
    """A frozen encoder with a head over its vectors."""

    encoder: TextEncoder
    head: Linear


@dataclass(frozen=True)
class Reader:
    """What reads with an encoder, frozen or trained, and what decides where it was asked too.

    share: of more than `freely` texts, the part that it reads: those that are least sure before.
    """

    voice: Frozen | PolarityReader
    deciding: Deciding
    freely: int
    share: float

    def rows(self, found: np.ndarray) -> np.ndarray:
        """(k,): which of n texts it reads, in order, by the chances `found` (n, classes) before."""
        if len(found) <= self.freely:
            return np.arange(len(found))
        count = max(self.freely, round(self.share * len(found)))
        return np.sort(np.argsort(found.max(1), kind="stable")[:count])


@dataclass(frozen=True)
class Quick:
    """What is known of n texts before an encoder is asked: voices (n, outputs), ratings (n, columns), what they come to.

    together: (n, outputs), the logits of the model that decided last.
    """

    voices: Sequence[np.ndarray]
    rated: np.ndarray
    together: np.ndarray

    def rows(self, rows: np.ndarray) -> "Quick":
        """Those at `rows` (k,)."""
        voices = [voice[rows] for voice in self.voices]
        return Quick(voices, self.rated[rows], self.together[rows])

    def told(self, rows: np.ndarray, logits: np.ndarray) -> "Quick":
        """With `logits` (k, outputs) as what it comes to at `rows` (k,)."""
        together = self.together.copy()
        together[rows] = logits
        return replace(self, together=together)


class Polarity:
    """The polarity of texts of one language, or of all."""

    def __init__(
        self,
        labels: Sequence[str],
        levels: np.ndarray | None,
        reading: Reading,
        lexicon: Lexicon,
        wide: Linear,
        deciding: Deciding,
        readers: Sequence[Reader] = (),
    ) -> None:
        """labels: in order. levels (classes,): their numbers where they are steps of a scale, such as stars.

        wide and lexicon are the quick voices, deciding is over them. readers: asked one after the other.
        """
        self.labels, self.levels, self.reading, self.lexicon = (
            tuple(labels),
            levels,
            reading,
            lexicon,
        )
        self.wide, self.deciding, self.readers = wide, deciding, tuple(readers)

    def judge(
        self, given: Passages, vectors: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Chances (n, classes) and the class (n,) that is chosen. vectors (n, width): the frozen encoder's, where known."""
        if len(self.labels) == 1:
            return np.ones((len(given), 1)), np.zeros(len(given), dtype=np.int64)
        voices = [wide_logits(self.wide, counts(given, self.reading.grams, self.reading.near))]
        rated = rate(given, self.lexicon)
        together = self.deciding.stack(heard(voices, rated, self.levels))
        known, found = Quick(voices, rated, together), chances(together)
        chosen = (found / self.deciding.prior).argmax(1)
        for reader in self.readers if len(given) else ():
            told = vectors is not None and isinstance(reader.voice, Frozen)
            rows = np.arange(len(given)) if told else reader.rows(found)
            said = read(reader.voice, given.rows(rows), vectors if told else None)
            logits = reader.deciding.stack(
                beside(reader.voice, said, known.rows(rows), self.levels)
            )
            known = known.told(rows, logits)
            found[rows] = chances(logits)
            chosen[rows] = (found[rows] / reader.deciding.prior).argmax(1)
        return found, chosen

    def to_bundle(self) -> Bundle:
        """Weights as tensors, the lexicon as vocabulary, the encoder as a member."""
        tensors = {
            "wide.weights": self.wide.weights.astype(np.float32),
            "wide.bias": self.wide.bias,
            "lexicon": np.fromiter(self.lexicon.values.values(), np.float32),
            **_deciding_tensors("quick", self.deciding),
        }
        config = asdict(self.reading)
        members = {}
        if self.levels is not None:
            tensors["levels"] = self.levels
        config["readers"] = [{"freely": one.freely, "share": one.share} for one in self.readers]
        for at, reader in enumerate(self.readers):
            voice, name = reader.voice, f"reader{at}"
            tensors |= _deciding_tensors(name, reader.deciding)
            if isinstance(voice, Frozen):
                tensors |= {
                    f"{name}.head.weights": voice.head.weights,
                    f"{name}.head.bias": voice.head.bias,
                }
                members[name] = voice.encoder.to_bundle()
            else:
                members[name] = voice.to_bundle()
        words = {"labels": list(self.labels), "lexicon": list(self.lexicon.values)}
        return Bundle(KIND, config, tensors, words, members)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Polarity":
        """The model that `to_bundle` gave."""
        tensors, config, members = bundle.tensors, bundle.config, bundle.members
        rated = dict(zip(bundle.vocabulary["lexicon"], tensors["lexicon"].tolist(), strict=True))
        readers = []
        for at, asked in enumerate(config["readers"]):
            name = f"reader{at}"
            voice: Frozen | PolarityReader
            if members[name].kind == READER:
                voice = PolarityReader.from_bundle(members[name])
            else:
                head = Linear(tensors[f"{name}.head.weights"], tensors[f"{name}.head.bias"])
                voice = Frozen(TextEncoder.from_bundle(members[name]), head)
            readers.append(Reader(voice, _deciding(name, tensors), **asked))
        return cls(
            bundle.vocabulary["labels"],
            tensors.get("levels"),
            Reading(Grams(**config["grams"]), Grams(**config["near"]), config["aspects"]),
            Lexicon(rated),
            Linear(tensors["wide.weights"], tensors["wide.bias"]),
            _deciding("quick", tensors),
            readers,
        )


def _deciding_tensors(name: str, deciding: Deciding) -> dict[str, np.ndarray]:
    return {
        f"{name}.weights": deciding.stack.weights,
        f"{name}.bias": deciding.stack.bias,
        f"{name}.prior": deciding.prior,
    }


def _deciding(name: str, tensors: Mapping[str, np.ndarray]) -> Deciding:
    stack = Linear(tensors[f"{name}.weights"], tensors[f"{name}.bias"])
    return Deciding(stack, tensors[f"{name}.prior"])


def rate(given: Passages, lexicon: Lexicon) -> np.ndarray:
    """(n, width) float32: what the lexicon says of each text, and of its aspect where one is asked about."""
    if not lexicon.values:
        return np.zeros((len(given), 0), dtype=np.float32)
    whole = lexicon.features(given.texts)
    if given.spans is None:
        return whole
    near = lexicon.near(given.texts, [tuple(span) for span in given.spans.tolist()])
    return np.concatenate([whole, near], axis=1)


def rated_width(lexicon: Lexicon, aspects: bool) -> int:
    """Columns of `rate`."""
    return (len(NAMES) + len(NEAR_NAMES) * aspects) if lexicon.values else 0


def read(
    voice: Frozen | PolarityReader, given: Passages, vectors: np.ndarray | None = None
) -> np.ndarray:
    """(n, outputs): what a voice that has an encoder says. vectors (n, width): of a frozen one, where known."""
    if isinstance(voice, PolarityReader):
        part, spans = surroundings(given)
        return voice.logits(part, spans)
    return voice.head(encode(voice.encoder, given) if vectors is None else vectors)


def encode(encoder: TextEncoder, given: Passages, batch: int = 32) -> np.ndarray:
    """(n, width) of whole texts; with aspects (n, 3 width): also of its clause and of aspect with clause."""
    if given.spans is None:
        return encoder.encode([ends(text) for text in given.texts], batch)
    spans = given.spans.tolist()
    clauses = [clause(text, *span) for text, span in zip(given.texts, spans, strict=True)]
    asked = [
        f"{text[start:end]}: {part}"
        for text, (start, end), part in zip(given.texts, spans, clauses, strict=True)
    ]
    every = encoder.encode([*given.texts, *clauses, *asked], batch)
    return np.concatenate(np.split(every, 3), axis=1)


def ends(text: str) -> str:
    """A text that an encoder reads whole: of a long one the beginning and the end, where opinions stand.

    >>> len(ends("good " * 500)), len(ends("很好" * 500))
    (501, 167)
    """
    kept = room(text)
    return f"{text[: kept // 2]} {text[-(kept - kept // 2) :]}" if kept < len(text) else text


def room(text: str) -> int:
    """How many of its characters an encoder reads."""
    size = len(text) if text.isascii() else len(text) + 2 * len(CJK.findall(text))
    return len(text) if size <= WHOLE else WHOLE * len(text) // size


def surroundings(given: Passages) -> tuple[list[str], np.ndarray]:
    """What an encoder reads of texts whose aspects are asked about, and where these (n, 2) are in that.

    Of a long one as much as of `ends`, the aspect in the middle; without an aspect its beginning.

    >>> texts, spans = surroundings(Passages(["so " * 500 + "bad radio", "fine"], np.array([[1504, 1509], [0, 0]])))
    >>> texts[0][slice(*spans[0].tolist())], len(texts[0]), texts[1]
    ('radio', 500, 'fine')
    """
    spans = np.zeros((len(given), 2), dtype=np.int64) if given.spans is None else given.spans
    parts, moved = [], spans.copy()
    for row, (text, (start, end)) in enumerate(zip(given.texts, spans.tolist(), strict=True)):
        kept = room(text)
        first = min(max((start + end - kept) // 2, 0), len(text) - kept)
        parts.append(text[first : first + kept])
        moved[row] = np.clip(spans[row] - first, 0, len(parts[row]))
    return parts, moved


def beside(
    voice: Frozen | PolarityReader, said: np.ndarray, quick: Quick, levels: np.ndarray | None
) -> np.ndarray:
    """(n, width): what decides where `voice` said `said` (n, outputs).

    A frozen encoder's head is one voice more. A trained encoder, which only rows that were held back can weigh, is held against
    what was decided before it: so few rows tell few weights.
    """
    if isinstance(voice, Frozen):
        return heard([*quick.voices, said], quick.rated, levels)
    return heard([quick.together, said], np.zeros((len(said), 0)), levels)


def heard(voices: Sequence[np.ndarray], rated: np.ndarray, levels: np.ndarray | None) -> np.ndarray:
    """(n, width): what the model that decides is given of all voices (n, outputs) and ratings (n, columns)."""
    parts = [*voices, rated]
    if levels is not None:
        scale = (levels - levels.mean()) / max(float(np.ptp(levels)), 1e-9)
        for voice in voices:
            mean = chances(voice) @ scale
            parts += [mean[:, None], (mean**2)[:, None]]
    return np.concatenate([np.asarray(part, dtype=np.float64) for part in parts], axis=1)

"""Names of things in texts whose words are set apart by spaces, told from other words by what stands around them.

No dictionary and no list of names: a word is a name by how often it follows a determiner or ends a phrase, against how
often it follows a pronoun or a word of degree, in the texts at hand (as in Clark, 2003, Combining Distributional and
Morphological Information for Part of Speech Induction). Which word of opinion belongs to which name goes by their
places, as in Hu and Liu (2004), Mining and Summarizing Customer Reviews, and Qiu et al. (2011), Opinion Word Expansion
and Target Extraction through Double Propagation.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.language.aspects import Spoken
from models.language.lexicon import NEGATIONS, STRONGER, TURNS, WEAKER, Lexicon

TOKEN = re.compile(
    r"[^\W\d_\u2e80-\u9fff\uac00-\ud7af](?:[^\W_\u2e80-\u9fff\uac00-\ud7af]|['’\-](?=\w))*|\d[\w.\-]*|[:;=][\-o]?[)(DP/|\\]|\S"
)
DETERMINERS_TEXT = (
    "the a an this that these those my your his her its our their no any some every each another both such what "
    "which whose"
)
SUBJECTS_TEXT = "i you he she we they it who there i'm i've i'd i'll you're they're we're it's that's he's she's u"
HELPERS_TEXT = (
    "to can could will would should may might must do does did don't doesn't didn't won't can't couldn't wouldn't "
    "shouldn't not never cannot dont doesnt didnt cant wont let lets please just also always"
)
BEING_TEXT = (
    "is are was were be been being has have had isn't aren't wasn't weren't hasn't haven't hadn't am seems seem looks "
    "look feels feel sounds works work does did will can could would should may might doesn't didn't won't can't"
)
LINKS_TEXT = (
    "of in on at for with by from about into over under after before without between through than as during against "
    "within upon onto near like per via"
)
JOINS_TEXT = "and or but nor because if when while so that which who since although though unless until where"
OTHERS_TEXT = (
    "me him them us myself yourself itself themselves one ones something anything nothing everything someone anyone "
    "everyone here now then again even only still already yet ever far back up down out off away else well "
    "much many more most less least few little enough several other others same own first second last next new old "
    "two three four five six seven eight nine ten how why thing things lot lots bit way ways time times day days week "
    "weeks month months year years hour hours minute minutes people person friend friends wife husband kids reason "
    "review reviews reviewer reviewers star stars kind sort type part parts rest fact case point end side go get got "
    "gets make makes made want need needs use used using buy bought know think say said see try take takes took come "
    "comes give keep find found going getting however therefore anyway maybe perhaps etc am pm hi hello thanks today "
    "yesterday tomorrow morning night evening afternoon yes don t s m re ve ll d amazon"
)


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


DETERMINERS, SUBJECTS, HELPERS = _set(DETERMINERS_TEXT), _set(SUBJECTS_TEXT), _set(HELPERS_TEXT)
BEING, LINKS, JOINS = _set(BEING_TEXT), _set(LINKS_TEXT), _set(JOINS_TEXT)
DEGREES = STRONGER | WEAKER | _set("pretty more most less least as even fairly how")
CLOSED = (
    DETERMINERS
    | SUBJECTS
    | HELPERS
    | BEING
    | LINKS
    | JOINS
    | DEGREES
    | NEGATIONS
    | TURNS
    | _set(OTHERS_TEXT)
)
DOING = re.compile(r"[\w'’]{2,}(?:ly|ed|ing|est|n't|'ll|'ve|'re|'d|'m)$")
"""Endings of words that seldom name a thing."""
NAMING = re.compile(r"\w{3,}(?:tion|sion|ment|ness|ity|ance|ence|ship|age|ture|ers?|ors?)s?$")
WEIGHTS = {
    "after determiner": 2.0,
    "after link": 1.0,
    "after name": 0.6,
    "before being": 1.2,
    "before end": 0.8,
    "before link": 0.5,
    "after subject": -3.0,
    "after helper": -3.0,
    "after degree": -3.0,
    "before determiner": -2.5,
    "before content": -0.5,
}
PRIOR, STRENGTH = -0.1, 2.0
"""What a word is worth before it was seen, and by how many occurrences that weighs."""
NAMES_AT_MOST = 3
REACH = 4
"""Words between a word of opinion and the name after it."""
STRONG = 1.0
"""Score of a word that is hardly ever anything but a name."""
JOINING = frozenset(("and", "or", "&", "/"))
OFTEN, LIFT, BOUND = 4, 1.2, 0.7
"""Of a word of opinion: how often it must be seen to be judged, and how (see `telling`)."""
HOLLOW = frozenset(("thing", "things", "part", "parts", "reason", "one", "point", "way"))
CLAUSE_END = frozenset(".!?;,:()\n。！？；，、：…")
PARTS = frozenset(("of", "on", "in", "with", "for", "from", "about"))
LIKING = SUBJECTS | DEGREES | frozenset(("also", "didn't", "don't", "do", "did"))
MEASURING = frozenset(
    ("than", "over", "like", "as", "to", "upon", "unlike", "versus", "vs", "other")
)
LACKING = frozenset(("no", "without", "lacks", "lack", "lacking", "missing"))
SAYING_TEXT = (
    "is are was were be isn't aren't wasn't weren't seems seem looks look feels feel sounds"
)
SAYING = frozenset(SAYING_TEXT.split())
MODALS = frozenset(("can", "could", "may", "might", "must", "should", "would", "will"))
BETWEEN = frozenset(
    ("not", "n't", "also", "just", "a", "an", "rather", "bit", "little", "way", "always")
)
STOPPING = CLAUSE_END | TURNS | SUBJECTS
SENTENCE_END = frozenset(".!?;\n")


@dataclass(frozen=True)
class Tokens:
    """m tokens of n texts in one row. words (m,): lower case; texts, starts, ends (m,): where each is."""

    words: np.ndarray
    texts: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Tokens":
        """The tokens of `texts`; a line's end is none."""
        words, rows, starts, ends = [], [], [], []
        for row, text in enumerate(texts):
            for match in TOKEN.finditer(text):
                words.append(match.group().lower().replace("’", "'"))
                rows.append(row)
                starts.append(match.start())
                ends.append(match.end())
        return cls(
            np.asarray(words, dtype=object),
            np.asarray(rows, dtype=np.int64),
            np.asarray(starts, dtype=np.int64),
            np.asarray(ends, dtype=np.int64),
        )


@dataclass(frozen=True)
class Found:
    """k names. texts, starts, ends (k,): where; first, last (k,): their tokens."""

    texts: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    first: np.ndarray
    last: np.ndarray


def name_scores(tokens: Tokens) -> dict[str, float]:
    """How much each word looks like a name of a thing: positive where it does."""
    codes, vocabulary = pd.factorize(tokens.words)
    kinds = {
        "determiner": DETERMINERS,
        "link": LINKS,
        "subject": SUBJECTS,
        "helper": HELPERS,
        "degree": DEGREES,
        "being": BEING,
        "join": JOINS,
    }
    of = {
        name: np.fromiter((word in words for word in vocabulary), bool, len(vocabulary))
        for name, words in kinds.items()
    }
    letters = np.fromiter((word[:1].isalpha() for word in vocabulary), bool, len(vocabulary))
    closed = np.fromiter((word in CLOSED for word in vocabulary), bool, len(vocabulary))
    before, after = np.roll(codes, 1), np.roll(codes, -1)
    same_before = np.roll(tokens.texts, 1) == tokens.texts
    same_after = np.roll(tokens.texts, -1) == tokens.texts

    def prev(kind: np.ndarray) -> np.ndarray:
        return same_before & kind[before]

    def following(kind: np.ndarray) -> np.ndarray:
        return same_after & kind[after]

    content = letters & ~closed
    evidence = {
        "after determiner": prev(of["determiner"]),
        "after link": prev(of["link"]),
        "after name": prev(content),
        "before being": following(of["being"]),
        "before end": ~same_after | following(~letters | of["join"]),
        "before link": following(of["link"]),
        "after subject": prev(of["subject"]),
        "after helper": prev(of["helper"]),
        "after degree": prev(of["degree"]),
        "before determiner": following(of["determiner"]),
        "before content": following(content),
    }
    total = np.zeros(len(codes))
    for name, weight in WEIGHTS.items():
        total += weight * evidence[name]
    count = np.bincount(codes, minlength=len(vocabulary))
    sums = np.bincount(codes, weights=total, minlength=len(vocabulary))
    shape = np.fromiter(
        (
            PRIOR - 1.2 * bool(DOING.match(word)) + 0.8 * bool(NAMING.match(word))
            for word in vocabulary
        ),
        float,
        len(vocabulary),
    )
    score = (sums + STRENGTH * shape) / (count + STRENGTH)
    score[closed | ~letters] = -9.0
    return dict(zip(vocabulary.tolist(), score.tolist(), strict=True))


def names(tokens: Tokens, scores: dict[str, float], lexicon: Lexicon, least: float) -> Found:
    """Runs of up to NAMES_AT_MOST words that look like names (a score of at least `least`), none of them rated."""
    rated = np.fromiter((lexicon.values.get(word, 0.0) != 0 for word in tokens.words), bool)
    score = np.fromiter((scores.get(word, -9.0) for word in tokens.words), float)
    like = (score >= least) & ~rated
    # A word right after a pronoun or a helping word does something, whatever it is elsewhere.
    doing = np.fromiter((word in SUBJECTS or word in HELPERS for word in tokens.words), bool)
    like[1:] &= ~(doing[:-1] & (tokens.texts[1:] == tokens.texts[:-1]))
    # "very large", "it looks right": what is said of a thing, though elsewhere it may stand before one.
    saying = np.fromiter((word in SAYING or word in DEGREES for word in tokens.words), bool)
    like[1:] &= ~(saying[:-1] & (score[1:] < STRONG) & (tokens.texts[1:] == tokens.texts[:-1]))
    joined = np.zeros(len(like), bool)
    joined[1:] = (
        like[1:]
        & like[:-1]
        & (tokens.texts[1:] == tokens.texts[:-1])
        & (tokens.starts[1:] - tokens.ends[:-1] <= 1)
    )
    run_start = np.flatnonzero(like & ~joined)
    run = np.cumsum(like & ~joined) - 1
    last = np.zeros(len(run_start), np.int64)
    inside = np.flatnonzero(like)
    last[run[inside]] = inside
    first = np.maximum(run_start, last - NAMES_AT_MOST + 1)
    long = tokens.ends[last] - tokens.starts[first] >= 2
    first, last = first[long], last[long]
    return Found(tokens.texts[first], tokens.starts[first], tokens.ends[last], first, last)


def opinions_of(
    tokens: Tokens, found: Found, values: np.ndarray, scores: dict[str, float], least: float
) -> dict[int, list[int]]:
    """Place of a name to the tokens that say something of it.

    values (m,): of the tokens, 0 for the unrated. scores, least: see `names`.
    """
    words = tokens.words
    name_at = np.full(len(words), -1, np.int64)
    for place, (first, last) in enumerate(
        zip(found.first.tolist(), found.last.tolist(), strict=True)
    ):
        name_at[first : last + 1] = place
    ends = np.fromiter((word in SENTENCE_END for word in words), bool, len(words))
    sentences = np.cumsum(ends) - ends + tokens.texts * (len(words) + 1)
    line = _Line(words, name_at, sentences, values, found)
    told: dict[int, list[int]] = {}
    for at in np.flatnonzero((values != 0) & (name_at < 0)).tolist():
        if words[at] == "like" and not (line.same(at, at - 1) and words[at - 1] in LIKING):
            continue
        place = line.named(at)
        if place >= 0:
            for other in line.joined(place, found.first[place] > at):
                told.setdefault(other, []).append(at)
    for place in range(len(found.first)):
        if place not in told and not line.compared(place):
            at = line.lacked(place)
            if at < 0:
                at = line.predicate(place, scores, least)
            if at >= 0:
                for other in line.joined(place, False):
                    told.setdefault(other, []).append(at)
    return told


@dataclass(frozen=True)
class _Line:
    words: np.ndarray
    name_at: np.ndarray
    sentences: np.ndarray
    values: np.ndarray
    found: Found

    def same(self, one: int, other: int) -> bool:
        return 0 <= other < len(self.words) and self.sentences[one] == self.sentences[other]

    def named(self, at: int) -> int:
        """The name that the word of opinion at `at` is about, or -1."""
        words, name_at = self.words, self.name_at
        # "a good screen": what follows at once, over other words of its kind.
        step = at + 1
        while not words[at].endswith("ly") and self.same(at, step) and step - at <= REACH:
            if name_at[step] >= 0:
                return int(name_at[step]) if not self.compared(int(name_at[step])) else -1
            if words[step] in STOPPING or words[step] in BEING or words[step] in DETERMINERS:
                break
            if words[step] in LINKS and words[step] not in ("of", "with"):
                break
            step += 1
        # "the screen is good": the nearest before, up to a word of contrast; of "the size of the screen" the size.
        step = at - 1
        while self.same(at, step) and words[step] not in TURNS:
            if name_at[step] >= 0:
                head = self.head(int(name_at[step]))
                if not self.compared(head):
                    return head
            if words[step] in SUBJECTS and self.same(at, step - 1) and words[step - 1] in JOINS:
                break
            step -= 1
        # "I love the screen".
        step = at + 1
        while self.same(at, step) and step - at <= REACH + 1:
            if name_at[step] >= 0:
                return int(name_at[step]) if not self.compared(int(name_at[step])) else -1
            if words[step] in TURNS or words[step] in CLAUSE_END:
                break
            if words[step] in HOLLOW:
                return self.revealed(step)
            step += 1
        return -1

    def revealed(self, at: int) -> int:
        """Of "the best thing about it is the screen" the screen, or -1."""
        step, being = at + 1, False
        while self.same(at, step) and self.words[step] not in CLAUSE_END:
            if being and self.name_at[step] >= 0:
                return int(self.name_at[step])
            being |= self.words[step] in SAYING
            step += 1
        return -1

    def before(self, place: int) -> int:
        """The token before a name and its determiners and words of opinion."""
        step = int(self.found.first[place]) - 1
        while (
            self.same(int(self.found.first[place]), step)
            and self.name_at[step] < 0
            and (self.words[step] in DETERMINERS or self.values[step] != 0)
        ):
            step -= 1
        return step

    def head(self, place: int) -> int:
        """Of "the size of the screen" the size: the name that a link sets before this one."""
        step = self.before(place)
        if self.same(int(self.found.first[place]), step) and self.words[step] in PARTS:
            earlier = step - 1
            if self.same(step, earlier) and self.name_at[earlier] >= 0:
                return int(self.name_at[earlier])
        return place

    def compared(self, place: int) -> bool:
        """Whether a name only measures another: "better than the old phone"."""
        step = self.before(place)
        return self.same(int(self.found.first[place]), step) and self.words[step] in MEASURING

    def lacked(self, place: int) -> int:
        """The token that says that there is none of it, or -1."""
        first = int(self.found.first[place])
        for step in (first - 1, first - 2, first - 3):
            if not self.same(first, step) or self.words[step] in CLAUSE_END:
                return -1
            if self.words[step] in LACKING:
                return step
        return -1

    def predicate(self, place: int, scores: dict[str, float], least: float) -> int:
        """The token of "the screen is large" that no lexicon rates, or -1."""
        words = self.words
        last = int(self.found.last[place])
        step = last + 1
        while self.same(last, step) and words[step] in MODALS:
            step += 1
        if not self.same(last, step) or words[step] not in SAYING:
            return -1
        step += 1
        while self.same(last, step) and (words[step] in DEGREES or words[step] in BETWEEN):
            step += 1
        if not self.same(last, step):
            return -1
        word = words[step]
        plain = word[:1].isalpha() and word not in CLOSED and not DOING.match(word)
        return (
            step if plain and self.name_at[step] < 0 and scores.get(word, 0.0) < least + 1 else -1
        )

    def joined(self, place: int, after: bool) -> list[int]:
        """`place` and the names that "and", "or" or a comma join to it on the far side from what rates them."""
        words, found = self.words, self.found
        chain = [place]
        while True:
            edge = int(found.last[chain[-1]]) + 1 if after else int(found.first[chain[-1]]) - 1
            step = 1 if after else -1
            joins = 0
            while (
                0 <= edge < len(words)
                and joins < 2
                and (words[edge] in JOINING or words[edge] in DETERMINERS)
            ):
                joins += words[edge] in JOINING
                edge += step
            if not joins or not 0 <= edge < len(words) or self.name_at[edge] < 0:
                return chain
            other = int(self.name_at[edge])
            if other in chain or found.texts[other] != found.texts[place]:
                return chain
            # "good screen, phone works": what comes after a comma and does something is a new clause.
            if (
                after
                and self.same(edge, int(found.last[other]) + 1)
                and words[found.last[other] + 1] in BEING
            ):
                return chain
            chain.append(other)


class WordFinder:
    """Names with what is said of them, in texts whose words are set apart by spaces."""

    def __init__(
        self, scores: dict[str, float], known: frozenset[str], lexicon: Lexicon, least: float
    ) -> None:
        """scores, least: see `names`. known: last words of the names that are kept. lexicon: words that say something."""
        self.scores, self.known, self.lexicon, self.least = scores, known, lexicon, least

    def tokens(self, texts: Sequence[str]) -> tuple[Tokens, Found, np.ndarray]:
        """The tokens of `texts` (n,), the names among them, and the tokens' values (m,)."""
        tokens = Tokens.of(texts)
        bounds = np.searchsorted(tokens.texts, np.arange(len(texts) + 1))
        values = np.zeros(len(tokens.words))
        for row, text in enumerate(texts):
            read = self.lexicon.read(text)
            of = dict(zip(read.starts.tolist(), read.values.tolist(), strict=True))
            part = slice(bounds[row], bounds[row + 1])
            values[part] = [of.get(start, 0.0) for start in tokens.starts[part].tolist()]
        return tokens, names(tokens, self.scores, self.lexicon, self.least), values

    def find(self, texts: Sequence[str]) -> list[Spoken]:
        """All of `texts`, by text and place; of a name that a text has twice the first."""
        tokens, found, values = self.tokens(texts)
        told = opinions_of(tokens, found, values, self.scores, self.least)
        spoken, seen = [], set()
        for place, said in sorted(told.items()):
            row, start, end = (int(of[place]) for of in (found.texts, found.starts, found.ends))
            name = texts[row][start:end].lower()
            if (row, name) in seen or tokens.words[found.last[place]] not in self.known:
                continue
            seen.add((row, name))
            # The words nearest to the name.
            at = min(said, key=lambda at: abs(int(tokens.starts[at]) - start))
            spoken.append(Spoken(row, start, end, int(tokens.starts[at]), int(tokens.ends[at])))
        return spoken


def learn(
    texts: Sequence[str],
    labelled: Sequence[str],
    sides: Sequence[int],
    lexicon: Lexicon,
    least: float,
    support: int,
) -> WordFinder:
    """What `texts` show of names, and `labelled` (n,) with their `sides` (n,; 1, 0, -1) of words of opinion.

    least: see `names`. support: texts that must have the last word of a name.
    """
    tokens = Tokens.of(texts)
    pairs = pd.DataFrame({"word": tokens.words, "text": tokens.texts}).drop_duplicates()
    count = pairs["word"].value_counts()
    known = frozenset(count.index[count >= support])
    return WordFinder(name_scores(tokens), known, Lexicon(telling(lexicon, labelled, sides)), least)


def telling(lexicon: Lexicon, texts: Sequence[str], sides: Sequence[int]) -> dict[str, float]:
    """The words of `lexicon` but those that this shop's labelled texts use for something else ("play" of a player).

    sides (n,): 1 for praise, -1 for blame, 0 for neither. A word goes where its texts are of its side too seldom: a
    normal bound of that share is below what all texts have, times LIFT.
    """
    tokens = Tokens.of(texts)
    side = np.asarray(sides, dtype=np.int64)[tokens.texts]
    codes, words = pd.factorize(tokens.words)
    total = np.bincount(codes, minlength=len(words))
    value = np.fromiter((lexicon.values.get(word, 0.0) for word in words), float, len(words))
    kept = dict(lexicon.values)
    for sign in (1, -1):
        base = float(np.mean(np.asarray(sides) == sign)) if len(sides) else 0.0
        share = np.bincount(codes[side == sign], minlength=len(words)) / np.maximum(total, 1)
        bound = share + BOUND * np.sqrt(np.maximum(share, 0.1) * (1 - share) / np.maximum(total, 1))
        for at in np.flatnonzero((value * sign > 0) & (total >= OFTEN) & (bound < LIFT * base)):
            kept.pop(words[at])
    return kept

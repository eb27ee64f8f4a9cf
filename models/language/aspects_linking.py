"""Which word of opinion belongs to which name, by their places.

As in Hu and Liu (2004), Mining and Summarizing Customer Reviews, and Qiu et al. (2011), Opinion Word Expansion and
Target Extraction through Double Propagation.
"""

from dataclasses import dataclass

import numpy as np

from models.language.aspects_naming import Found, Tokens
from models.language.english import (
    BEING,
    BETWEEN,
    CLAUSE_END,
    CLOSED,
    DEGREES,
    DETERMINERS,
    DOING,
    HOLLOW,
    JOINING,
    JOINS,
    LACKING,
    LIKING,
    LINKS,
    MEASURING,
    MODALS,
    PARTS,
    SAYING,
    SENTENCE_END,
    STOPPING,
    SUBJECTS,
)
from models.language.lexicon import TURNS

REACH = 4
"""Words between a word of opinion and the name after it."""


def opinions_of(
    tokens: Tokens, found: Found, values: np.ndarray, scores: dict[str, float], least: float
) -> dict[int, list[int]]:
    """Place of a name to the tokens that say something of it.

    values (m,): of the tokens, 0 for the unrated. scores, least: see `aspects_naming.names`.
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
    """The tokens of texts, the name at each or -1, and its sentence, both (m,); values, found: see `opinions_of`."""

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

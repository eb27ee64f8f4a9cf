"""Words of English that name nothing, by what they do in a sentence, and endings that tell the others."""

import re

from models.language.lexicon import NEGATIONS, STRONGER, TURNS, WEAKER

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
"""Endings of words that often name one."""
JOINING = frozenset(("and", "or", "&", "/"))
HOLLOW = frozenset(("thing", "things", "part", "parts", "reason", "one", "point", "way"))
"""Names that stand for another: "the best thing about it is the screen"."""
PARTS = frozenset(("of", "on", "in", "with", "for", "from", "about"))
"""Links between a thing and what it is a part of: "the size of the screen"."""
LIKING = SUBJECTS | DEGREES | frozenset(("also", "didn't", "don't", "do", "did"))
"""Words after which "like" is an opinion."""
MEASURING = frozenset(
    ("than", "over", "like", "as", "to", "upon", "unlike", "versus", "vs", "other")
)
"""Words before a name that another is held against."""
LACKING = frozenset(("no", "without", "lacks", "lack", "lacking", "missing"))
SAYING = _set(
    "is are was were be isn't aren't wasn't weren't seems seem looks look feels feel sounds"
)
"""Words between a name and what is said of it."""
MODALS = _set("can could may might must should would will")
BETWEEN = _set("not n't also just a an rather bit little way always")
"""Words that may stand before what is said of a name."""
CLAUSE_END = frozenset(".!?;,:()\n。！？；，、：…")
SENTENCE_END = frozenset(".!?;\n")
STOPPING = CLAUSE_END | TURNS | SUBJECTS
"""Words that no opinion reaches beyond."""

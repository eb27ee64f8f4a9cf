"""Read what buyers say of the parts and properties of products, and tell which reviews are not to be trusted.

`aspects.parquet`: each name that something is said of, with its category, polarity and the words that say so.
`products.parquet`: per product and category how many reviews praise and blame it, how that moved, and quotes.
`flags.parquet`: reviews that are copies, repeat themselves or came in a burst; nothing is learned from them or shown.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.encoders.ngrams import Grams
from models.language import aspects_spaceless, aspects_words, trust
from models.language.aspects import Finder, Spoken, categories, normal_name, wilson
from models.language.lexicon import Lexicon
from models.language.passages import sentences
from models.language.polarity import CLAUSE, Polarity, Reading, passages
from models.language.polarity_training import Settings, fit
from models.language.sentiment import CHINESE, LABELS, language_of
from pipelines import lexicons
from pipelines.encoders import text_encoder
from pipelines.harness import BadConfig, Params, Run, stage
from pipelines.tables import Reviews

NEGATIVE, POSITIVE = LABELS[0], LABELS[2]
SIDES = {POSITIVE: 1, NEGATIVE: -1}
STARS_FOR, STARS_AGAINST = 4.0, 2.0
BLOCK = 8192
PER_TEXT = 10
"""Names of one text that the polarity is learned from at most."""
TEXT = 300
"""Characters of a flagged review that are kept for the reader."""


class OpinionsParams(Params):
    """languages: those that the encoder reads, whose names are merged by meaning too; alike: from which cosine on.

    encoder: as of text-features, or "" for none. least: score from which a word is a name (see `aspects_words.names`).
    support: by language, texts that must have a name. learn: texts that names are learned from at most, and rows that polarity is
    learned from. words, buckets, folds, strength, stack_strength: of the polarity model (see `Grams`, `Settings`).
    quotes: of each side. trust: see `trust.Settings`.
    """

    encoder: str
    languages: list[str]
    alike: float
    least: float
    support: dict[str, int]
    learn: int
    words: int
    ideographs: int
    buckets: int
    folds: int
    strength: float
    stack_strength: float
    quotes: int
    longest_quote: int
    trust: dict[str, float]


ASPECTS = pa.schema(
    [
        ("review_id", pa.string()),
        ("item_id", pa.string()),
        ("language", pa.string()),
        ("timestamp", pa.timestamp("us", "UTC")),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("term", pa.string()),
        ("category", pa.string()),
        ("polarity", pa.string()),
        ("confidence", pa.float64()),
        ("said", pa.string()),
        ("said_start", pa.int64()),
        ("said_end", pa.int64()),
        ("quote_start", pa.int64()),
        ("quote_end", pa.int64()),
    ]
)
QUOTES = pa.list_(
    pa.struct(
        [
            ("review_id", pa.string()),
            ("start", pa.int64()),
            ("end", pa.int64()),
            ("text", pa.string()),
        ]
    )
)
PRODUCTS = pa.schema(
    [
        ("item_id", pa.string()),
        ("language", pa.string()),
        ("category", pa.string()),
        ("terms", pa.list_(pa.string())),
        ("reviews", pa.int64()),
        ("positive", pa.int64()),
        ("negative", pa.int64()),
        ("share", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("share_before", pa.float64()),
        ("share_after", pa.float64()),
        ("quotes_for", QUOTES),
        ("quotes_against", QUOTES),
    ]
)
FLAGS = pa.schema(
    [
        ("review_id", pa.string()),
        ("item_id", pa.string()),
        ("language", pa.string()),
        ("reason", pa.string()),
        ("because", pa.string()),
        ("text", pa.string()),
    ]
)


@stage
def opinions(run: Run, params: OpinionsParams) -> None:
    reviews = whole_reviews(pq.read_table(run.input("validate-reviews/table.parquet")).to_pandas())
    train = pq.read_table(run.input("split/sentiment/train.parquet")).to_pandas()
    run.advance(0.05, "looking for reviews that are not to be trusted")
    flagged = flags(reviews, params)
    bad = set(flagged[Reviews.REVIEW])
    kept = reviews[~reviews[Reviews.REVIEW].isin(bad)].reset_index(drop=True)
    train = train[~train[Reviews.REVIEW].isin(bad)]
    encode = encoder_of(run, params)
    parts = []
    languages = sorted(set(kept[Reviews.LANGUAGE]))
    for at, language in enumerate(languages):
        run.advance(0.1 + 0.8 * at / max(len(languages), 1), f"reviews in {language}")
        rows = kept[kept[Reviews.LANGUAGE] == language]
        if language not in params.support:
            raise BadConfig(
                f"params.yaml: opinions.support has no {language!r}, in which there are reviews; add it"
            )
        labelled = train[(train[Reviews.LANGUAGE] == language) & train[Reviews.LABEL].isin(SIDES)]
        if labelled[Reviews.LABEL].nunique() < 2:
            run.say(f"{language}: no reviews of both kinds to learn polarity from; left out")
            continue
        labelled = train[train[Reviews.LANGUAGE] == language]
        read = encode if language in params.languages else None
        parts.append(read_language(rows, labelled, language, read, params, run.seed))
    said = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=ASPECTS.names)
    said = said.sort_values(["review_id", "start"], kind="stable", ignore_index=True)
    table = products(said, kept, params)
    write(said, ASPECTS, run, "aspects.parquet")
    write(table, PRODUCTS, run, "products.parquet")
    write(flagged, FLAGS, run, "flags.parquet")
    run.rows_in, run.rows_out = len(reviews), len(said)
    run.measure("flagged", len(bad))
    run.measure("categories", said["category"].nunique())
    for language in languages:
        mine = said[said["language"] == language]
        run.measure(f"mentions/{language}", len(mine))
        run.measure(
            f"share_positive/{language}",
            float((mine["polarity"] == POSITIVE).mean() if len(mine) else 0),
        )


def write(frame: pd.DataFrame, schema: pa.Schema, run: Run, name: str) -> None:
    pq.write_table(pa.Table.from_pandas(frame, schema, preserve_index=False), run.output(name))


def encoder_of(run: Run, params: OpinionsParams) -> Callable[[Sequence[str]], np.ndarray] | None:
    if not params.encoder:
        return None
    packaged = run.input("ingest-encoders/text") if params.encoder == "package" else None
    return text_encoder(params.encoder, packaged).encode


def whole_reviews(table: pd.DataFrame) -> pd.DataFrame:
    """Reviews but not the sentences that others of them are cut into; columns that are absent are added, empty."""
    table = table.copy()
    for name in (Reviews.ITEM, Reviews.USER, Reviews.LABEL, Reviews.GROUP):
        if name not in table:
            table[name] = None
    if Reviews.RATING not in table:
        table[Reviews.RATING] = np.nan
    if Reviews.TIME not in table:
        table[Reviews.TIME] = pd.Series(pd.NaT, index=table.index, dtype="datetime64[us, UTC]")
    if Reviews.LANGUAGE not in table:
        table[Reviews.LANGUAGE] = None
    unknown = table[Reviews.LANGUAGE].isna()
    table.loc[unknown, Reviews.LANGUAGE] = [
        language_of(text) for text in table.loc[unknown, Reviews.TEXT]
    ]
    group, name = table[Reviews.GROUP], table[Reviews.REVIEW]
    part = group.isin(set(name)) & (group != name)
    table = table[~part].sort_values(Reviews.REVIEW, ignore_index=True)
    table[Reviews.ITEM] = table[Reviews.ITEM].fillna("").astype(str)
    return table


def flags(reviews: pd.DataFrame, params: OpinionsParams) -> pd.DataFrame:
    """The flagged of `reviews`: a line a reason. Raises `BadConfig` for unknown or absent settings of `trust`."""
    whole = {
        name: int(value) if name in ("shortest", "burst") else float(value)
        for name, value in params.trust.items()
    }
    try:
        settings = trust.Settings(**whole)
    except TypeError as error:
        raise BadConfig(f"params.yaml: opinions.trust: {error}") from None
    times = reviews[Reviews.TIME]
    seconds = times.dt.as_unit("us").astype("int64").to_numpy(np.float64) / 1e6
    found = trust.flags(
        reviews[Reviews.REVIEW].tolist(),
        reviews[Reviews.TEXT].tolist(),
        reviews[Reviews.ITEM].tolist(),
        [None if user is None or user != user else user for user in reviews[Reviews.USER]],
        np.where(times.isna(), np.nan, seconds),
        sides_of(reviews),
        settings,
    )
    chosen = reviews.iloc[found["row"].to_numpy()].reset_index(drop=True)
    return pd.DataFrame(
        {
            "review_id": chosen[Reviews.REVIEW],
            "item_id": chosen[Reviews.ITEM],
            "language": chosen[Reviews.LANGUAGE],
            "reason": found["reason"],
            "because": found["because"],
            "text": chosen[Reviews.TEXT].str[:TEXT],
        }
    )


def sides_of(reviews: pd.DataFrame) -> np.ndarray:
    """(n,): 1 for praise, -1 for blame, 0 for neither or unknown; by label, else by stars."""
    stars = reviews[Reviews.RATING].to_numpy(np.float64)
    by_stars = np.where(stars >= STARS_FOR, 1, np.where(stars <= STARS_AGAINST, -1, 0))
    label = reviews[Reviews.LABEL]
    return np.where(label.notna(), label.map(SIDES).fillna(0), by_stars).astype(np.int64)


@dataclass(frozen=True)
class Sentences:
    """Sentences of reviews. rows, starts (n,): the review and where in it each begins."""

    texts: list[str]
    rows: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Sentences":
        cut = [(row, *span) for row, text in enumerate(texts) for span in sentences(text)]
        return cls(
            [texts[row][start:end] for row, start, end in cut],
            np.asarray([row for row, _, _ in cut], dtype=np.int64),
            np.asarray([start for _, start, _ in cut], dtype=np.int64),
        )


def read_language(
    reviews: pd.DataFrame,
    train: pd.DataFrame,
    language: str,
    encode: Callable[[Sequence[str]], np.ndarray] | None,
    params: OpinionsParams,
    seed: int,
) -> pd.DataFrame:
    """What `reviews` of one language say, as ASPECTS. train: labelled rows that polarity is learned from."""
    rng = np.random.default_rng(seed)
    train = train.iloc[np.sort(rng.permutation(len(train))[: params.learn])]
    order = np.sort(rng.permutation(len(reviews))[: params.learn])
    finder = finder_of(reviews[Reviews.TEXT].iloc[order].tolist(), train, language, params)
    model = polarity_of(train, finder, language, params, seed)
    found = [
        mentions(reviews.iloc[at : at + BLOCK], finder, model, language)
        for at in range(0, len(reviews), BLOCK)
    ]
    said = pd.concat(found, ignore_index=True)
    if not len(said):
        return pd.DataFrame(columns=ASPECTS.names)
    counts = Counter(said["term"].str.lower())
    said["term"] = [normal_name(term, counts) for term in said["term"]]
    spread = said.drop_duplicates(["review_id", "term"])["term"].value_counts()
    often = spread[spread >= params.support[language]].sort_index()
    said = said[said["term"].isin(often.index)]
    merged = categories(often.to_dict(), language != CHINESE, encode, params.alike)
    return said.assign(category=said["term"].map(merged), language=language)


def finder_of(
    texts: Sequence[str], train: pd.DataFrame, language: str, params: OpinionsParams
) -> Finder:
    """What finds names, learned from `texts` and the labelled rows `train`."""
    support = params.support[language]
    sides = train[Reviews.LABEL].map(SIDES).fillna(0).astype(int).tolist()
    labelled = train[Reviews.TEXT].tolist()
    if language == CHINESE:
        side = dict(zip(labelled, sides, strict=True))
        every = [*labelled, *(text for text in texts if text not in side)]
        known = [*sides, *[0] * (len(every) - len(sides))]
        return aspects_spaceless.SignFinder(aspects_spaceless.learn(every, known, support))
    lexicon = Lexicon(lexicons.english())
    return aspects_words.learn(texts, labelled, sides, lexicon, params.least, support)


def polarity_of(
    train: pd.DataFrame, finder: Finder, language: str, params: OpinionsParams, seed: int
) -> Polarity:
    """The polarity of a name, learned from labelled rows as a whole and from the clauses of their names.

    A clause speaks for its row's side; that is wrong of some, which the whole rows, more and longer, make good.
    """
    rows = train[train[Reviews.LABEL].isin(LABELS)]
    labels = [label for label in LABELS if label in set(rows[Reviews.LABEL])]
    truth = rows[Reviews.LABEL].map(labels.index).to_numpy(np.int64)
    whole = Sentences.of(rows[Reviews.TEXT].tolist())
    taken: Counter[int] = Counter()
    kept: list[Spoken] = []
    for one in finder.find(whole.texts):
        row = int(whole.rows[one.text])
        taken[row] += 1
        if taken[row] <= PER_TEXT:
            kept.append(one)
    of = whole.rows[np.asarray([one.text for one in kept], dtype=np.int64)]
    given = around([whole.texts[one.text] for one in kept], kept, language)
    texts = [*rows[Reviews.TEXT], *(text for text, _ in given)]
    spans = [*[(0, 0)] * len(rows), *(span for _, span in given)]
    truth = np.concatenate([truth, truth[of]])
    low, high = (1, params.ideographs) if language == CHINESE else (0, 0)
    grams = Grams(0 if language == CHINESE else params.words, low, high, params.buckets)
    settings = Settings(
        folds=params.folds,
        wide_strengths=[params.strength],
        stack_strength=params.stack_strength,
        read_rows=0,
        read_until=0,
        freely=0,
        share=0.0,
    )
    return fit(
        passages(texts, spans),
        truth,
        labels,
        None,
        Reading(grams, grams, True),
        # It rates no word of Chinese, and reading with it is dear.
        Lexicon({} if language == CHINESE else lexicons.english()),
        None,
        settings,
        seed,
    )


def around(
    texts: Sequence[str], spoken: Sequence[Spoken], language: str
) -> list[tuple[str, tuple[int, int]]]:
    """Of each of `texts` (n,), sentences, what its name is judged by, and the name's place in that.

    In Chinese, whose sentences are lists of clauses, the clauses with the name and what is said of it; else all.
    """
    if language != CHINESE:
        return [(text, (one.start, one.end)) for text, one in zip(texts, spoken, strict=True)]
    found = []
    for text, one in zip(texts, spoken, strict=True):
        start, end = min(one.start, one.said_start), max(one.end, one.said_end)
        left = max((match.end() for match in CLAUSE.finditer(text, 0, start)), default=0)
        right = CLAUSE.search(text, end)
        part = text[left : right.start() if right else len(text)]
        found.append((part, (one.start - left, one.end - left)))
    return found


def lean(model: Polarity, given: Sequence[tuple[str, tuple[int, int]]]) -> np.ndarray:
    """(n, 2): the chances of blame and of praise of the names of `given`, as `around` gives them.

    Of both alone: that something is said of a name was found before.
    """
    found, _ = model.judge(passages([text for text, _ in given], [span for _, span in given]))
    sides = found[:, [model.labels.index(NEGATIVE), model.labels.index(POSITIVE)]] + 1e-9
    return sides / sides.sum(1, keepdims=True)


def mentions(reviews: pd.DataFrame, finder: Finder, model: Polarity, language: str) -> pd.DataFrame:
    """What `reviews` say: as ASPECTS without category and language, the term as written."""
    texts = reviews[Reviews.TEXT].tolist()
    whole = Sentences.of(texts)
    spoken = finder.find(whole.texts)
    given = around([whole.texts[one.text] for one in spoken], spoken, language)
    shares = lean(model, given)
    chosen = shares.argmax(1)
    at = np.asarray([one.text for one in spoken], dtype=np.int64)
    rows, first = whole.rows[at], whole.starts[at]
    length = np.asarray([len(whole.texts[one]) for one in at.tolist()], dtype=np.int64)

    def place(name: str) -> np.ndarray:
        return np.asarray([getattr(one, name) for one in spoken], dtype=np.int64) + first

    chosen_rows = reviews.iloc[rows]
    lines = [whole.texts[one.text] for one in spoken]
    return pd.DataFrame(
        {
            "review_id": chosen_rows[Reviews.REVIEW].to_numpy(),
            "item_id": chosen_rows[Reviews.ITEM].to_numpy(),
            "timestamp": chosen_rows[Reviews.TIME].to_numpy(),
            "start": place("start"),
            "end": place("end"),
            "term": pd.Series(
                [line[one.start : one.end] for line, one in zip(lines, spoken, strict=True)],
                dtype=object,
            ),
            "polarity": np.asarray([NEGATIVE, POSITIVE], dtype=object)[chosen],
            "confidence": shares[np.arange(len(spoken)), chosen].round(6),
            "said": [
                line[one.said_start : one.said_end] for line, one in zip(lines, spoken, strict=True)
            ],
            "said_start": place("said_start"),
            "said_end": place("said_end"),
            "quote_start": first,
            "quote_end": first + length,
        }
    )


def products(said: pd.DataFrame, reviews: pd.DataFrame, params: OpinionsParams) -> pd.DataFrame:
    """PRODUCTS: a review has one vote on a category, that of most of its mentions; of a tie none."""
    if not len(said):
        return pd.DataFrame(columns=PRODUCTS.names)
    keys = ["item_id", "language", "category"]
    votes = said.assign(side=said["polarity"].map(SIDES))
    votes = votes.groupby([*keys, "review_id"], sort=True).agg(
        side=("side", "sum"), timestamp=("timestamp", "first")
    )
    votes = votes.reset_index()
    # Half of a product's dated reviews are before its middle moment, half after.
    middle = (
        votes.drop_duplicates(["item_id", "review_id"]).groupby("item_id")["timestamp"].median()
    )
    votes["after"] = votes["timestamp"] > votes["item_id"].map(middle)
    votes["dated"] = votes["timestamp"].notna()
    votes["positive"], votes["negative"] = votes["side"] > 0, votes["side"] < 0
    for name, half in (("before", ~votes["after"]), ("after_", votes["after"])):
        votes[f"for_{name}"] = votes["positive"] & half & votes["dated"]
        votes[f"all_{name}"] = (votes["side"] != 0) & half & votes["dated"]
    table = votes.groupby(keys, sort=True).agg(
        reviews=("review_id", "size"),
        positive=("positive", "sum"),
        negative=("negative", "sum"),
        for_before=("for_before", "sum"),
        all_before=("all_before", "sum"),
        for_after=("for_after_", "sum"),
        all_after=("all_after_", "sum"),
    )
    table = table.reset_index()
    total = (table["positive"] + table["negative"]).to_numpy()
    share = np.divide(table["positive"], total, out=np.full(len(table), np.nan), where=total > 0)
    low, high = wilson(table["positive"].to_numpy(), total)
    table["share"], table["low"], table["high"] = share.round(6), low.round(6), high.round(6)
    for half in ("before", "after"):
        count = table[f"all_{half}"].to_numpy()
        found = np.divide(
            table[f"for_{half}"], count, out=np.full(len(table), np.nan), where=count > 0
        )
        table[f"share_{half}"] = found.round(6)
    terms = said.groupby(keys, sort=True)["term"].agg(lambda of: sorted(set(of))).reset_index()
    table = table.merge(terms.rename(columns={"term": "terms"}), on=keys, how="left")
    texts = dict(zip(reviews[Reviews.REVIEW], reviews[Reviews.TEXT], strict=True))
    for name, side in (("quotes_for", POSITIVE), ("quotes_against", NEGATIVE)):
        quoted = quotes(said[said["polarity"] == side], keys, texts, params)
        table[name] = [
            quoted.get(key, []) for key in table[keys].itertuples(index=False, name=None)
        ]
    return table.sort_values(
        ["item_id", "language", "reviews", "category"],
        ascending=[True, True, False, True],
        ignore_index=True,
    )


def quotes(
    said: pd.DataFrame, keys: list[str], texts: dict[str, str], params: OpinionsParams
) -> dict[tuple[str, ...], list[dict[str, str | int]]]:
    """Of each product's category the sentences that are surest of their side, one a review, none too long to show."""
    short = said[said["quote_end"] - said["quote_start"] <= params.longest_quote]
    order = short.sort_values(["confidence", "review_id", "start"], ascending=[False, True, True])
    chosen = (
        order.drop_duplicates([*keys, "review_id"]).groupby(keys, sort=True).head(params.quotes)
    )
    found: dict[tuple[str, ...], list[dict[str, str | int]]] = {}
    for line in chosen.itertuples(index=False):
        start, end = int(line.quote_start), int(line.quote_end)
        quote = {
            "review_id": line.review_id,
            "start": start,
            "end": end,
            "text": texts[line.review_id][start:end],
        }
        found.setdefault((line.item_id, line.language, line.category), []).append(quote)
    return found


if __name__ == "__main__":
    opinions.main()

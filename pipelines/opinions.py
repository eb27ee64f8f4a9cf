"""Read what buyers say of the parts and properties of products, in reviews that are to be trusted.

`aspects.parquet`: each name that something is said of, with its category, polarity and the words that say so.
`products.parquet`: per product and category how many reviews praise and blame it, how that moved, and quotes.
`users.parquet`: per user and category how often they speak of it against all who write, and how their verdicts lie against others'.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from models.encoders.tuned import LONGEST
from models.language.aspects_tagging_training import train as train_tagger
from models.language.lexicon import Lexicon
from models.language.opinions import POSITIVE, SIDES, OpinionReader, Sentences, categorised
from models.language.opinions_training import fit
from models.language.settings import OpinionSettings, TaggingSettings
from models.language.tongue import CHINESE, ENGLISH
from pipelines.aspect_marks import marked
from pipelines.buyers.columns import ASPECTS, PRODUCTS, USERS
from pipelines.buyers.tables import products, write
from pipelines.buyers.users import users
from pipelines.harness import BadConfig, Run, stage
from pipelines.packaged import dictionaries, lexicons
from pipelines.packaged.encoders import text_encoder
from pipelines.packaged.unpacked import folder
from pipelines.packaged.weights import Layers, packed_encoder
from pipelines.review_trust import whole_reviews, with_sentences
from pipelines.tables import Reviews
from pipelines.training.trained import TrainedParams

BLOCK = 8192


class OpinionsParams(TrainedParams):
    """languages: those that the encoder reads, whose names are merged by meaning too; alike: from which cosine on.

    encoder: as of text-features, or "" for none. support: by language, texts that must have a name; in others nothing is read.
    taggers: by language, what learns from marked sentences what names are, as tagging says of its encoder, and reads `most`
    sentences at most; elsewhere rules find them, with dictionary: package, or "" for none: of English words with their kinds.
    quotes: shown of each side; longest_quote: in characters.
    """

    encoder: str
    dictionary: str
    languages: list[str]
    alike: float
    support: dict[str, int]
    taggers: dict[str, Layers]
    most: int
    tagging: dict[str, TaggingSettings]
    reading: OpinionSettings
    quotes: int
    longest_quote: int


@stage
def opinions(run: Run, params: OpinionsParams) -> None:
    table = pq.read_table(run.input("validate-reviews/table.parquet")).to_pandas()
    reviews = whole_reviews(table)
    train = pq.read_table(run.input("split/sentiment/train.parquet")).to_pandas()
    flagged = pq.read_table(run.input("review-trust/flags.parquet")).to_pandas()
    bad = with_sentences(set(flagged["review_id"]), table)
    kept = reviews[~reviews[Reviews.REVIEW].isin(bad)].reset_index(drop=True)
    train = train[~train[Reviews.REVIEW].isin(bad)]
    encode = encoder_of(run, params)
    dictionary = dictionaries.english(run.state, run.say) if params.dictionary else {}
    parts, unread = [], []
    languages = sorted(set(kept[Reviews.LANGUAGE]) & set(params.support))
    for at, language in enumerate(languages):
        run.advance(0.1 + 0.8 * at / max(len(languages), 1), f"reviews in {language}")
        labelled = train[train[Reviews.LANGUAGE] == language]
        rows = kept[kept[Reviews.LANGUAGE] == language]
        if language in params.taggers:
            read = within(rows, params.most)
            unread.append(rows.index.difference(read.index))
            run.measure(f"unread/{language}", len(rows) - len(read))
            rows = read
        elif len(set(labelled[Reviews.LABEL]) & set(SIDES)) < 2:
            run.say(f"{language}: no reviews of both kinds to learn polarity from; left out")
            continue
        reader = reader_of(
            *(rows, labelled, language, dictionary, params),
            packaged=lambda name: folder(name, run),
            seed=run.seed,
        )
        meaning = encode if language in params.languages else None
        parts.append(read_language(reader, rows, language, meaning, params))
    kept = kept.drop(index=[at for some in unread for at in some])
    said = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=ASPECTS.names)
    said = said.sort_values(["review_id", "start"], kind="stable", ignore_index=True)
    counts = products(said, kept, params.quotes, params.longest_quote)
    write(said, ASPECTS, run, "aspects.parquet")
    write(counts, PRODUCTS, run, "products.parquet")
    if kept[Reviews.USER].isna().all():
        run.absent("users.parquet", "no review names who wrote it")
    else:
        write(users(said, kept), USERS, run, "users.parquet")
    run.rows_in, run.rows_out = len(reviews), len(said)
    run.measure("categories", said["category"].nunique())
    for language in languages:
        mine = said[said["language"] == language]
        run.measure(f"mentions/{language}", len(mine))
        run.measure(
            f"share_positive/{language}",
            float((mine["polarity"] == POSITIVE).mean() if len(mine) else 0),
        )


def encoder_of(run: Run, params: OpinionsParams) -> Callable[[Sequence[str]], np.ndarray] | None:
    """Names to unit vectors, or None."""
    if not params.encoder:
        return None
    return text_encoder(params.encoder, run.input("ingest-encoders/text")).encode


def within(reviews: pd.DataFrame, most: int) -> pd.DataFrame:
    """Those of `reviews`, in their order, that have `most` sentences together: each product's newest first, in turns."""
    newest = reviews.sort_values(Reviews.TIME, ascending=False, na_position="last", kind="stable")
    turn = newest.groupby(Reviews.ITEM, sort=False).cumcount()
    order = newest.loc[turn.sort_values(kind="stable").index]
    counts = np.bincount(Sentences.of(order[Reviews.TEXT].tolist()).rows, minlength=len(order))
    return order[np.cumsum(counts) <= most].sort_index()


def reader_of(
    reviews: pd.DataFrame,
    train: pd.DataFrame,
    language: str,
    dictionary: Mapping[str, str],
    params: OpinionsParams,
    packaged: Callable[[str], Path],
    seed: int,
) -> OpinionReader:
    """What reads `reviews` of one language: learned from marked sentences, or from them and from labelled rows `train`.

    packaged: the folder of a packaged encoder.
    """
    spaced = language != CHINESE
    if tagger := params.taggers.get(language):
        if tagger.encoder not in params.tagging:
            raise BadConfig(f"opinions.tagging: nothing is said of the encoder {tagger.encoder!r}")
        encoder = packed_encoder(tagger.encoder, packaged(tagger.encoder), tagger.depth, LONGEST)
        rated = Lexicon(lexicons.english() if language == ENGLISH else {})
        finder = train_tagger(
            *(encoder, marked(language), rated, spaced),
            *(params.tagging[tagger.encoder], seed),
            devices=params.devices,
        )
        return OpinionReader(finder, None, spaced)
    return fit(
        reviews[Reviews.TEXT].tolist(),
        train[Reviews.TEXT].tolist(),
        train[Reviews.LABEL].tolist(),
        params.support[language],
        spaced,
        lexicons.english(),
        dictionary,
        params.reading,
        seed,
    )


def read_language(
    reader: OpinionReader,
    reviews: pd.DataFrame,
    language: str,
    encode: Callable[[Sequence[str]], np.ndarray] | None,
    params: OpinionsParams,
) -> pd.DataFrame:
    """What `reviews` of one language say, as ASPECTS, by categories."""
    texts = reviews[Reviews.TEXT].tolist()
    parts = []
    for at in range(0, len(texts), BLOCK):
        part = reader.read(texts[at : at + BLOCK])
        parts.append(part.assign(row=part["row"] + at))
    said = pd.concat(parts, ignore_index=True)
    if not len(said):
        return pd.DataFrame(columns=ASPECTS.names)
    said = categorised(said, params.support[language], reader.spaced, encode, params.alike)
    rows = reviews.iloc[said["row"].to_numpy()]
    return said.assign(
        review_id=rows[Reviews.REVIEW].to_numpy(),
        item_id=rows[Reviews.ITEM].to_numpy(),
        timestamp=rows[Reviews.TIME].to_numpy(),
        language=language,
    )


if __name__ == "__main__":
    opinions.main()

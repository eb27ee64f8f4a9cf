"""Encode product texts and reviews with the frozen text encoder.

A product's vector is that of its title alone (its category is what another model has to find), a review's that of
its text; a review that lies in the table sentence by sentence as well is the mean of its sentences. Of products and
reviews a shop may have one alone. Texts that the tables of an earlier run know, by their hash and that of the encoder, are
not encoded again; the tables are byte for byte those that a run from nothing writes.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.encoders.text import TextEncoder
from pipelines.artefacts.vectors import Former, content_hash, write_vectors
from pipelines.harness import Bug, Params, Run, stage
from pipelines.packaged.encoders import HUB, sentence_transformer, text_encoder
from pipelines.tables import Products, Reviews

PRODUCTS, REVIEWS = "products.parquet", "reviews.parquet"
AMOUNT = re.compile(r"\d+(?:[.,/]\d+)*")
TOLERANCE = 1e-3
"""Largest difference of a number to that of sentence-transformers: what float16 weights cost."""


class TextFeaturesParams(Params):
    """What the encoding needs."""

    encoder: str
    """package, hub:NAME (any sentence-transformers model where a hub is in reach) or hashing."""
    batch: int
    """Texts at a time."""
    languages: list[str]
    """Languages that the encoder reads; reviews in others get no vector."""
    characters: int
    """Of reviews that are read at most; those beyond, in the order of a hash of their ids, get no vector. 0: all."""
    share_amounts: bool
    """Titles that differ in their numbers alone share the vector of the first of them, which saves time."""
    reference_texts: int
    """So many texts are encoded by sentence-transformers too, and must come out the same; 0: none."""


@stage
def text_features(run: Run, params: TextFeaturesParams) -> None:
    packaged = run.input("ingest-encoders/text") if params.encoder == "package" else None
    products = table_or_empty(run, "products", Products.ITEM, Products.TITLE)
    reviews = table_or_empty(run, "reviews", Reviews.REVIEW, Reviews.TEXT)
    if run.off:
        return
    known = products.num_rows + reviews.num_rows
    reviews = some(readable(reviews, params.languages), params.characters)
    encoder = text_encoder(params.encoder, packaged)
    titles = products[Products.TITLE].to_pylist()
    if params.reference_texts and params.encoder != "hashing":
        texts = [*titles, *reviews[Reviews.TEXT].to_pylist()]
        source = str(packaged) if packaged else params.encoder.removeprefix(HUB)
        check(encoder, source, texts[:: max(len(texts) // params.reference_texts, 1)])
    if params.share_amounts:
        titles = without_twins(titles)
    sentences, wholes = parts_of(reviews)
    texts = titles + reviews[Reviews.TEXT].take(pa.array(sentences, pa.int64())).to_pylist()
    former = Former.read(encoder.identity, run.former(PRODUCTS), run.former(REVIEWS))
    contents = [content_hash(text.encode("utf-8", "replace")) for text in texts]
    vectors, new = former.completed(
        contents,
        lambda chosen: encoder.encode([texts[at] for at in chosen], params.batch, run.advance),
    )
    if new < len(texts):
        run.say(f"{len(texts) - new:,} of {len(texts):,} texts were known from an earlier run")
    table = np.zeros((reviews.num_rows, encoder.width), dtype=np.float32)
    table[sentences] = vectors[len(titles) :]
    for whole, of in wholes.items():
        table[whole] = unit(table[of].mean(0, keepdims=True))
    of_reviews: list[str | None] = [None] * reviews.num_rows
    for at, content in zip(sentences, contents[len(titles) :], strict=True):
        of_reviews[at] = content
    made: dict[str, tuple[str, pa.Table, np.ndarray, Sequence[str | None]]] = {
        PRODUCTS: (Products.ITEM, products, vectors[: len(titles)], contents[: len(titles)]),
        REVIEWS: (Reviews.REVIEW, reviews, table, of_reviews),
    }
    for name, (key, rows, found, of_what) in made.items():
        if name not in run.absences:
            path = run.output(name)
            write_vectors(path, key, rows[key].to_pylist(), found, encoder.identity, of_what)
    run.rows_in, run.rows_out = known, products.num_rows + reviews.num_rows
    run.measure("width", encoder.width)
    run.measure("unique_texts", len(set(texts)))


def table_or_empty(run: Run, name: str, key: str, text: str) -> pa.Table:
    """The table of products or reviews; where the shop has none, its vectors are absent and no row is encoded."""
    path = f"validate-{name}/table.parquet"
    found = run.optional(path)
    if found:
        return pq.read_table(found)
    run.absent(f"{name}.parquet", run.without[path])
    return pa.table({key: pa.array([], pa.string()), text: pa.array([], pa.string())})


def readable(reviews: pa.Table, languages: Sequence[str]) -> pa.Table:
    """The reviews in one of `languages`, and those of no known language."""
    if Reviews.LANGUAGE not in reviews.column_names:
        return reviews
    known = reviews[Reviews.LANGUAGE].to_pylist()
    return reviews.filter(pa.array([tongue is None or tongue in languages for tongue in known]))


def some(reviews: pa.Table, characters: int) -> pa.Table:
    """The reviews that come first by a hash of their ids, of so many characters together; 0: all."""
    lengths = pc.utf8_length(reviews[Reviews.TEXT]).to_numpy()
    if not characters or lengths.sum() <= characters:
        return reviews
    order = pd.util.hash_array(reviews[Reviews.REVIEW].to_numpy()).argsort(kind="stable")
    chosen = order[np.cumsum(lengths[order]) <= characters]
    return reviews.take(pa.array(np.sort(chosen)))


def without_twins(titles: Sequence[str]) -> list[str]:
    """Each title as the first, in order of text, of those that differ from it in numbers alone.

    >>> without_twins(["Tea, 9 oz", "Tea, 12.5 oz", "Tea, 9 ct"])
    ['Tea, 12.5 oz', 'Tea, 12.5 oz', 'Tea, 9 ct']
    """
    first: dict[str, str] = {}
    for title in sorted(set(titles)):
        first.setdefault(AMOUNT.sub("0", title), title)
    return [first[AMOUNT.sub("0", title)] for title in titles]


def parts_of(reviews: pa.Table) -> tuple[list[int], dict[int, list[int]]]:
    """Rows to encode, and for each whole review whose sentences are rows too: its row to theirs."""
    if Reviews.GROUP not in reviews.column_names:
        return list(range(reviews.num_rows)), {}
    names = reviews[Reviews.REVIEW].to_pylist()
    place = {name: at for at, name in enumerate(names)}
    wholes: dict[int, list[int]] = {}
    for at, group in enumerate(reviews[Reviews.GROUP].to_pylist()):
        if group in place and group != names[at]:
            wholes.setdefault(place[group], []).append(at)
    return [at for at in range(len(names)) if at not in wholes], wholes


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, d) of length 1; those of zeros stay."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def check(encoder: TextEncoder, source: str, texts: Sequence[str]) -> None:
    """Raise `Bug` where sentence-transformers encodes `texts` otherwise than `encoder`."""
    wanted = sentence_transformer(source).encode(list(texts), normalize_embeddings=True)
    worst = float(np.abs(encoder.encode(texts) - wanted).max())
    if worst > TOLERANCE:
        raise Bug(
            f"{source}: vectors differ from those of sentence-transformers by {worst:.2g}, more than {TOLERANCE:.2g}"
        )


if __name__ == "__main__":
    text_features.main()

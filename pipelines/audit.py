"""Say what is likely wrong or missing in the catalogue: one table, what is worth most first.

`audit.parquet` holds one finding a row:

| column | what |
|---|---|
| kind | value disagrees, value proposed, wrong picture, same picture, nearly the same picture, blank picture, tiny picture, damaged picture |
| item_id, image_key, title | the product, or the picture by itself |
| field, value, wrong | what stands there, and the probability that it is not so; beside a wrong picture, all fields' values |
| proposed, confidence | what the others suggest, and its probability (a cosine for pictures that are nearly the same) |
| source | what a value is proposed by: title, picture, title and picture, pack |
| also | another source that proposes the same value, with its own probability |
| other | the earlier row with that picture |
| why | in words |
| worth | confidence times what `audit.worth` of params.yaml says of its kind |
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.catalogue.conspicuous import Look, look
from models.catalogue.opinion import second_opinion
from models.catalogue.pairing import misfits
from models.catalogue.twins import nearest_twin
from models.catalogue.written import agreement, written
from pipelines.artefacts.findings import NUMBERS, TEXTS
from pipelines.artefacts.packs import texts_of
from pipelines.artefacts.vectors import read_vectors
from pipelines.harness import BadConfig, Bug, Params, Run, stage
from pipelines.tables import Images, Products

PARTS = ("train", "valid", "test")
IMAGES = "validate-images/table.parquet"
QUARANTINE = "validate-images/quarantine.parquet"
OUTSIDE = (Products.ITEM, Products.TITLE, Products.IMAGE, Images.BYTES)
"""Columns of the split's tables that are no fields."""
DISAGREES, PROPOSED = "value disagrees", "value proposed"
MISPLACED = "wrong picture"
SAME, NEAR = "same picture", "nearly the same picture"
BLANK, TINY, DAMAGED = "blank picture", "tiny picture", "damaged picture"
KINDS = (DISAGREES, PROPOSED, MISPLACED, SAME, NEAR, BLANK, TINY, DAMAGED)
TITLES, PICTURES, BOTH, PACK = "title", "picture", "title and picture", "pack"
"""Sources of proposed values."""
CELLS = ["item_id", "field"]
BATCH = 256
VALUES = 64
"""Of a field, the most frequent ones, that take part where pictures are held against words."""
GRAMS = 512
"""Width of the vectors of texts on packs."""
CELL = 0.5
"""What a field says there, beside a title."""


class AuditParams(Params):
    """support: rows that a value needs to be judged. least: probability from which a value is proposed.

    alike: cosine of nearly the same picture.
    side: pixels of the shorter side below which a picture is tiny. spread: deviation of its grey values (0 to 255)
    below which it is blank. worth: each kind of finding to what one that is right is worth.
    """

    support: int
    least: float
    alike: float
    side: int
    spread: float
    worth: dict[str, float]


@stage
def audit(run: Run, params: AuditParams) -> None:
    if set(params.worth) != set(KINDS):
        raise BadConfig(f"params.yaml: audit.worth must name just these: {', '.join(KINDS)}")
    rows = catalogue(run.input("split/attributes"))
    found = []
    run.advance(0.1, "asking for second opinions")
    pictures = vectors_of(run, "image-features/images.parquet", Images.IMAGE, rows[Images.IMAGE])
    titles = vectors_of(run, "text-features/products.parquet", Products.ITEM, rows[Products.ITEM])
    titles[0][rows[Products.TITLE].isna().to_numpy()] = -1
    fields = [name for name in rows if name not in OUTSIDE]
    for place, vectors, source in situations(titles, pictures):
        for name in fields:
            chosen = rows.iloc[place].reset_index(drop=True)
            found.append(opinions(chosen, vectors, name, params).assign(source=source))
    texts = texts_of(run.input("pack-texts/texts.parquet"), rows[Products.ITEM])
    if texts.any():
        run.advance(0.35, "comparing texts on packs")
        told = [of_packs(rows, texts, name, params) for name in fields]
        found = [with_packs(together(found), together(told))]
    run.advance(0.4, "holding pictures against words")
    found.append(misplaced(rows, titles, pictures, fields, params, run.seed))
    table = run.optional(IMAGES)
    if table is not None:
        run.advance(0.5, "looking at pictures")
        shown = rows[rows[Images.IMAGE].notna()].drop_duplicates(Images.IMAGE)
        items = shown.set_index(Images.IMAGE)[[Products.ITEM, Products.TITLE]]
        keys, looks, prints = looked_at(table)
        found.append(conspicuous(keys, looks, items, params))
        print_of = dict(zip(keys, prints, strict=True))
        found.append(shared(rows, print_of))
        place, seen = pictures
        first = np.flatnonzero(place >= 0)
        first = first[~rows[Images.IMAGE].iloc[first].duplicated().to_numpy()]
        found.append(twins(rows.iloc[first], seen[place[first]], print_of, params))
    aside = run.optional(QUARANTINE)
    if aside is not None:
        found.append(damaged(pq.read_table(aside).to_pandas()))
    whole = in_order(found, params)
    pq.write_table(
        pa.Table.from_pandas(whole, schema(), preserve_index=False), run.output("audit.parquet")
    )
    run.rows_in, run.rows_out = len(rows), len(whole)
    for kind in KINDS:
        run.measure(f"findings/{kind}", int((whole["kind"] == kind).sum()))


def schema() -> pa.Schema:
    """Of the table of findings."""
    return pa.schema(
        [(name, pa.string()) for name in TEXTS] + [(name, pa.float64()) for name in NUMBERS]
    )


def catalogue(folder: Path) -> pd.DataFrame:
    """All rows that the attributes are learned and judged on, without the pictures' bytes."""
    parts = []
    for part in PARTS:
        path = folder / f"{part}.parquet"
        columns = [name for name in pq.read_schema(path).names if name != Images.BYTES]
        parts.append(pq.read_table(path, columns=columns).to_pandas())
    rows = pd.concat(parts, ignore_index=True)
    for name in (Products.TITLE, Products.IMAGE):
        if name not in rows:
            rows[name] = None
    return rows.sort_values(Products.ITEM, kind="stable", ignore_index=True)


def vectors_of(run: Run, path: str, key: str, wanted: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Each wanted key's place in a table of vectors, -1 where it has none, and the vectors (n, d) float16."""
    table = run.optional(path)
    if table is None:
        return np.full(len(wanted), -1), np.zeros((0, 0), np.float16)
    keys, vectors, _ = read_vectors(table, key)
    return pd.Index(keys).get_indexer(wanted), vectors


def situations(
    titles: tuple[np.ndarray, np.ndarray], pictures: tuple[np.ndarray, np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    """Rows with a title alone, with a picture alone, with both: their places, what is seen of them, the source's name."""
    told, seen = titles[0] >= 0, pictures[0] >= 0
    for rows, sources, name in (
        (told & ~seen, [titles], TITLES),
        (~told & seen, [pictures], PICTURES),
        (told & seen, [titles, pictures], BOTH),
    ):
        place = np.flatnonzero(rows)
        if len(place):
            vectors = np.concatenate([vectors[at[place]] for at, vectors in sources], axis=1)
            yield place, vectors, name


def opinions(
    rows: pd.DataFrame, vectors: np.ndarray, name: str, params: AuditParams
) -> pd.DataFrame:
    """Cells of the field `name` that another value would suit better, and empty ones with a likely value."""
    counts = rows[name].value_counts()
    values = sorted(counts.index[counts >= params.support])
    if len(values) < 2:
        return pd.DataFrame()
    labels = pd.Index(values).get_indexer(rows[name])
    empty = rows[name].isna().to_numpy()
    # A rare value is no error, and no rule for others.
    judged = np.flatnonzero((labels >= 0) | empty)
    said = second_opinion(vectors[judged], labels[judged], len(values))
    rows, labels, empty = rows.iloc[judged], labels[judged], empty[judged]
    chosen = np.flatnonzero(said.sure >= params.least)
    proposed = np.asarray(values, object)[said.best[chosen]]
    return pd.DataFrame(
        {
            "kind": np.where(empty[chosen], PROPOSED, DISAGREES),
            "item_id": rows[Products.ITEM].to_numpy()[chosen],
            "image_key": rows[Products.IMAGE].to_numpy()[chosen],
            "title": rows[Products.TITLE].to_numpy()[chosen],
            "field": name,
            "value": rows[name].to_numpy()[chosen],
            "proposed": proposed,
            "wrong": np.where(empty[chosen], np.nan, said.wrong[chosen]),
            "confidence": said.sure[chosen],
            "why": "what looks or reads like it has another value",
        }
    )


def of_packs(rows: pd.DataFrame, texts: pd.Series, name: str, params: AuditParams) -> pd.DataFrame:
    """What the text on its pack says of the field `name` of each row that has one, as `opinions` tells proposals.

    texts (n,): what was read, empty where nothing was. A value that stands there word for word is as sure as such values
    are right in filled cells; one that packs of like words have, as sure as a second opinion. Both are of the rows with text
    alone; the surer is told.
    """
    from models.encoders.text import TextEncoder

    packed = np.flatnonzero((texts != "").to_numpy())
    chosen, said = rows.iloc[packed].reset_index(drop=True), texts.iloc[packed].tolist()
    counts = rows[name].value_counts()
    # A value that one row alone has would be found by that row's own cell.
    values = sorted(counts.index[counts > 1])
    labels = pd.Index(values, dtype=object).get_indexer(chosen[name])
    place = written(said, values)
    best = np.asarray([*values, None], object)[place]
    sure = np.where(place >= 0, agreement(place, labels), 0.0)
    why = np.full(len(said), "the text on its pack has this value", object)
    frequent = chosen[name].value_counts()
    common = sorted(frequent.index[frequent >= params.support])
    if len(common) > 1:
        vectors = TextEncoder.hashing(GRAMS).encode(said)
        like = second_opinion(vectors, pd.Index(common).get_indexer(chosen[name]), len(common))
        surer = like.sure > sure
        best = np.where(surer, np.asarray(common, object)[like.best], best)
        sure = np.where(surer, like.sure, sure)
        why[surer] = "packs with words like it have this value"
    found = pd.DataFrame(
        {
            "kind": PROPOSED,
            "item_id": chosen[Products.ITEM],
            "image_key": chosen[Products.IMAGE],
            "title": chosen[Products.TITLE],
            "field": name,
            "value": chosen[name],
            "proposed": best,
            "wrong": np.nan,
            "confidence": sure,
            "why": why,
            "source": PACK,
        }
    )
    return found[(sure >= params.least) & pd.notna(best)]


def with_packs(found: pd.DataFrame, told: pd.DataFrame) -> pd.DataFrame:
    """Findings of the other sources with what packs tell (`of_packs`): of each cell the surer is kept.

    A pack proposes values for empty cells, and speaks for what others propose; it doubts none that stands there by itself.
    """
    best = together([found, told[told["value"].isna()]])
    best = best.sort_values("confidence", ascending=False, kind="stable").drop_duplicates(CELLS)
    mine = best[[*CELLS, "proposed", "source"]]
    others = mine.merge(together([found, told]), on=[*CELLS, "proposed"], suffixes=("_own", ""))
    others = others[others["source"] != others["source_own"]]
    said = {
        (one.item_id, one.field): f"{one.source} {one.confidence:.2f}"
        for one in others.itertuples()
    }
    best["also"] = [said.get(cell) for cell in best[CELLS].itertuples(index=False, name=None)]
    return best


def together(found: list[pd.DataFrame]) -> pd.DataFrame:
    """Findings as one table with all columns."""
    whole = pd.concat([part for part in found if len(part)] or [pd.DataFrame()], ignore_index=True)
    return whole.reindex(columns=[*TEXTS, *NUMBERS])


def words(
    rows: pd.DataFrame, titles: np.ndarray, told: np.ndarray, fields: list[str], support: int
) -> np.ndarray:
    """What is said of each row (n, e) float16: its title's vector, and the values of its fields.

    titles (n, t); told (n,): who has one. What a row does not say, or says with a rare value, is as in the mean row.
    """
    plain = titles.astype(np.float32)
    plain[told] -= plain[told].mean(0) if told.any() else 0.0
    plain[~told] = 0.0
    parts = [_weighing(plain, 1.0)]
    for name in fields:
        counts = rows[name].value_counts()
        values = counts.index[counts >= support][:VALUES]
        place = pd.Index(values).get_indexer(rows[name])
        said = np.flatnonzero(place >= 0)
        marks = np.zeros((len(rows), len(values)), np.float32)
        marks[said, place[said]] = 1.0
        marks[said] -= marks[said].mean(0) if len(said) else 0.0
        parts.append(_weighing(marks, CELL))
    return np.concatenate(parts, axis=1).astype(np.float16)


def _weighing(part: np.ndarray, weight: float) -> np.ndarray:
    """Rows scaled alike, so that they are `weight` long in the quadratic mean."""
    return part * (weight / (np.sqrt(np.square(part).sum(1).mean()) + 1e-9))


def misplaced(
    rows: pd.DataFrame,
    titles: tuple[np.ndarray, np.ndarray],
    pictures: tuple[np.ndarray, np.ndarray],
    fields: list[str],
    params: AuditParams,
    seed: int,
) -> pd.DataFrame:
    """Rows whose picture does not go with their title and fields, though those of most others do."""
    seen, vectors = pictures
    told, texts = titles
    place = np.flatnonzero((seen >= 0) & ((told >= 0) | rows[fields].notna().any(axis=1)))
    chosen = rows.iloc[place].reset_index(drop=True)
    known = told[place] >= 0
    read = np.zeros((len(place), texts.shape[1]), texts.dtype)
    read[known] = texts[told[place[known]]]
    said = words(chosen, read, known, fields, params.support)
    wrong = misfits(vectors[seen[place]], said, seed)
    doubted = np.flatnonzero(wrong >= params.least)
    return pd.DataFrame(
        {
            "kind": MISPLACED,
            "item_id": chosen[Products.ITEM].to_numpy()[doubted],
            "image_key": chosen[Products.IMAGE].to_numpy()[doubted],
            "title": chosen[Products.TITLE].to_numpy()[doubted],
            "value": [
                ", ".join(value for value in row if isinstance(value, str))
                for row in chosen[fields].iloc[doubted].to_numpy()
            ],
            "wrong": wrong[doubted],
            "confidence": wrong[doubted],
            "why": "the picture goes with title and fields no better than another product's would",
        }
    )


def looked_at(path: Path) -> tuple[list[str], list[Look], list[str]]:
    """Keys of all pictures, how each looks as a whole, and a hash of its bytes; a block at a time."""
    keys: list[str] = []
    looks: list[Look] = []
    prints: list[str] = []
    columns = [Images.IMAGE, Images.BYTES]
    for batch in pq.ParquetFile(path).iter_batches(BATCH, columns=columns):
        content = batch.column(Images.BYTES).to_pylist()
        keys += batch.column(Images.IMAGE).to_pylist()
        looks += [look(one) for one in content]
        prints += [hashlib.sha256(one).hexdigest() for one in content]
    return keys, looks, prints


def conspicuous(
    keys: list[str], looks: list[Look], items: pd.DataFrame, params: AuditParams
) -> pd.DataFrame:
    """Blank and tiny pictures. items: product and title by image key; a picture of no product stands for itself."""
    table = pd.DataFrame(looks)
    blank, tiny = table["spread"] < params.spread, table["side"] < params.side
    chosen = np.flatnonzero(blank | tiny)
    picked = pd.Index(keys)[chosen]
    owners = items.reindex(picked)
    side, spread = table["side"].iloc[chosen], table["spread"].iloc[chosen]
    return pd.DataFrame(
        {
            "kind": np.where(blank.iloc[chosen], BLANK, TINY),
            "item_id": owners[Products.ITEM].fillna(pd.Series(picked, index=picked)).to_numpy(),
            "image_key": picked,
            "title": owners[Products.TITLE].to_numpy(),
            "confidence": 1.0,
            "why": [
                f"{a} pixels, grey values deviate by {b:.1f}"
                for a, b in zip(side, spread, strict=True)
            ],
        }
    )


def shared(rows: pd.DataFrame, prints: dict[str, str]) -> pd.DataFrame:
    """Rows whose picture has the very bytes of an earlier row's."""
    pictured = rows[rows[Products.IMAGE].notna()]
    print_of = pictured[Products.IMAGE].map(prints)
    if print_of.isna().any():
        key = pictured[Products.IMAGE][print_of.isna()].iloc[0]
        raise Bug(f"data/{IMAGES} has no picture {key}")
    first = pictured[Products.ITEM].groupby(print_of).transform("first")
    again = print_of.duplicated().to_numpy()
    return pd.DataFrame(
        {
            "kind": SAME,
            "item_id": pictured[Products.ITEM][again].to_numpy(),
            "image_key": pictured[Products.IMAGE][again].to_numpy(),
            "title": pictured[Products.TITLE][again].to_numpy(),
            "other": first[again].to_numpy(),
            "confidence": 1.0,
            "why": "the same bytes",
        }
    )


def twins(
    rows: pd.DataFrame, vectors: np.ndarray, prints: dict[str, str], params: AuditParams
) -> pd.DataFrame:
    """Rows whose picture is nearly that of an earlier row: a crop, another colour, another compression."""
    place, cosine = nearest_twin(vectors, params.alike)
    print_of = rows[Products.IMAGE].map(prints).to_numpy()
    # The very same bytes are told of by `shared`.
    chosen = np.flatnonzero((place >= 0) & (print_of != print_of[place]))
    items = rows[Products.ITEM].to_numpy()
    return pd.DataFrame(
        {
            "kind": NEAR,
            "item_id": items[chosen],
            "image_key": rows[Products.IMAGE].to_numpy()[chosen],
            "title": rows[Products.TITLE].to_numpy()[chosen],
            "other": items[place[chosen]],
            "confidence": cosine[chosen].astype(float),
            "why": "the frozen encoder sees nearly the same",
        }
    )


def damaged(quarantine: pd.DataFrame) -> pd.DataFrame:
    """Pictures that validation set aside."""
    names = [
        f"{file}, row {row}"
        for file, row in zip(quarantine["file"], quarantine["row"], strict=True)
    ]
    return pd.DataFrame(
        {
            "kind": DAMAGED,
            "item_id": names,
            "confidence": 1.0,
            "why": quarantine["rule"],
        }
    )


def in_order(found: list[pd.DataFrame], params: AuditParams) -> pd.DataFrame:
    """All findings, what is worth most first."""
    whole = together(found)
    whole[["wrong", "confidence"]] = whole[["wrong", "confidence"]].astype(float).round(6)
    whole["worth"] = (whole["confidence"] * whole["kind"].map(params.worth)).round(6)
    whole = whole.sort_values(
        ["worth", "kind", "item_id", "field"], ascending=[False, True, True, True], kind="stable"
    )
    return whole.reset_index(drop=True)


if __name__ == "__main__":
    audit.main()

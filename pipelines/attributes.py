"""Train the model that fills in product attributes from title and picture, with a confidence for each."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from models.bundle import save
from models.vision.attributes import (
    PICTURE,
    SITUATIONS,
    TITLE,
    Attributes,
    Reading,
    View,
    pool_weights,
    present,
)
from models.vision.head import calibration_error, log_softmax
from models.vision.head_training import Examples, train_heads
from models.vision.settings import HeadSettings
from models.vision.sight import Sight
from pipelines.capabilities import attributes as judge
from pipelines.encoders import image_encoder, text_encoder
from pipelines.harness import BadConfig, BadData, Bug, Params, Run, stage
from pipelines.judging import judge_on_validation
from pipelines.tables import Images, Products
from pipelines.vectors import read_vectors

PARTS = ("train", "valid")
GRAMS = 512
"""Hashed n-grams beside a title's vector."""


class AttributesParams(Params):
    """text, image, size: as of text-features and image-features. heads: how the classifiers are fitted."""

    text: str
    image: str
    size: int
    heads: HeadSettings


@dataclass(frozen=True)
class Seen:
    """What one source tells of a part: examples labelled with `fields`, and the rows of the part that they are."""

    examples: Examples
    rows: np.ndarray


@stage
def attributes(run: Run, params: AttributesParams) -> None:
    text = text_encoder(params.text, run.input("ingest-encoders/text"))
    image = image_encoder(params.image, run.input("ingest-encoders/image"), params.size)
    sight, reading = Sight.plain(image), Reading(text, GRAMS)
    tables = {
        part: pq.read_table(run.input(f"split/attributes/{part}.parquet")).to_pandas()
        for part in PARTS
    }
    classes = known_values(tables["train"])
    views: list[View] = []
    seen: dict[str, Seen] = {}
    for at, source in enumerate((TITLE, PICTURE)):
        rows = {part: present(table, source) for part, table in tables.items()}
        train = tables["train"].iloc[rows["train"]]
        fields = [name for name in classes if train[name].nunique() > 1]
        if not fields:
            continue
        if source == TITLE:
            vectors = title_vectors(run, tables, rows, reading)
        else:
            vectors = picture_vectors(run, tables, rows, sight)
        codes = {part: labels(tables[part].iloc[rows[part]], classes, fields) for part in PARTS}
        examples = {part: Examples(*vectors[part], codes[part]) for part in PARTS}
        made, curves = train_heads(
            examples["train"],
            examples["valid"],
            [len(classes[name]) for name in fields],
            params.heads,
            run.seed,
            telling(run, 0.1 + 0.35 * at),
        )
        named = dict(zip(fields, made, strict=True))
        views.append(
            View((source,), named, reading=reading)
            if source == TITLE
            else View((source,), named, sight)
        )
        seen[source] = Seen(examples["valid"], rows["valid"])
        for name, losses in curves.items():
            run.tracker.curve(f"{name}/{source}", losses)
    weights = {
        name: weigh(views, seen, tables["valid"], name, values) for name, values in classes.items()
    }
    model = Attributes(classes, tuple(views), weights)
    save(model.to_bundle(), run.output("bundle"))
    run.rows_in, run.rows_out = len(tables["train"]), len(classes)
    run.advance(0.85, "judging on validation")
    table = judge_on_validation(run, judge, "attributes", model)
    for name, values in classes.items():
        known = table[f"right_{name}"].notna()
        if known.any():
            right = table.loc[known, f"right_{name}"].to_numpy(float)
            sure = table.loc[known, f"confidence_{name}"].to_numpy(float)
            frequent = judge.most_frequent(tables["train"][name])
            run.measure(f"accuracy/{name}", float(right.mean()))
            run.measure(f"calibration_error/{name}", calibration_error(sure, right))
            run.measure(
                f"majority/{name}", float((tables["valid"][name].dropna() == frequent).mean())
            )
        run.measure(f"values/{name}", len(values))


def telling(run: Run, start: float) -> Callable[[float, str], None]:
    """Tell how far one view is, as a part of the stage that begins at the share `start`."""
    return lambda done, what: run.advance(start + 0.35 * done, what)


def known_values(train: pd.DataFrame) -> dict[str, list[str]]:
    """Field to its values in train, sorted; raises `BadData` where no field has two."""
    fields = judge.fields_of(train)
    classes = {name: sorted(train[name].dropna().unique()) for name in fields}
    classes = {name: values for name, values in classes.items() if len(values) > 1}
    if not classes:
        raise BadData(
            f"split/attributes/train.parquet: none of the columns {', '.join(fields)} has two values: "
            "name other columns of products in split.attributes of params.yaml, or bring more rows"
        )
    return classes


def labels(table: pd.DataFrame, classes: dict[str, list[str]], fields: list[str]) -> np.ndarray:
    """(n, fields) int64: places in `classes`, -1 where empty or not known in train."""
    codes = [pd.Index(classes[name]).get_indexer(table[name]) for name in fields]
    return np.stack(codes, axis=1).astype(np.int64)


def title_vectors(
    run: Run, tables: dict[str, pd.DataFrame], rows: dict[str, np.ndarray], reading: Reading
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Part to one vector for each different title, and each row's place among them."""
    path = "text-features/products.parquet"
    place, vectors = stored(run, path, Products.ITEM, reading.encoder.identity, "text")
    found = {}
    for part, table in tables.items():
        there = table.iloc[rows[part]]
        owner, titles = pd.factorize(there[Products.TITLE], sort=True)
        first = np.unique(owner, return_index=True)[1]
        chosen = places(place, there[Products.ITEM].iloc[first], path)
        found[part] = reading.complete(vectors[chosen], titles.tolist()), owner
    return found


def picture_vectors(
    run: Run, tables: dict[str, pd.DataFrame], rows: dict[str, np.ndarray], sight: Sight
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Part to one vector a picture, and each row's place among them."""
    path = "image-features/images.parquet"
    place, vectors = stored(run, path, Images.IMAGE, sight.encoder.identity, "image")
    found = {}
    for part, table in tables.items():
        there = table.iloc[rows[part]]
        chosen = vectors[places(place, there[Products.IMAGE], path)]
        made = sight.complete(chosen, sight.encoder.decode(there[Images.BYTES].tolist()))
        found[part] = made, np.arange(len(there))
    return found


def stored(run: Run, path: str, key: str, identity: str, name: str) -> tuple[pd.Index, np.ndarray]:
    """Keys and vectors of a stage of features; raises `BadConfig` where another encoder made them."""
    keys, vectors, made_by = read_vectors(run.input(path), key)
    if made_by != identity:
        raise BadConfig(
            f"params.yaml: data/{path} was made with another encoder or size than attributes.{name}: "
            "give both sections the same"
        )
    return pd.Index(keys), vectors


def places(place: pd.Index, keys: pd.Series, path: str) -> np.ndarray:
    """Where each key stands in `place`; raises `Bug` where one does not."""
    found = place.get_indexer(keys)
    if (found < 0).any():
        raise Bug(f"data/{path} has no vector of {keys.iloc[int(np.argmin(found))]}")
    return found


def weigh(
    views: list[View],
    seen: dict[str, Seen],
    valid: pd.DataFrame,
    field: str,
    values: list[str],
) -> dict[str, list[float]]:
    """The weight of each view for `field`: all of a source that is alone, and by the validation rows that have both."""
    alone = {view.sources[0]: field in view.heads for view in views}
    weights = {
        "+".join(sources): [
            float(alone[view.sources[0]] and set(view.sources) <= set(sources)) for view in views
        ]
        for sources in SITUATIONS
    }
    if not all(alone.get(source) for source in (TITLE, PICTURE)):
        return weights
    labelled = np.flatnonzero(valid[field].isin(values))
    both = np.intersect1d(np.intersect1d(seen[TITLE].rows, seen[PICTURE].rows), labelled)
    logs = []
    for view in views:
        mine = seen[view.sources[0]]
        chosen = mine.examples.rows[np.searchsorted(mine.rows, both)]
        logs.append(log_softmax(view.heads[field].logits(mine.examples.vectors[chosen])))
    truth = labels(valid.iloc[both], {field: values}, [field])[:, 0]
    return weights | {"+".join((TITLE, PICTURE)): pool_weights(logs, truth)}


if __name__ == "__main__":
    attributes.main()

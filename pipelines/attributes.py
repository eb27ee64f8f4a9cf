"""Train the model that fills in product attributes from title and picture, with a confidence for each."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from models.bundle import save
from models.vision.attributes import PICTURE, TITLE, Attributes, picture_features, title_features
from models.vision.head import Head, calibration_error
from models.vision.head_training import Settings, train_heads
from pipelines.capabilities import attributes as judge
from pipelines.encoders import image_encoder, text_encoder
from pipelines.harness import BadData, MissingResource, Params, Run, stage
from pipelines.judging import judge_on_validation
from pipelines.tables import Images, Products
from pipelines.vectors import read_vectors

KEYS = (Products.ITEM, Products.TITLE, Products.IMAGE, Images.BYTES)


class AttributesParams(Params):
    """text, image, size: as of text-features and image-features. The others: see `head_training.Settings`."""

    text: str
    image: str
    size: int
    hidden: int
    epochs: int
    batch: int
    rate: float
    decay: float
    dropout: float
    mixup: float


@stage
def attributes(run: Run, params: AttributesParams) -> None:
    settings = Settings(**params.model_dump(exclude={"text", "image", "size"}))
    text = text_encoder(params.text, run.input("ingest-encoders/text"))
    image = image_encoder(params.image, run.input("ingest-encoders/image"), params.size)
    parts = {
        part: pq.read_table(run.input(f"split/attributes/{part}.parquet")).to_pandas()
        for part in ("train", "valid")
    }
    fields = [name for name in parts["train"].columns if name not in KEYS]
    classes = {name: sorted(parts["train"][name].dropna().unique()) for name in fields}
    classes = {name: values for name, values in classes.items() if len(values) > 1}
    if not classes:
        raise BadData(
            f"products: none of the columns {', '.join(fields)} has two values in train: "
            "name others in split.attributes of params.yaml"
        )
    heads: dict[tuple[str, str], Head] = {}
    for at, source in enumerate((TITLE, PICTURE)):
        made = _vectors(run, source, parts, text.identity if source == TITLE else image.identity)
        for name, head in _fit(run, made, classes, settings, 0.1 + 0.35 * at).items():
            heads[source, name] = head
    model = Attributes(classes, heads, text, image)
    save(model.to_bundle(), run.output("bundle"))
    run.rows_in, run.rows_out = len(parts["train"]), len(classes)
    run.advance(0.85, "judging on validation")
    table = judge_on_validation(run, judge, "attributes", model)
    for name in classes:
        known = table[f"right_{name}"].notna()
        right = table.loc[known, f"right_{name}"].to_numpy(float)
        sure = table.loc[known, f"confidence_{name}"].to_numpy(float)
        if len(right):
            run.measure(f"accuracy/{name}", float(right.mean()))
            run.measure(f"calibration_error/{name}", calibration_error(sure, right))


def _vectors(
    run: Run, source: str, parts: dict[str, pd.DataFrame], identity: str
) -> dict[str, tuple[np.ndarray, pd.DataFrame]]:
    """Part to what the source sees (n, d) and the rows that it sees."""
    if source == TITLE:
        path, key, filled = "text-features/products.parquet", Products.ITEM, Products.TITLE
    else:
        path, key, filled = "image-features/images.parquet", Products.IMAGE, Images.BYTES
    place, vectors = _lookup(
        run, path, Products.ITEM if source == TITLE else Images.IMAGE, identity
    )
    found = {}
    for part, table in parts.items():
        rows = table[judge.filled(table[filled]) & table[key].isin(place.index)]
        chosen = vectors[place.loc[rows[key]].to_numpy()]
        features = title_features if source == TITLE else picture_features
        found[part] = (
            (features(chosen, rows[filled].tolist()), rows) if len(rows) else (chosen, rows)
        )
    return found


def _lookup(run: Run, path: str, key: str, identity: str) -> tuple[pd.Series, np.ndarray]:
    keys, vectors, made_by = read_vectors(run.input(path), key)
    if made_by != identity:
        raise MissingResource(
            f"{path} was made with another encoder than attributes' own: give both sections of params.yaml the same"
        )
    return pd.Series(np.arange(len(keys)), index=keys), vectors


def _fit(
    run: Run,
    made: dict[str, tuple[np.ndarray, pd.DataFrame]],
    classes: dict[str, list[str]],
    settings: Settings,
    start: float,
) -> dict[str, Head]:
    """Field to head, of the fields that rows of this source are labelled with in train."""
    known = [name for name in classes if made["train"][1][name].nunique() > 1]
    if not known:
        return {}
    data = {}
    for part, (vectors, rows) in made.items():
        codes = [rows[name].map({v: at for at, v in enumerate(classes[name])}) for name in known]
        data[part] = vectors, np.stack([code.fillna(-1).astype(np.int64) for code in codes], axis=1)
    heads, curves = train_heads(
        data["train"],
        data["valid"],
        [len(classes[name]) for name in known],
        settings,
        run.seed,
        lambda done, what: run.advance(start + 0.35 * done, what),
    )
    for name, values in curves.items():
        run.tracker.curve(f"{name}/{'-'.join(known)}", values)
    return dict(zip(known, heads, strict=True))


if __name__ == "__main__":
    attributes.main()

"""Train the model that fills in product attributes from title, picture and the text on packs, with a confidence for each."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from models.bundle import save
from models.encoders.image import ImageEncoder
from models.encoders.text import TextEncoder
from models.training.fitting import Course
from models.vision.attributes import TITLE, present
from models.vision.attributes_training import Rows, fit
from models.vision.head import calibration_error
from models.vision.settings import AttributesSettings
from pipelines.artefacts.packs import texts_of
from pipelines.artefacts.vectors import read_vectors
from pipelines.capabilities import attributes as judge
from pipelines.harness import BadConfig, BadData, Bug, Run, stage
from pipelines.harness.unfinished import unfinished
from pipelines.packaged.encoders import image_encoder, text_encoder
from pipelines.tables import Images, Products
from pipelines.training import pictures
from pipelines.training.judging import judge_on_validation
from pipelines.training.trained import TrainedParams


class AttributesParams(TrainedParams):
    """text, image, size: as of text-features and image-features. learning: how the model is fitted."""

    text: str
    image: str
    size: int
    learning: AttributesSettings


@stage
def attributes(run: Run, params: AttributesParams) -> None:
    text = text_encoder(params.text, run.input("ingest-encoders/text"))
    image = image_encoder(params.image, run.input("ingest-encoders/image"), params.size)
    part = run.input("split/attributes/train.parquet")
    columns = [name for name in pq.read_schema(part).names if name != Images.BYTES]
    train = pq.read_table(part, columns=columns).to_pandas()
    classes = known_values(train)
    packs = run.input("pack-texts/texts.parquet")
    with tempfile.TemporaryDirectory() as scratch:
        seen, pictured = pictures.gathered(part, image.size, Path(scratch))
        rows = Rows(
            train[Products.TITLE].fillna("").tolist(),
            seen,
            pictured,
            {name: train[name].fillna("").tolist() for name in classes},
            title_vectors(run, train, text),
            picture_vectors(run, train.iloc[pictured], image) if len(pictured) else None,
            texts_of(packs, train[Products.ITEM]).tolist(),
        )
        course = Course(run.say, run.tracker.curve, unfinished(run, params), params.devices)
        model = fit(rows, image, text, params.learning, run.seed, course)
    save(model.to_bundle(), run.output("bundle"))
    run.rows_in, run.rows_out = len(train), len(classes)
    run.advance(0.85, "judging on validation")
    table = judge_on_validation(run, judge, "attributes", model, packs)
    judged = run.input("split/attributes/valid.parquet")
    valid = pq.read_table(judged, columns=list(classes)).to_pandas()
    for name, values in classes.items():
        known = table[f"right_{name}"].notna()
        if known.any():
            right = table.loc[known, f"right_{name}"].to_numpy(float)
            sure = table.loc[known, f"confidence_{name}"].to_numpy(float)
            frequent = valid[name].dropna() == judge.most_frequent(train[name])
            run.measure(f"accuracy/{name}", float(right.mean()))
            run.measure(f"calibration_error/{name}", calibration_error(sure, right))
            run.measure(f"majority/{name}", float(frequent.mean()))
        run.measure(f"values/{name}", len(values))


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


def title_vectors(run: Run, train: pd.DataFrame, encoder: TextEncoder) -> np.ndarray:
    """What the text encoder gave of each title of the rows (n, d); zeros where there is none."""
    path = "text-features/products.parquet"
    titled = present(train, TITLE)
    if not len(titled):
        return np.zeros((len(train), 0), np.float32)
    place, vectors = stored(run, path, Products.ITEM, encoder.identity, "text")
    found = np.zeros((len(train), vectors.shape[1]), np.float32)
    found[titled] = vectors[places(place, train[Products.ITEM].iloc[titled], path)]
    return found


def picture_vectors(run: Run, pictured: pd.DataFrame, encoder: ImageEncoder) -> np.ndarray:
    """What the image encoder gave of the picture of each row (p, e)."""
    path = "image-features/images.parquet"
    place, vectors = stored(run, path, Images.IMAGE, encoder.identity, "image")
    return vectors[places(place, pictured[Products.IMAGE], path)]


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


if __name__ == "__main__":
    attributes.main()

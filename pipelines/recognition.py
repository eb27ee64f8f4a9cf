"""Train the recogniser of product pictures: a head over frozen features, chosen and calibrated on validation."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from models.bundle import save
from models.vision.head import calibration_error, macro_f1
from models.vision.head_training import Examples, Settings, train_heads
from models.vision.prototypes import Prototypes
from models.vision.recognition import Expert, Recognition
from models.vision.sight import Sight
from pipelines.capabilities import recognition as judge
from pipelines.encoders import image_encoder
from pipelines.harness import BadConfig, BadData, Bug, Params, Run, stage
from pipelines.judging import judge_on_validation
from pipelines.tables import Images
from pipelines.vectors import read_vectors


class RecognitionParams(Params):
    """encoder, size: as of image-features. The others: see `models.vision.head_training.Settings`."""

    encoder: str
    size: int
    hidden: int
    epochs: int
    batch: int
    rate: float
    decay: float
    dropout: float
    mixup: float


@stage
def recognition(run: Run, params: RecognitionParams) -> None:
    settings = params.model_dump(exclude={"encoder", "size"})
    encoder = image_encoder(params.encoder, run.input("ingest-encoders/image"), params.size)
    keys, vectors, made_by = read_vectors(run.input("image-features/images.parquet"), Images.IMAGE)
    if made_by != encoder.identity:
        raise BadConfig(
            "params.yaml: data/image-features/images.parquet was made with another encoder or size than "
            "recognition's: give both sections the same"
        )
    parts = {
        part: pq.read_table(run.input(f"split/recognition/{part}.parquet")).to_pandas()
        for part in ("train", "valid")
    }
    classes = sorted(parts["train"][Images.LABEL].unique())
    if len(classes) < 2:
        raise BadData(
            f"split/recognition/train.parquet, column label: {len(classes)} different value(s): bring pictures of "
            "two classes or more"
        )
    sight, data = Sight.plain(encoder), {}
    for part, table in parts.items():
        rows = pd.Index(keys).get_indexer(table[Images.IMAGE])
        if (rows < 0).any():
            key = table[Images.IMAGE].iloc[int(np.argmin(rows))]
            raise Bug(f"data/image-features/images.parquet has no vector of {key}")
        pictures = encoder.decode(table[Images.BYTES].tolist())
        seen = sight.complete(vectors[rows], pictures)
        codes = pd.Index(classes).get_indexer(table[Images.LABEL]).astype(np.int64)
        data[part] = Examples(seen, np.arange(len(table)), codes[:, None])
    heads, curves = train_heads(
        data["train"],
        data["valid"],
        [len(classes)],
        Settings(**settings),
        run.seed,
        lambda done, what: run.advance(0.2 + 0.6 * done, what),
    )
    for name, values in curves.items():
        run.tracker.curve(name, values)
    shares = np.bincount(data["train"].labels[:, 0], minlength=len(classes)) / len(parts["train"])
    train = data["train"]
    prototypes = Prototypes.of(train.vectors, train.labels[:, 0], len(classes))
    model = Recognition(classes, (Expert(sight, heads[0]),), shares, prototypes)
    save(model.to_bundle(), run.output("bundle"))
    run.rows_in, run.rows_out = len(parts["train"]), len(classes)
    run.advance(0.85, "judging on validation")
    table = judge_on_validation(run, judge, "recognition", model)
    right = table["score"].to_numpy()
    run.measure("calibration_error", calibration_error(table["confidence"].to_numpy(), right))
    answers = table["prediction"].to_numpy(object)
    run.measure("macro_f1", macro_f1(table["truth"].to_numpy(object), answers))


if __name__ == "__main__":
    recognition.main()

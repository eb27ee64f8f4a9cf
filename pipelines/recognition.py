"""Train the recogniser of product pictures: a head over frozen features, chosen and calibrated on validation."""

import numpy as np
import pyarrow.parquet as pq

from models.bundle import save
from models.vision.head import calibration_error
from models.vision.head_training import Settings, train_heads
from models.vision.recognition import Recognition, pixels
from pipelines.capabilities import recognition as judge
from pipelines.encoders import image_encoder
from pipelines.harness import BadData, MissingResource, Params, Run, stage
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
        raise MissingResource(
            "image-features were made with another encoder or size than recognition's: "
            "give both sections of params.yaml the same"
        )
    place = {key: at for at, key in enumerate(keys)}
    parts = {
        part: pq.read_table(run.input(f"split/recognition/{part}.parquet")).to_pandas()
        for part in ("train", "valid")
    }
    classes = sorted(parts["train"][Images.LABEL].unique())
    if len(classes) < 2:
        raise BadData(f"images, column label: {len(classes)} class(es) in train; bring two or more")
    code = {name: at for at, name in enumerate(classes)}
    data = {}
    for part, table in parts.items():
        rows = np.array([place[key] for key in table[Images.IMAGE]])
        seen = [vectors[rows].astype(np.float32), pixels(table[Images.BYTES].tolist())]
        labels = table[Images.LABEL].map(code).fillna(-1).astype(np.int64).to_numpy()
        data[part] = (np.concatenate(seen, axis=1), labels[:, None])
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
    model = Recognition(classes, heads[0], encoder)
    save(model.to_bundle(), run.output("bundle"))
    run.rows_in, run.rows_out = len(parts["train"]), len(classes)
    run.advance(0.85, "judging on validation")
    table = judge_on_validation(run, judge, "recognition", model)
    right = table["score"].to_numpy()
    run.measure("calibration_error", calibration_error(table["confidence"].to_numpy(), right))


if __name__ == "__main__":
    recognition.main()

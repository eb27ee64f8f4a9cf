"""Train the recogniser of product pictures, by the same code as the door's `recognise`; judge it on validation."""

import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from models.bundle import save
from models.training.fitting import Course
from models.vision.head import calibration_error, macro_f1
from models.vision.recognition_training import fit
from models.vision.settings import RecognitionSettings
from pipelines.capabilities import recognition as judge
from pipelines.harness import BadData, Run, stage
from pipelines.harness.unfinished import unfinished
from pipelines.tables import Images
from pipelines.training import pictures
from pipelines.training.judging import judge_on_validation
from pipelines.training.seeing import SightParams
from pipelines.training.trained import TrainedParams


class RecognitionParams(SightParams, TrainedParams):
    """learning: how the recogniser is fitted."""

    learning: RecognitionSettings


@stage
def recognition(run: Run, params: RecognitionParams) -> None:
    train = run.input("split/recognition/train.parquet")
    labels = pq.read_table(train, columns=[Images.LABEL]).column(0).to_pylist()
    classes = len(set(labels))
    if classes < 2:
        raise BadData(
            f"split/recognition/train.parquet, column label: {classes} different value(s): bring pictures of "
            "two classes or more"
        )
    side = pictures.usual_side(pictures.sample(train))
    encoder = params.image_encoder(side, run.input("ingest-encoders/image"))
    with tempfile.TemporaryDirectory() as scratch:
        run.advance(0.05, f"looking at pictures of {encoder.size} pixels a side")
        seen, _ = pictures.gathered(train, encoder.size, Path(scratch))
        course = Course(run.say, run.tracker.curve, unfinished(run, params), params.devices)
        model = fit(seen, labels, encoder, params.learning, run.seed, course)
    save(model.to_bundle(), run.output("bundle"))
    run.rows_in, run.rows_out = len(labels), classes
    run.advance(0.85, "judging on validation")
    table = judge_on_validation(run, judge, "recognition", model)
    right = table["score"].to_numpy()
    run.measure("calibration_error", calibration_error(table["confidence"].to_numpy(), right))
    answers = table["prediction"].to_numpy(object)
    run.measure("macro_f1", macro_f1(table["truth"].to_numpy(object), answers))


if __name__ == "__main__":
    recognition.main()

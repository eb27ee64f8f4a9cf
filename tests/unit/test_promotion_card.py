"""The card says what the run found, and the packages that a version asks for are those that its code imports."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.promotion.card import Facts, encoders, lexicons, provenance, write_card
from pipelines.promotion.frozen import cut_dates, row_dates
from pipelines.promotion.requirements import SHARED, requirements, third_party

FIGURES = {
    "rows_in": 1200,
    "headline": {
        "metric": "accuracy",
        "value": 0.8123,
        "low": 0.79,
        "high": 0.83,
        "baseline": "words",
        "baseline_value": 0.8,
        "gain_low": 0.01,
        "gain_high": 0.02,
    },
    "measures": {
        "gain": 0.0123,
        "also/Recall@20": 0.25,
        "also/Recall@20, low": 0.2,
        "also/Recall@20, high": 0.3,
        "baseline/words": 0.8,
        "baseline/words, low": 0.78,
        "baseline/words, high": 0.82,
        "side/confidence": 0.7,
        "side/confidence, low": 0.65,
        "side/confidence, high": 0.75,
        "baseline/majority": 0.4,
        "slice/language/en": 0.9,
        "slice_baseline/language/en": 0.85,
        "slice_rows/language/en": 1000.0,
        "slice/language/zh": 0.5,
        "slice/language/zh, low": 0.4,
        "slice/language/zh, high": 0.6,
        "slice_baseline/language/zh": 0.6,
        "slice_rows/language/zh": 200.0,
    },
}
FACTS = Facts(
    name="vitrine.sentiment",
    about="Train the sentiment model.",
    profile="default",
    commit="c" * 40,
    manifest="a" * 64,
    rows="b" * 64,
    fitted="d" * 64,
    run="#/experiments/1/runs/2",
    figures=FIGURES,
    params={"epochs": 3},
    sources=[("shop reviews 1.0", "MIT")],
    dates={"test_from": "2017-12-01"},
    megabytes=45.6,
)


def test_the_card_tells_figures_slices_limits_sources_and_how_to_load() -> None:
    card = write_card(FACTS)
    for part in (
        "# vitrine.sentiment",
        "on rows `dddddddddddd` ([training run](#/experiments/1/runs/2)).",
        "1,200 frozen test rows",
        "| this model | 0.8123 [0.7900, 0.8300] |",
        "| majority | 0.4000 |",
        "| words | 0.8000 [0.7800, 0.8200] |",
        "| its confidence: 1 - Brier score | 0.7000 [0.6500, 0.7500] |",
        "| Recall@20 | 0.2500 [0.2000, 0.3000] |",
        "| gain over words | +0.0123 [+0.0100, +0.0200] |",
        "| language/zh | 200 | 0.5000 [0.4000, 0.6000] | 0.6000 |",
        "Behind words on: language/zh.",
        "shop reviews 1.0: MIT",
        "test_from: 2017-12-01",
        "epochs = 3",
        'load_model("models:/vitrine.sentiment@champion")',
        "45.6 MB",
    ):
        assert part in card, part
    assert card.index("Figures") < card.index("Limits") < card.index("How to load")
    assert "within chance" not in card and "a part of the data" not in card


def test_a_gain_within_chance_and_a_small_profile_are_told_as_limits() -> None:
    figures = {**FIGURES, "headline": {**FIGURES["headline"], "gain_low": -0.01}}
    card = write_card(replace(FACTS, figures=figures, profile="smoke"))
    assert "within chance" in card and "a part of the data" in card


def test_sources_come_from_the_tables_and_the_encoders(tmp_path: Path) -> None:
    noted = {"vitrine.source": "pack 1.0; other 2.0", "vitrine.licence": "MIT"}
    for name, notes in (("a", noted), ("b", noted), ("c", {}), ("d", {"vitrine.source": "own"})):
        table = pa.table({"x": [1]}).replace_schema_metadata(notes)
        pq.write_table(table, tmp_path / f"{name}.parquet")
    assert provenance([tmp_path]) == [
        ("other 2.0", "MIT"),
        ("own", "not stated"),
        ("pack 1.0", "MIT"),
    ]
    folders = [tmp_path / "text", tmp_path / "image"]
    told = [
        {"encoder": "package", "package": "encoder 6", "licence": "Apache-2.0"},
        {"encoder": "pixels"},
    ]
    for folder, note in zip(folders, told, strict=True):
        folder.mkdir()
        (folder / "source.json").write_text(json.dumps(note))
    assert encoders(folders) == [("encoder 6", "Apache-2.0")]
    assert cut_dates(tmp_path) == {}


def test_the_days_of_each_part_are_told_where_rows_have_a_time(tmp_path: Path) -> None:
    days = pd.to_datetime(["2024-01-02", "2024-03-04"], utc=True)
    for part, shift in (("train", 0), ("valid", 90), ("test", 120)):
        moments = pd.DataFrame({"timestamp": days + pd.Timedelta(days=shift)})
        moments.to_parquet(tmp_path / f"{part}.parquet")
    found = row_dates(tmp_path, "timestamp")
    assert found["rows of train"] == "2024-01-02 to 2024-03-04" and len(found) == 3
    for time in (None, "written"):
        assert row_dates(tmp_path, time) == {"rows": "have no time"}


def test_packages_are_those_that_the_kind_imports(tmp_path: Path) -> None:
    for name in SHARED:
        (tmp_path / name).write_text(
            "import json\nimport numpy as np\nfrom models.bundle import x\n"
        )
    for name, text in {
        "language/sentiment.py": "def f():\n    from safetensors.numpy import save\n",
        "language/sentiment_training.py": "import pytest\n",
        "vision/recognition.py": "import yaml\n",
        "encoders/text.py": "import pandas\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    names = [line.split("==")[0] for line in requirements(tmp_path, "sentiment")]
    assert names == ["mlflow", "numpy", "pandas", "safetensors"]
    assert third_party(tmp_path / "bundle.py") == {"numpy"}


def test_weights_from_a_hub_and_lexicons_are_named(tmp_path: Path) -> None:
    notes = {"text": {"encoder": "hub:some/encoder"}, "image": {"encoder": "pixels"}}
    for name, note in notes.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "source.json").write_text(json.dumps(note))
    found = encoders([tmp_path / name for name in notes])
    assert found == [("some/encoder", "see https://huggingface.co/some/encoder")]
    (lexicon,) = lexicons(["pipelines/packaged/lexicons.py", "data/split/sentiment"])
    assert "vaderSentiment" in lexicon[0] and "MIT" in lexicon[1]
    assert lexicons(["pipelines/tables.py"]) == []

"""The benchmark door: plain files, and what the command line does for every verb."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import benchmark
from pipelines.door import Asked, File, Option, Verb, files
from pipelines.harness import BadConfig, BadData
from tests.conftest import TOY_PARAMS

IDS = {"id": pa.string()}


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    return path


def test_csv_keeps_leading_zeros_and_empty_cells(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,name,price\n007,"one, two",1.5\n008,,\n', "utf-8-sig")
    table = files.read(path, IDS, {"price": pa.float64()})
    assert table.to_pylist() == [
        {"id": "007", "name": "one, two", "price": 1.5},
        {"id": "008", "name": "", "price": None},
    ]


def test_lines_take_objects_and_mixed_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"id": 7, "values": {"a": ["b"]}}\n\n{"id": "x", "n": 1}\n')
    assert files.read(path, IDS).to_pylist() == [
        {"id": "7", "values": '{"a": ["b"]}', "n": None},
        {"id": "x", "values": None, "n": 1},
    ]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "key\n1\n", "column 'id' is missing; the file has: key"),
        ("a.csv", "id,n\n1,2\n3,four\n", "column n, row 2: 'four' is no double"),
        ("a.jsonl", '{"id": 1}\nnonsense\n', "row 2: this is no JSON"),
        ("a.jsonl", '{"id": 1}\n[1]\n', "row 2: a JSON object is needed"),
        ("a.jsonl", '{"id": 1}\n{"n": 1}\n', "column id, row 2: there is no value"),
    ],
)
def test_a_fault_is_told_with_file_column_and_row(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    with pytest.raises(BadData) as caught:
        files.read(write(tmp_path / name, text), IDS, {"n": pa.float64()})
    assert str(tmp_path / name) in str(caught.value) and told in str(caught.value)


def test_unknown_suffix_and_absent_file(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="suffix"):
        files.read(tmp_path / "a.xlsx", IDS)
    with pytest.raises(BadData, match="no such file"):
        files.read(tmp_path / "a.csv", IDS)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    rows = pa.table({"id": ["1", "2", "3"], "score": [0.5, 1.5, 2.5]})
    path = tmp_path / "new" / f"a.{suffix}"
    assert files.write(path, rows.to_batches(max_chunksize=2)) == 3
    assert files.read(path, {"id": pa.string(), "score": pa.float64()}).equals(rows)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    def batches() -> Iterable[pa.RecordBatch]:
        yield pa.record_batch({"id": ["1"]})
        raise BadData("no more")

    with pytest.raises(BadData):
        files.write(tmp_path / "a.csv", batches())
    assert list(tmp_path.iterdir()) == []


def echo() -> Verb:
    """A verb that writes the ids that it was given, and how often."""

    def fit(asked: Asked) -> list[str]:
        return files.read(asked.files["train"], IDS)["id"].to_pylist()

    def predict(model: Any, asked: Asked) -> Iterable[pa.RecordBatch]:
        yield pa.record_batch({"id": model * asked.options["times"]})

    return Verb(
        summary="Say it again.",
        files=(File("train", "id: any text"), File("more-rows", "id", required=False)),
        writes="id",
        fit=fit,
        predict=predict,
        options=(Option("times", "how often", int, 1), Option("loud", "shout", bool, False)),
    )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(benchmark, "verbs", lambda: {"echo": echo()})
    profiles = TOY_PARAMS.replace("tiny: {toy", "default: {toy", 1).replace(
        "profile: tiny", "profile: default"
    )
    write(tmp_path / "params.yaml", profiles)
    return tmp_path


def test_the_last_line_is_the_figures(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, out = write(project / "a.csv", "id\n01\n02\n"), project / "out.parquet"
    words = ["echo", "--train", str(train), "--out", str(out), "--times", "2", "--threads", "1"]
    assert benchmark.main(words, project) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["rows"] == 4
    assert {"fit_seconds", "predict_seconds", "rows_per_second", "peak_memory_mb"} <= set(figures)
    assert pq.read_table(out)["id"].to_pylist() == ["01", "02", "01", "02"]


def test_a_fault_ends_with_its_class_and_no_output(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["echo", "--train", str(project / "none.csv"), "--out", str(project / "out.csv")]
    assert benchmark.main(words, project) == BadData.exit_code
    assert "none.csv" in capsys.readouterr().err
    assert not (project / "out.csv").exists()


def test_every_verb_tells_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(__file__).resolve().parents[2]
    for name, verb in benchmark.verbs().items():
        with pytest.raises(SystemExit) as caught:
            benchmark.parser(root).parse_args([name, "--help"])
        assert caught.value.code == 0
        told = " ".join(capsys.readouterr().out.split())
        for file in verb.files:
            assert f"--{file.flag}" in told and " ".join(file.columns.split())[:40] in told

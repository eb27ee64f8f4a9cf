"""The benchmark door: plain files, and what the command line does for every verb."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import benchmark
from pipelines.door import Asked, File, Option, Verb, files, json_lines, writing
from pipelines.harness import BadConfig, BadData
from tests.conftest import TOY_PARAMS

IDS = {"id": pa.string()}


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    """Signs from U+DC80 to U+DCFF are written as the bytes 80 to FF."""
    path.write_text(text, encoding=encoding, errors="surrogateescape")
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
        ("a.csv", "id,n\n1,2\n\n3\n", "row 2: 1 cells where the header has 2; fill in"),
        ("a.csv", 'id,n\n"1\n",2\n3,4,5\n', "row 2: 3 cells where the header has 2; quote"),
        ("a.csv", "id,n,n\n1,2,3\n", "two columns 'n'"),
        ("a.csv", "id,n\n1,2\nM\udcfcller,3\n", "column id, row 2: this is not UTF-8"),
        ("a.tsv", "id\tgr\udcf6\ufffde\n1\t2\n", "header, column 2: this is not UTF-8"),
        (
            "a.jsonl",
            '{"id": 1}\n{"n": 1, "id": "M\udcfcller"}\n',
            "column id, row 2: this is not UTF-8",
        ),
        ("a.jsonl", '{"id": 1}\n{"id": [1]}\n', "column id, row 2: a list, but row 1 has a number"),
        ("a.jsonl", '{"id": 1}\n{"id": true}\n', "column id, row 2: true or false, but row 1"),
        ("a.jsonl", '{"id": [1]}\n{"id": ["a"]}\n', "column id, row 2: ['a'] does not go with"),
        ("a.jsonl", '{"id": 1}\n{"id": 99999999999999999999}\n', "column id, row 2: 9999"),
        ("a.jsonl", '{"id": "a", "n": 1}\n{"id": "b", "n": "two"}\n', "column n, row 2: 'two'"),
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
    assert writing.write(path, rows.to_batches(max_chunksize=2)) == 3
    assert files.read(path, {"id": pa.string(), "score": pa.float64()}).equals(rows)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def whole(rows: int) -> pa.RecordBatch:
    """Cells of every make that a verb writes."""
    topk = [{"label": "r\u00f6t", "probability": 0.75}, {"label": 'a "b", c', "probability": 0.25}]
    cells = {"id": "01", "topk": topk, "pred": {"a": "x", "b": None}, "reviews": [7, 8], "n": None}
    types = {
        "id": pa.string(),
        "topk": pa.list_(pa.struct({"label": pa.string(), "probability": pa.float64()})),
        "pred": pa.struct({"a": pa.string(), "b": pa.string()}),
        "reviews": pa.list_(pa.int64()),
        "n": pa.int64(),
    }
    return pa.record_batch(
        {name: pa.array([cells[name]] * rows, kind) for name, kind in types.items()}
    )


def test_lists_and_structures_are_written_in_every_way(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv", "a.tsv", "a.parquet"):
        assert writing.write(tmp_path / name, [whole(2), whole(1)]) == 3
    row = {"id": "01", "topk": [["r\u00f6t", 0.75], ['a "b", c', 0.25]]}
    row |= {"pred": {"a": "x"}, "reviews": [7, 8]}
    line = json.dumps(row, ensure_ascii=False) + "\n"
    assert (tmp_path / "a.jsonl").read_text("utf-8") == 3 * line
    for name, sign in (("a.csv", ","), ("a.tsv", "\t")):
        with (tmp_path / name).open(encoding="utf-8", newline="") as file:
            first, *others = csv.DictReader(file, delimiter=sign)
        assert len(others) == 2 and first["id"] == "01" and first["n"] == ""
        assert {key: json.loads(first[key]) for key in ("topk", "pred", "reviews")} == {
            key: row[key] for key in ("topk", "pred", "reviews")
        }
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == whole(3).to_pylist()


def test_no_row_is_a_file_with_the_columns(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        assert writing.write(tmp_path / name, [whole(0)]) == 0
    assert (tmp_path / "a.jsonl").read_text() == ""
    assert (tmp_path / "a.csv").read_text() == '"id","topk","pred","reviews","n"\n'
    assert pq.read_table(tmp_path / "a.parquet").schema == whole(0).schema


def test_lines_without_a_row_have_the_asked_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", "\n")
    table = files.read(path, {"id": None, "n": pa.int64()}, present=["text"])
    assert table.schema == pa.schema({"id": pa.string(), "n": pa.int64(), "text": pa.string()})


def test_what_a_block_of_lines_holds_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later row decides what a column is: texts, numbers with a point, JSON."""
    rows = [
        {"id": 1, "n": 1, "l": []},
        {"id": 2.5, "n": None, "new": True},
        {"id": "x", "n": 0.5, "l": ["a"]},
        {"id": None, "o": "text"},
        {"id": 3, "o": {"a": [1]}, "n": 2},
    ]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    at_once = json_lines.read(path)
    monkeypatch.setattr(json_lines, "BLOCK", 1)
    assert json_lines.read(path).combine_chunks().equals(at_once.combine_chunks())
    found = at_once.to_pydict()
    assert found["id"] == ["1", "2.5", "x", None, "3"]
    assert found["n"] == [1.0, None, 0.5, None, 2.0]
    assert found["l"] == [[], None, ["a"], None, None]
    assert found["o"] == [None, None, None, '"text"', '{"a": [1]}']


def test_a_quoted_header_behind_a_byte_order_mark_keeps_leading_zeros(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", '"id","two\nlines"\n"007","1"\n', "utf-8-sig")
    assert files.read(path, IDS).to_pylist() == [{"id": "007", "two\nlines": "1"}]


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    def batches() -> Iterable[pa.RecordBatch]:
        yield pa.record_batch({"id": ["1"]})
        raise BadData("no more")

    with pytest.raises(BadData):
        writing.write(tmp_path / "a.csv", batches())
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


@pytest.mark.parametrize(
    ("out", "train", "told"),
    [
        ("out.xlsx", "id\n1\n", "suffix"),
        ("folder.csv", "id\n1\n", "this is a folder"),
        ("a.csv/out.csv", "id\n1\n", "it can't be written"),
    ],
)
def test_what_can_not_be_written_is_refused_before_the_fit(
    project: Path, capsys: pytest.CaptureFixture[str], out: str, train: str, told: str
) -> None:
    (project / "folder.csv").mkdir()
    words = ["echo", "--train", str(write(project / "a.csv", train)), "--out", str(project / out)]
    assert benchmark.main(words, project) == BadConfig.exit_code
    assert told in capsys.readouterr().err


def test_every_verb_tells_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(__file__).resolve().parents[2]
    for name, verb in benchmark.verbs().items():
        with pytest.raises(SystemExit) as caught:
            benchmark.parser(root).parse_args([name, "--help"])
        assert caught.value.code == 0
        told = " ".join(capsys.readouterr().out.split())
        for file in verb.files:
            assert f"--{file.flag}" in told and " ".join(file.columns.split())[:40] in told

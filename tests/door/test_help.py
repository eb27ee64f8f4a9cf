"""The door, driven by a script that knows its help text and nothing else."""

import csv
import functools
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines import benchmark
from tests.conftest import REPOSITORY

VERBS = ("recommend", "recognise", "attributes", "search", "read", "extract", "sentiment", "answer")
SHADES = ("red", "green", "blue")
ROWS = 24


@functools.cache
def told(*words: str) -> str:
    """What the command says of itself."""
    call = [sys.executable, "-m", "pipelines.benchmark", *words, "--help"]
    done = subprocess.run(call, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return done.stdout


def options(verb: str) -> dict[str, tuple[bool, bool, str]]:
    """Flag to whether it must be given, whether it takes a file, and what is said of it."""
    usage, _, rest = told(verb).partition("\n\n")
    found = {}
    for entry in re.split(r"\n  (?=--)", rest)[1:]:
        flag, value, text = re.match(r"--(\S+)(?: (\S+))?(.*)", entry, re.DOTALL).groups()
        needed = not re.search(rf"\[--{flag}\b", usage)
        found[flag] = (needed, value == "FILE", " ".join(text.split()))
    return found


def names(text: str) -> tuple[list[str], list[str]]:
    """The columns that must be there, and those that may be, in a help text."""
    while text != (text := re.sub(r"\([^()]*\)|\{[^{}]*\}", "", text)):
        pass
    parts = (
        re.split(r"[:;.]", re.sub(r"\[[^][]*\]", "", text))[0],
        ", ".join(re.findall(r"\[([^][:]*)", text)),
    )
    words = [re.split(r"\s*(?:,| or | and )\s*", part.strip()) for part in parts]
    must, may = ([word for word in part if re.fullmatch(r"<?[a-z_]+>?", word)] for part in words)
    return must, may


def cells(folder: Path) -> dict[str, Callable[[int], Any]]:
    """What a column of a name holds, row by row."""
    word = {0: "awful", 1: "great"}

    def picture(at: int) -> str:
        path = folder / f"{at}.png"
        if not path.exists():
            Image.new("RGB", (40, 32), SHADES[at % 3]).save(path)
        return path.name

    return {
        "id": lambda at: f"{at:03d}",
        "path": picture,
        "title": lambda at: f"{SHADES[at % 3]} mug of {at} ml",
        "<field>": lambda at: SHADES[at % 3],
        "<fields>": lambda at: SHADES[at % 3] if at % 4 else "",
        "category": lambda at: "mugs",
        "fields": lambda at: ["colour"],
        "values": lambda at: {"colour": [SHADES[at % 3]]},
        "text": lambda at: f"the sound is {word[at % 2]}, I say {at} times",
        "label": lambda at: word[at % 2],
        "aspect": lambda at: word[at % 2],
        "answer": lambda at: word[at % 2],
        "start": lambda at: 13,
        "end": lambda at: 18,
        "question": lambda at: f"how is the sound of number {at}?",
        "review_id": lambda at: f"r{at}",
        "item": lambda at: f"i{at % 7}",
        "user": lambda at: f"u{at % 9}",
        "ts": lambda at: f"2024-03-{1 + at % 28:02d}T10:00:00",
        "pos": lambda at: at,
        "event": lambda at: ("view", "purchase")[at % 2],
        "value": lambda at: 1.0,
        "price": lambda at: 2.5,
    }


def make(path: Path, columns: list[str], rows: list[int]) -> Path:
    """A file of these columns by its suffix."""
    of = cells(path.parent)
    table = {name: [of[name](at) for at in rows] for name in columns}
    frame = pd.DataFrame({name.strip("<>"): column for name, column in table.items()})
    if path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True, force_ascii=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        spell = {"fields": ",".join, "values": json.dumps}
        for name in spell.keys() & set(frame.columns):
            frame[name] = frame[name].map(spell[name])
        frame.to_csv(path, index=False)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    text = path.read_text("utf-8")
    if path.suffix == ".csv":
        return list(csv.DictReader(text.splitlines()))
    return [json.loads(line) for line in text.splitlines()]


def call(
    folder: Path, verb: str, suffix: str, asked: list[int], every: bool
) -> tuple[Path, list[str]]:
    """Where it writes, and the words of a call with a file for each flag (every: for those too that may be left out).

    Rows `asked` are asked for.
    """
    out = folder / f"out.{suffix}"
    words = [verb, "--out", str(out), "--profile", "tiny", "--threads", "1"]
    files = {
        flag: text
        for flag, (needed, file, text) in options(verb).items()
        if file and flag != "out" and (needed or every)
    }
    for flag, text in files.items():
        must, may = names(files["train"] if text.startswith("as train") else text)
        rows = asked if flag in ("test", "queries", "users") else list(range(ROWS))
        path = make(folder / f"{flag}.{suffix}", [*must, *may], rows)
        words += [f"--{flag}", str(path)]
    for flag, (needed, file, _) in options(verb).items():
        if needed and not file:
            words += [f"--{flag}", flag]
    return out, words


def test_the_help_names_every_verb() -> None:
    assert set(re.findall(r"^    ([a-z]+)\b", told(), re.MULTILINE)) == set(VERBS)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
@pytest.mark.parametrize("verb", VERBS)
def test_the_help_is_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, suffix: str
) -> None:
    # To read a picture takes a second.
    asked = [17, 3] if verb == "read" else [17, 3, 9, 11, 0, 8, 5]
    # To learn from answers takes ten.
    every = verb != "answer" or suffix == "csv"
    out, words = call(tmp_path, verb, suffix, asked, every)
    assert benchmark.main(words, REPOSITORY) == 0, capsys.readouterr().err
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    rows = read(out)
    assert figures["rows"] == len(rows)
    written, _ = names(re.search(r"^writes: (.*)", told(verb), re.MULTILINE)[1])
    for row in rows:
        assert list(row) == [name for name in written if name in row]
        assert set(written) <= set(row) or suffix == "jsonl"
    of = cells(tmp_path)
    if verb == "recommend":
        users = list(dict.fromkeys([*map(of["user"], asked), *map(of["user"], range(ROWS))]))
        assert list(dict.fromkeys(row["user"] for row in rows)) == users
        ranks = [int(row["rank"]) for row in rows]
        starts = [at for at, rank in enumerate(ranks) if rank == 1]
        assert len(starts) == len(users)
        assert all(after == before + 1 or after == 1 for before, after in itertools.pairwise(ranks))
    else:
        assert [row["id"] for row in rows] == [of["id"](at) for at in asked]


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "recommend"])
def test_no_asked_row_is_a_file_with_the_columns(tmp_path: Path, verb: str) -> None:
    out, words = call(tmp_path, verb, "parquet", [], every=False)
    assert benchmark.main(words, REPOSITORY) == 0
    written, _ = names(re.search(r"^writes: (.*)", told(verb), re.MULTILINE)[1])
    table = pq.read_table(out)
    assert table.column_names == written and len(table) == 0

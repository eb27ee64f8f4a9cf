"""Frozen test rows and the scores on them: what a promotion is decided on, with the hashes that hold it together.

`evaluate` writes them and `promote` reads them. A table of scores names the bundle and the rows that it was made
with, so that figures of another model or of other rows are never taken for these.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.bundle import sha256
from pipelines.harness import BadData, Bug

SEAL = "hash.json"
ROW, SCORE, SLICE, SIDE, ALSO = "row_id", "score", "slice_", "side_", "also_"
"""`slice_<name>`: the group of a row. `side_<name>`: a figure of a row beside its score, higher is better, which promotion
guards. `also_<name>`: one that is told, and guards nothing."""
PREFIX = "vitrine."


@dataclass(frozen=True)
class Seal:
    """The identity of frozen rows: the hash over all their files, and the part of the split that they are."""

    rows: str
    part: str


@dataclass(frozen=True)
class Learned:
    """What holds the rows apart from those that the model was fitted on.

    shared: how many of those have the key of a frozen row. newest: the latest of them, test_from: when the frozen rows
    begin, both ISO 8601 in UTC, or "" where rows have no time. fitted: hash of the rows that it was fitted and chosen on.
    """

    shared: int
    newest: str
    test_from: str
    fitted: str = ""

    @property
    def apart(self) -> bool:
        """Whether none is shared and none is of the time of the test."""
        if self.newest and self.test_from:
            late = pd.Timestamp(self.newest) >= pd.Timestamp(self.test_from)
        else:
            late = bool(self.newest) != bool(self.test_from)
        return self.shared == 0 and not late

    def __str__(self) -> str:
        """As a guard tells it."""
        told = f"{self.shared} of the training rows are test rows"
        if self.newest or self.test_from:
            told += f"; the newest is of {self.newest[:16]}, the test begins {self.test_from[:16]}"
        return told


@dataclass(frozen=True)
class Scores:
    """A table of scores and what it was made with.

    table: `row_id`, `score`, `slice_*`, `side_*`, one column a baseline, and what else `Capability.score` gave (`prediction`,
    `truth`…: for reports), sorted by `row_id`. baselines: names of their columns. bundle: the manifest hash of
    the model. seal: the rows. learned: what keeps them apart from training. metric: what the mean of `score` is called.
    digest: hash of the file itself.
    """

    table: pd.DataFrame
    bundle: str
    seal: Seal
    learned: Learned
    metric: str
    digest: str
    baselines: tuple[str, ...]

    def best_baseline(self) -> str:
        """The baseline with the highest mean; the first by name among equals."""
        means = {name: float(self.table[name].mean()) for name in sorted(self.baselines)}
        return max(means, key=lambda name: means[name])


def cut_dates(split: Path) -> dict[str, str]:
    """The times at which the split was cut, where it was cut by time."""
    path = split / "cut.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def row_dates(split: Path, time: str | None) -> dict[str, str]:
    """From when to when the rows of each part are, by their column `time`, where they have it."""
    found = {}
    for path in (split / f"{part}.parquet" for part in ("train", "valid", "test")):
        if time is None or time not in pq.read_schema(path).names:
            return {"rows": "have no time"}
        ends = pc.min_max(pq.read_table(path, columns=[time])[0]).as_py()
        if ends["min"] is not None:
            found[f"rows of {path.stem}"] = f"{ends['min']:%Y-%m-%d} to {ends['max']:%Y-%m-%d}"
    return found or {"rows": "have no time"}


def rows_hash(rows: Path) -> str:
    """Hash over the names and bytes of all files under `rows`, the seal itself left out."""
    digest = hashlib.sha256()
    for path in sorted(rows.rglob("*")):
        if path.is_file() and path != rows / SEAL:
            digest.update(f"{path.relative_to(rows).as_posix()} {sha256(path)}\n".encode())
    return digest.hexdigest()


def seal(rows: Path, part: str) -> Seal:
    """Write the seal of the folder `rows`, frozen from `part`, and return it."""
    made = Seal(rows_hash(rows), part)
    text = json.dumps({"part": made.part, "rows": made.rows}, indent=1, sort_keys=True)
    (rows / SEAL).write_text(text + "\n", encoding="utf-8")
    return made


def check_seal(rows: Path) -> Seal:
    """The seal of `rows`, held against the files. Raises `BadData` where they are not what it says."""
    path = rows / SEAL
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        told = Seal(note["rows"], note["part"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData(f"{path} can't be read ({error}): run `dvc repro` for its stage") from None
    found = rows_hash(rows)
    if found != told.rows:
        raise BadData(
            f"{rows}: the frozen rows hash to {found[:12]}, their seal says {told.rows[:12]}: "
            "they were changed after they were frozen; run `dvc repro` for their stage"
        )
    return told


def check_scores(table: pd.DataFrame, who: str) -> pd.DataFrame:
    """The table sorted by `row_id`. Raises `Bug` where a column is absent, a row comes twice or a score is no number."""
    absent = {ROW, SCORE} - set(table.columns)
    if absent:
        raise Bug(f"{who}: the table of scores lacks {', '.join(sorted(absent))}")
    if len(table) == 0:
        raise BadData(f"{who}: no rows to score; the split's part is empty")
    repeated = table[ROW][table[ROW].duplicated()]
    if len(repeated):
        raise Bug(f"{who}: row {repeated.iloc[0]!r} was scored twice")
    broken = table[ROW][~np.isfinite(table[SCORE].to_numpy(dtype=float))]
    if len(broken):
        raise Bug(
            f"{who}: the score of row {broken.iloc[0]!r} is not a number ({len(broken)} rows)"
        )
    return table.sort_values(ROW, kind="stable").reset_index(drop=True)


def write_scores(
    path: Path,
    table: pd.DataFrame,
    baselines: Mapping[str, np.ndarray],
    *,
    bundle: str,
    seal: Seal,
    learned: Learned,
    metric: str,
) -> pd.DataFrame:
    """Write `table` (as `Capability.score` gives it) with one column a baseline, and return what was written.

    baselines: name to scores (n,) in the order of `table`. Raises `Bug` where one has another length, a taken name,
    or a value that is no number.
    """
    wide = table.copy()
    for name in sorted(baselines):
        values = np.asarray(baselines[name], dtype=np.float64)
        if name in wide.columns or name.startswith((SLICE, SIDE, ALSO)):
            raise Bug(f"the baseline {name!r} has the name of a column of the scores")
        if values.shape != (len(wide),):
            raise Bug(f"the baseline {name!r} has shape {values.shape}, the rows are {len(wide)}")
        if not np.isfinite(values).all():
            raise Bug(f"the baseline {name!r} has a score that is not a number")
        wide[name] = values
    wide = check_scores(wide, metric)
    slices = sorted(column for column in wide.columns if column.startswith(SLICE))
    columns = {
        ROW: pa.array(wide[ROW].astype(str).tolist(), pa.string()),
        SCORE: pa.array(wide[SCORE].to_numpy(dtype=np.float64)),
        **{name: pa.array(wide[name].astype(str).tolist(), pa.string()) for name in slices},
        **{name: pa.array(wide[name].to_numpy()) for name in sorted(baselines)},
    }
    more = [name for name in sorted(wide.columns) if name not in columns]
    columns.update({name: pa.Array.from_pandas(wide[name]) for name in more})
    names = json.dumps(sorted(baselines), ensure_ascii=False)
    notes = {
        "bundle": bundle,
        "rows": seal.rows,
        "part": seal.part,
        "learned": json.dumps(asdict(learned), sort_keys=True),
        "metric": metric,
        "baselines": names,
    }
    metadata = {f"{PREFIX}{key}": value for key, value in notes.items()}
    written = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(written, path)
    return written.to_pandas()


def read_scores(path: Path) -> Scores:
    """Read what `write_scores` wrote. Raises `BadData` where the file does not say what it was made with."""
    table = pq.read_table(path)
    notes = {
        key.decode().removeprefix(PREFIX): value.decode()
        for key, value in (table.schema.metadata or {}).items()
    }
    absent = {"bundle", "rows", "part", "learned", "metric", "baselines"} - set(notes)
    if absent:
        raise BadData(f"{path} does not name its {', '.join(sorted(absent))}: run its stage again")
    return Scores(
        table=table.replace_schema_metadata(None).to_pandas(),
        bundle=notes["bundle"],
        seal=Seal(notes["rows"], notes["part"]),
        learned=Learned(**json.loads(notes["learned"])),
        metric=notes["metric"],
        digest=sha256(path),
        baselines=tuple(json.loads(notes["baselines"])),
    )

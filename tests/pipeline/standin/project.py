"""A project of the tests' own: this code with a stand-in model, a split made here, a registry of its own."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.bundle import Bundle, save
from pipelines.training.judging import fitted_rows

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
ROWS = 300


class Project:
    """A copy of the code under `root`, whose capability `sentiment` is the stand-in, run by the `python` in `warm`."""

    def __init__(self, root: Path, warm: Path) -> None:
        self.root, self.warm = root, warm
        root.mkdir(parents=True, exist_ok=True)
        for name in ("pipelines", "models"):
            shutil.copytree(
                REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        for name in ("dvc.yaml", "params.yaml"):
            shutil.copy(REPOSITORY / name, root / name)
        (root / "models" / "language").mkdir(exist_ok=True)
        shutil.copy(HERE / "model.py", root / "models" / "language" / "sentiment.py")
        shutil.copy(HERE / "capability.py", root / "pipelines" / "capabilities" / "sentiment.py")
        self.choose(profile="tiny", promotion="automatic")
        encoder = root / "data" / "ingest-encoders" / "text"
        encoder.mkdir(parents=True)
        note = {"encoder": "package", "package": "an encoder 6", "licence": "CC0"}
        (encoder / "source.json").write_text(json.dumps(note))
        split = root / "data" / "split" / "sentiment"
        split.mkdir(parents=True)
        table = pa.table(
            {
                "review_id": [f"r{at:04d}" for at in range(ROWS)],
                "text": [str(at) for at in range(ROWS)],
                "language": ["zh" if at % 3 == 0 else "en" for at in range(ROWS)],
            }
        ).replace_schema_metadata({"vitrine.source": "a test", "vitrine.licence": "CC0"})
        pq.write_table(table, split / "test.parquet")
        for part in ("train", "valid"):
            pq.write_table(pa.table({"review_id": [part]}), split / f"{part}.parquet")

    def see(self) -> None:
        """Give the test rows their text as bytes, too: what the model is asked with then."""
        path = self.root / "data" / "split" / "sentiment" / "test.parquet"
        table = pq.read_table(path)
        contents = [text.encode() for text in table["text"].to_pylist()]
        pq.write_table(table.append_column("bytes", pa.array(contents, pa.binary())), path)

    def choose(self, **choices: str) -> None:
        """Set `profile` or `promotion` at the top of `params.yaml`."""
        path = self.root / "params.yaml"
        lines = path.read_text().splitlines()
        for key, value in choices.items():
            lines = [f"{key}: {value}" if line.startswith(f"{key}:") else line for line in lines]
        path.write_text("\n".join(lines) + "\n")

    def train(self, right: np.ndarray) -> str:
        """Put a bundle in place that answers the rows `right` (n,) rightly; returns its manifest hash."""
        folder = self.root / "data" / "sentiment" / "bundle"
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(exist_ok=True)
        fitted = fitted_rows(self.root / "data" / "split" / "sentiment")
        (folder.parent / "metrics.json").write_text(json.dumps({"fitted": fitted}))
        return save(Bundle("sentiment", tensors={"good": right.astype(np.int8)}), folder)

    def python(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`python -m words…` in the project."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
        kept["PYTHONDONTWRITEBYTECODE"] = "1"
        done = subprocess.run(
            [self.warm / "python", "-m", *words],
            cwd=self.root,
            env=kept,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def stage(self, name: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a stage of the stand-in."""
        return self.python(f"pipelines.{name}", "sentiment", check=check)

    def receipt(self) -> bytes:
        return (self.root / "data" / "promote" / "sentiment" / "receipt.json").read_bytes()

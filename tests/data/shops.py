"""A small shop of canonical tables, and the folder of a project to run stages on it in this process."""

import datetime
import io
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from pipelines.harness.stage import Stage
from tests.conftest import REPOSITORY

START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
DAYS = 60
SIZES = {
    "valid_days": 14,
    "test_days": 14,
    "fewest": 2,
    "shares": dict.fromkeys(("recognition", "attributes", "sentiment", "answers"), [0.2, 0.3]),
    "max_eval_rows": 1000,
    "attributes": ["department", "category", "brand"],
    "picture_attribute": "type",
}
"""How the split of a small shop is told to cut."""
INPUTS = {
    "products": "ingest-shop",
    "users": "ingest-shop",
    "interactions": "ingest-shop",
    "images": "ingest-pictures",
    "reviews": "ingest-reviews",
    "questions": "ingest-reviews",
}


def picture(shade: int) -> bytes:
    """A grey PNG of 6 x 6 pixels."""
    buffer = io.BytesIO()
    Image.new("L", (6, 6), shade).save(buffer, "PNG")
    return buffer.getvalue()


def tables() -> dict[str, pa.Table]:
    """All canonical tables of a valid shop, each row different."""
    draw = np.random.default_rng(3)
    events, products, users, images, reviews = 400, 60, 20, 60, 120
    seconds = np.sort(draw.choice(DAYS * 86400, events, replace=False))
    answered = [at % 3 != 0 for at in range(30)]
    return {
        "products": pa.table(
            {
                "item_id": [f"p{at:03}" for at in range(products)],
                "title": [f"Fine product {at // 2}" for at in range(products)],
                "category": [f"kind {at % 4}" for at in range(products)],
                "brand": [None if at % 5 == 0 else f"brand {at % 3}" for at in range(products)],
                "price": [1.0 + at for at in range(products)],
                "department": [f"floor {at % 2}" for at in range(products)],
            }
        ),
        "users": pa.table(
            {"user_id": [f"u{at:02}" for at in range(users)], "age": ["19-24"] * users}
        ),
        "interactions": pa.table(
            {
                "user_id": [f"u{at:02}" for at in draw.integers(0, users, events)],
                "item_id": [f"p{at:03}" for at in draw.integers(0, products, events)],
                "timestamp": pa.array(
                    [START + datetime.timedelta(seconds=int(at)) for at in seconds],
                    pa.timestamp("us", "UTC"),
                ),
                "event": ["purchase"] * events,
                "value": draw.integers(1, 5, events).astype(float),
            }
        ),
        "images": pa.table(
            {
                "image_key": [f"i{at:03}" for at in range(images)],
                "bytes": pa.array([picture(at) for at in range(images)], pa.binary()),
                "label": ["shoe" if at % 2 else "hat" for at in range(images)],
            }
        ),
        "reviews": pa.table(
            {
                "review_id": [f"r{at:03}" for at in range(reviews)],
                "text": [f"Sentence number {at} is long enough." for at in range(reviews)],
                "item_id": [f"p{at % 5:03}" for at in range(reviews)],
                "language": ["zh" if at % 4 == 0 else "en" for at in range(reviews)],
                "label": ["positive" if at % 2 else "negative" for at in range(reviews)],
                "group_id": [f"r{at // 4 * 4:03}" for at in range(reviews)],
            }
        ),
        "questions": pa.table(
            {
                "question_id": [f"q{at:02}" for at in range(30)],
                "item_id": [f"p{at % 5:03}" for at in range(30)],
                "question": [f"Does it do trick {at}?" for at in range(30)],
                "review_id": [f"r{at:03}" if there else None for at, there in enumerate(answered)],
                "start": pa.array([0 if there else None for there in answered], pa.int64()),
                "end": pa.array([8 if there else None for there in answered], pa.int64()),
            }
        ),
    }


def changed(table: pa.Table, column: str, cells: dict[int, object]) -> pa.Table:
    """`table` with some cells of a column replaced: row to value."""
    values = table.column(column).to_pylist()
    for row, value in cells.items():
        values[row] = value
    at = table.column_names.index(column)
    return table.set_column(at, column, pa.array(values, table.schema.field(column).type))


@dataclass(frozen=True)
class Shop:
    """A project's folder with the product's own graph and parameters, profile tiny."""

    root: Path

    def put(self, name: str, table: pa.Table, stage: str, file: str | None = None) -> None:
        path = self.root / "data" / stage / (file or f"{name}.parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        note = {"vitrine.source": f"made {name}", "vitrine.licence": "CC0-1.0"}
        pq.write_table(table.replace_schema_metadata(note), path)

    def ingested(self, name: str, table: pa.Table) -> None:
        """Put a table where ingest leaves it."""
        self.put(name, table, INPUTS[name])

    def validated(self, name: str, table: pa.Table) -> None:
        """Put a table where the gate leaves it."""
        self.put(name, table, f"validate-{name}", "table.parquet")

    def set(self, section: str, **values: object) -> None:
        path = self.root / "params.yaml"
        document = yaml.safe_load(path.read_text())
        own = document["profiles"][document["profile"]].setdefault(section, {})
        for key, value in values.items():
            document[section].pop(key, None)
            own[key] = value
        path.write_text(yaml.safe_dump(document))

    def run(self, stage: Stage, instance: str | None = None) -> int:
        return stage.run(instance, self.root)

    def read(self, path: str) -> pa.Table:
        return pq.read_table(self.root / "data" / path)

    def bytes_of(self, folder: str) -> dict[str, bytes]:
        """Every file under a folder of `data/`, by its path in it."""
        top = self.root / "data" / folder
        return {
            path.relative_to(top).as_posix(): path.read_bytes()
            for path in sorted(top.rglob("*"))
            if path.is_file()
        }


def make_shop(root: Path, database: Path) -> Shop:
    """A project in `root` with no data. database: a migrated MLflow database to copy."""
    root.mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(REPOSITORY / name, root / name)
    path = root / "params.yaml"
    document = yaml.safe_load(path.read_text())
    document["profile"] = "tiny"
    path.write_text(yaml.safe_dump(document))
    target = root / ".vitrine" / "mlflow" / "mlflow.db"
    target.parent.mkdir(parents=True)
    target.write_bytes(database.read_bytes())
    return Shop(root)

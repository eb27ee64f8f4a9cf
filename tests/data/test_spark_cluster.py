"""A master and a worker of Spark on loopback: split runs on them as it does on DuckDB."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.engine import spark_session
from pipelines.harness import MissingResource
from pipelines.ingest_pictures import ingest_pictures
from pipelines.ingest_reviews import ingest_reviews
from pipelines.ingest_reviews_zh import ingest_reviews_zh
from pipelines.services import spark
from pipelines.split import split
from pipelines.validate import validate
from tests.conftest import REPOSITORY
from tests.data.shops import SIZES, make_shop, tables

SETTINGS = {"spark.sql.shuffle.partitions": "2", "spark.cores.max": "1"}


def test_split_runs_on_a_master_with_a_worker(tmp_path: Path, migrated_database: Path) -> None:
    try:
        spark_session.check()
    except MissingResource as reason:
        pytest.skip(str(reason))
    shop = make_shop(tmp_path / "shop", migrated_database)
    shop.set("split", **SIZES)
    for offer in ("pictures", "reviews", "reviews-zh"):
        shop.set(f"ingest-{offer}", source="none")
    for name in ("interactions", "products", "users"):
        shop.validated(name, tables()[name])
    for stage in (ingest_pictures, ingest_reviews, ingest_reviews_zh):
        assert shop.run(stage) == 0
    for name in ("images", "reviews", "questions"):
        assert shop.run(validate, name) == 0
    assert shop.run(split) == 0
    before = shop.bytes_of("split")
    try:
        master = spark.up(shop.root)
        assert spark.up(shop.root) == master
        path = shop.root / "params.yaml"
        document = yaml.safe_load(path.read_text())
        document["tables"] = {"engine": "spark", "master": master, "settings": SETTINGS}
        document["split"]["memory_gb"] = 1.0
        path.write_text(yaml.safe_dump(document))
        words = [sys.executable, "-m", "pipelines.split"]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        subprocess.run(words, cwd=shop.root, env=environment, check=True)
        executors = list((shop.root / ".vitrine" / "spark").glob("app-*/*"))
    finally:
        assert spark.down(shop.root) == [spark.WORKER, spark.MASTER]
    assert executors, "nothing ran on the worker"
    assert shop.bytes_of("split") == before

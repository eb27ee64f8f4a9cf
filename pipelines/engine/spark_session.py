"""One session of Spark: on this machine, or on a cluster by the URL of its master."""

import contextlib
import importlib.util
import os
import shutil
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pipelines.harness import MissingResource
from pipelines.harness.params import Tables

CURE = "`make spark-packages` installs it"
LOOPBACK = ("127.0.0.1", "localhost")
LEAST_MB = 768
"""Spark refuses to start with less."""
SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    # A cell that can't be read fails, and names that differ in their case alone are two, as on DuckDB.
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}
"""Properties without which results would differ, or which keep Spark quiet."""


@contextlib.contextmanager
def session(tables: Tables, threads: int, memory_gb: float) -> Iterator[Any]:
    """A session of its own: in the context that this process has already, else in one that ends with it.

    Raises `MissingResource` where PySpark or Java is absent, or no master answers.
    """
    check()
    with warnings.catch_warnings():
        # It works with the pandas of this project, of which only the edges are used here.
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")
        from pyspark.sql import SparkSession

        running = SparkSession.getActiveSession()
        if running is not None:
            yield running.newSession()
            return
        told = properties(tables, threads, memory_gb)
        builder = SparkSession.builder.appName("vitrine").config(map=told)
        if "spark.driver.bindAddress" in told:
            os.environ.setdefault("SPARK_LOCAL_IP", LOOPBACK[0])
        try:
            spark = builder.getOrCreate()
        except Exception as error:
            raise MissingResource(
                f"Spark does not start at the master {tables.master!r} (tables.master in params.yaml): {error}"
            ) from error
        try:
            yield spark
        finally:
            _end(spark)


def _end(spark: Any) -> None:
    """Stop a session and wait for its machine of Java, so that its time and memory are counted as this process'."""
    from pyspark import SparkContext

    gateway = spark.sparkContext._gateway
    spark.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()
    SparkContext._gateway = SparkContext._jvm = None


def check() -> None:
    """Raise `MissingResource` where PySpark is not installed, or there is no Java that it could run on."""
    if importlib.util.find_spec("pyspark") is None:
        raise MissingResource(f"tables.engine is spark, and PySpark is not installed: {CURE}")
    home = os.environ.get("JAVA_HOME")
    if not (home and os.path.exists(f"{home}/bin/java")) and shutil.which("java") is None:
        raise MissingResource(
            "tables.engine is spark, and there is no Java: install Java 17 or later, or name its folder in JAVA_HOME"
        )


def properties(tables: Tables, threads: int, memory_gb: float) -> dict[str, str]:
    """What Spark is told, by its own names; `tables.settings` have the last word.

    >>> properties(Tables(engine="spark"), 2, 2.0)["spark.master"]
    'local[2]'
    """
    megabytes = f"{max(int(memory_gb * 1024), LEAST_MB)}m"
    master = f"local[{threads}]" if tables.master == "local" else tables.master
    found = {
        **SETTINGS,
        "spark.master": master,
        "spark.driver.memory": megabytes,
        "spark.executor.memory": megabytes,
    }
    if master.startswith("local") or urlsplit(master).hostname in LOOPBACK:
        found |= {"spark.driver.host": LOOPBACK[0], "spark.driver.bindAddress": LOOPBACK[0]}
    return {**found, **tables.settings}

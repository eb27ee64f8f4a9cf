"""One session of Spark for all tests that compare engines; they are skipped where PySpark or Java is absent."""

from collections.abc import Iterator

import pytest

from pipelines.engine import spark_session
from pipelines.harness import MissingResource
from pipelines.harness.params import Tables

SPARK = Tables(
    engine="spark",
    # Small tables: no code is worth being compiled.
    settings={
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
    },
)


@pytest.fixture(scope="session")
def spark() -> Iterator[Tables]:
    """What `tables` in params.yaml says for the session that runs."""
    try:
        spark_session.check()
    except MissingResource as reason:
        pytest.skip(str(reason))
    with spark_session.session(SPARK, 1, 1.0):
        yield SPARK

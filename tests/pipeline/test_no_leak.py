"""What happened after the cut teaches nothing: other test rows, the same fitted artefacts."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipeline.shop import Shop

# In one worker: they look at the same shop, and some change it.
pytestmark = pytest.mark.xdist_group("tiny")

FITTED = (
    *("collaborative", "content", "hybrid", "recommender"),
    *("recognition", "attributes", "sentiment", "answers"),
)


def test_edited_and_added_test_rows_change_no_fitted_artefact(
    tiny_shop: Shop, tmp_path: Path
) -> None:
    shutil.copytree(tiny_shop.root, tmp_path / "shop", symlinks=True)
    shop = Shop(tmp_path / "shop", tiny_shop.warm)
    before = {name: value for name, value in shop.outputs().items() if name.startswith(FITTED)}
    for path in sorted((shop.root / "data" / "split").glob("*/test.parquet")):
        rows = pq.read_table(path)
        edited = rows.take(list(range(rows.num_rows))[::-1])
        path.unlink()
        pq.write_table(pa.concat_tables([edited.slice(1), rows]), path)
    for stage in FITTED:
        done = shop.run(f"pipelines.{stage}")
        assert done.returncode == 0, done.stdout[-3000:]
    after = {name: value for name, value in shop.outputs().items() if name.startswith(FITTED)}
    assert after == before

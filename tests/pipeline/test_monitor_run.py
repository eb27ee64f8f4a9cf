"""One look of a whole shop, as the daily DAG has it: a run in MLflow with its figures and its report."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.harness.tracking import EXPERIMENT, client
from pipelines.monitor import folder, monitor
from tests.conftest import REPOSITORY, own_store
from tests.unit.test_monitor import DAYS, ITEMS, NOW, USERS, lists, shop


@pytest.mark.parametrize("judged", [True, False])
def test_a_look_is_one_run_with_its_figures_and_its_report(
    tmp_path: Path, migrated_database: Path, judged: bool
) -> None:
    """What users did since the lists is among the figures where the lists are old enough."""
    state = own_store(tmp_path, migrated_database)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / "pipelines").symlink_to(REPOSITORY / "pipelines")
    place = tmp_path / "data/validate-interactions/table.parquet/2026.parquet"
    place.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pandas(shop(tmp_path).events, preserve_index=False), place)
    lists(tmp_path, "2026-02-10T00:00:00+00:00" if judged else NOW.isoformat(), ITEMS[:5])
    report = monitor(tmp_path)
    api = client(state)
    experiment = api.get_experiment_by_name(EXPERIMENT).experiment_id
    (run,) = api.search_runs([experiment], "tags.stage = 'monitor'")
    assert run.info.status == "FINISHED" and run.data.params["min_psi"] == "0.2"
    figures = run.data.metrics
    told = {f"{one['check']}/{one['what']}": one["value"] for one in report["findings"]}
    logged = {name: value for name, value in told.items() if value is not None}
    assert {"volume/events a week", "drift/interactions.price"} < set(logged)
    assert any(name.startswith("quality/lists of 2026-02-10") for name in logged) == judged
    for name, value in logged.items():
        plain = "".join(letter if letter not in "()'," else "_" for letter in name)
        assert figures[plain] == pytest.approx(value)
    assert figures["alarms"] == len(report["alarms"]) and figures["rows_in"] == USERS * DAYS // 2
    (kept,) = api.list_artifacts(run.info.run_id)
    assert kept.path == "newest.json"
    copy = Path(api.download_artifacts(run.info.run_id, kept.path, str(tmp_path)))
    assert json.loads(copy.read_text()) == json.loads((folder(state) / "newest.json").read_text())

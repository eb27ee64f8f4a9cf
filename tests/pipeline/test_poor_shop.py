"""A shop of events alone, by `dvc repro`: what needs more is off and says why, what does not is on."""

import re
from pathlib import Path

import pytest

from pipelines.harness.absent import OFF, absence
from pipelines.harness.graph import read_graph
from tests.pipeline.shop import Shop, make_shop
from tests.pipeline.test_absent_tables import is_on

pytestmark = pytest.mark.xdist_group("tiny")

SOURCES = {
    "ingest-shop": "made-events",
    "ingest-pictures": "none",
    "ingest-reviews": "none",
    "ingest-reviews-zh": "none",
}
PRESENT = frozenset({"interactions"})


@pytest.fixture(scope="module")
def poor_shop(tmp_path_factory: pytest.TempPathFactory, warm_python: Path) -> Shop:
    """The made shop without all tables but its events, after `dvc repro`."""
    shop = make_shop(tmp_path_factory.mktemp("poor") / "shop", "tiny", warm_python)
    path = shop.root / "params.yaml"
    text = path.read_text("utf-8")
    for stage, source in SOURCES.items():
        text = re.sub(rf"({stage}: {{source: )made\b", rf"\g<1>{source}", text, count=1)
    path.write_text(text, "utf-8")
    shop.repro(guarded=True)
    return shop


def test_just_what_needs_a_missing_table_is_off(poor_shop: Shop) -> None:
    graph = read_graph(poor_shop.root)
    for name, node in graph.nodes.items():
        record = poor_shop.record(name)
        assert record["status"] == ("done" if is_on(name, PRESENT) else OFF), (name, record)
        if record["status"] == OFF:
            assert record["why"]
            assert all(absence(poor_shop.root / out) for out in node.outs), name


def test_lists_are_made_and_promoted_from_events_alone(poor_shop: Shop) -> None:
    assert poor_shop.record("deliver")["measures"]["full_lists"] > 0.9
    assert poor_shop.record("recommender")["without"].keys() == {"content/bundle", "hybrid/bundle"}
    assert not absence(poor_shop.root / "data/promote/recommender/receipt.json")


def test_the_registry_knows_only_what_is_on(poor_shop: Shop) -> None:
    from pipelines.promotion.registry import Registry

    names = {standing.name for standing in Registry(poor_shop.state).champions()}
    assert names == {"vitrine.collaborative", "vitrine.recommender"}


def test_the_report_says_what_is_off_and_why(poor_shop: Shop) -> None:
    page = (poor_shop.root / "data/report/report.html").read_text("utf-8")
    assert "<b>Recognition of pictures: off.</b> params.yaml (ingest-pictures.source: none)" in page
    assert page.count("<b>Off.</b>") >= 4
    assert "Not evaluated in this run" not in page

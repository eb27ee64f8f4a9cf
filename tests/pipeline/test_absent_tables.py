"""Every combination of the tables that a shop may have: just the stages that need a missing one are off.

The stages' own work is left out; the graph, the harness and the cut's decision are the product's.
"""

import itertools
from graphlib import TopologicalSorter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.harness import Absent
from pipelines.harness.absent import OFF, absence
from pipelines.harness.graph import Graph, Node, read_graph
from pipelines.harness.stage import METRICS, Run, _write_json, check_outputs, figures, switch_off
from pipelines.split import open_tables
from pipelines.tables import TABLES
from tests.conftest import REPOSITORY

LISTS = "interactions"
CONTENT = "interactions & products"
NEEDS = {
    "ingest-encoders": "",
    "ingest-shop": "interactions | products | users",
    "ingest-pictures": "images",
    "ingest-reviews": "reviews | questions",
    "ingest-reviews-zh": "reviews",
    "validate-products": "products",
    "validate-users": "users",
    "validate-interactions": "interactions",
    "validate-images": "images",
    "validate-reviews": "reviews",
    "validate-questions": "questions & reviews",
    "split": "interactions | products | images | reviews",
    "text-features": "products | reviews",
    "image-features": "images",
    "pack-texts": "products",
    "review-features": "interactions & reviews",
    "behaviour": LISTS,
    "collaborative": LISTS,
    "content": CONTENT,
    "hybrid": CONTENT,
    "recommender": LISTS,
    "recognition": "images",
    "attributes": "products",
    "review-trust": "reviews",
    "sentiment": "reviews",
    "opinions": "reviews",
    "answers": "questions & reviews",
    "audit": "products",
    "recommend": LISTS,
    "deliver": LISTS,
    "report": "",
}
"""Stage to the tables that it can't do without: one of the groups, all of a group. evaluate and promote need what the
model needs that they are of."""
SPARED = ("data/image-features/images.parquet", "data/review-features/reviews.parquet")
CAN_DO_WITHOUT = {
    "validate-interactions": ("data/validate-products/table.parquet",),
    "behaviour": ("data/validate-products/table.parquet",),
    "content": SPARED,
    "hybrid": SPARED,
    "recommender": ("data/content/bundle", "data/hybrid/bundle"),
    "attributes": ("data/image-features/images.parquet",),
    "audit": (
        "data/image-features/images.parquet",
        "data/validate-images/table.parquet",
        "data/validate-images/quarantine.parquet",
    ),
}
"""Stage to the inputs that it goes on without; those of `EITHER` need one of theirs."""
EITHER = ("validate-reviews", "text-features")
INGESTED = {
    "ingest-shop": ("interactions", "products", "users"),
    "ingest-pictures": ("images",),
    "ingest-reviews": ("reviews", "questions"),
    "ingest-reviews-zh": ("reviews",),
}


def is_on(stage: str, shop: frozenset[str]) -> bool:
    verb, _, model = stage.partition("@")
    groups = NEEDS[model if verb in ("evaluate", "promote") else verb].split("|")
    return any(set(group.replace("&", " ").split()) <= shop for group in groups)


def work(run: Run, shop: frozenset[str]) -> None:
    """What a stage does about its inputs, without the work: it asks for each, then writes all outs."""
    inputs = [dep.removeprefix("data/") for dep in run.node.deps if dep.startswith("data/")]
    if run.name in INGESTED:
        for table in INGESTED[run.name]:
            if table not in shop:
                run.absent(f"{table}.parquet", f"the shop has no {table}")
    elif run.name == "split":
        open_tables(run)
    elif run.name == "report":
        for path in inputs:
            run.optional(path)
    elif run.name in EITHER:
        if not any([run.optional(path) for path in inputs if not path.startswith("ingest-enc")]):
            raise Absent("; ".join(dict.fromkeys(run.without.values())))
        if run.name == "text-features":
            for path, why in run.without.items():
                run.absent(f"{path.split('/')[0].removeprefix('validate-')}.parquet", why)
    else:
        spared = CAN_DO_WITHOUT.get(run.name, ())
        for path in inputs:
            run.optional(path) if f"data/{path}" in spared else run.input(path)
    read = {dep for node in run.graph.nodes.values() for dep in node.deps}
    for out in run.declared - set(run.absences):
        inside = [dep for dep in read if dep.startswith(f"{run.place}{out}/")]
        names = [name.removeprefix(run.place) for name in inside]
        for name in names or [out if Path(out).suffix else f"{out}/file"]:
            run.output(name).write_text("data")


def run_stage(root: Path, graph: Graph, node: Node, shop: frozenset[str]) -> dict[str, Any]:
    """One stage under the harness, without MLflow; its figures. As for DVC, all its deps must be there."""
    assert not [dep for dep in node.deps if dep.startswith("data/") and not (root / dep).exists()]
    folder = root / "data" / node.name.replace("@", "/")
    folder.mkdir(parents=True)
    tracker: Any = SimpleNamespace()
    run = Run(node.name, None, root, node, graph, 1, 1, "never", "tiny", tracker, folder)
    try:
        work(run, shop)
    except Absent as reason:
        switch_off(run, str(reason))
    _write_json(folder / METRICS, figures(run))
    check_outputs(run)
    return figures(run)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return read_graph(REPOSITORY)


@pytest.fixture(scope="module")
def order(graph: Graph) -> list[Node]:
    """Stages after those whose outs they read."""
    above: dict[str, set[str]] = {name: set() for name in graph.nodes}
    for source, target in graph.edges():
        above[target].add(source)
    return [graph.nodes[name] for name in TopologicalSorter(above).static_order()]


def test_every_stage_says_what_it_needs(graph: Graph) -> None:
    stages = {
        name.partition("@")[0]
        for name in graph.nodes
        if name.partition("@")[0] not in ("evaluate", "promote")
    }
    assert stages <= set(NEEDS), "write into NEEDS what a new stage can't do without"


@pytest.mark.parametrize("size", range(len(TABLES) + 1))
def test_just_the_stages_that_need_a_missing_table_are_off(
    tmp_path: Path,
    size: int,
    graph: Graph,
    order: list[Node],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for shop in map(frozenset, itertools.combinations(TABLES, size)):
        root = tmp_path / ("-".join(sorted(shop)) or "nothing")
        for node in order:
            found = run_stage(root, graph, node, shop)
            wanted = "done" if is_on(node.name, shop) else OFF
            assert found["status"] == wanted, (node.name, sorted(shop), found)
            if wanted == OFF:
                lacking = {f"the shop has no {table}" for table in set(TABLES) - shop}
                reasons = [absence(root / out) or "there" for out in node.outs]
                assert {why for text in reasons for why in text.split("; ")} <= lacking
            else:
                assert not all(absence(root / out) for out in node.outs)
    capsys.readouterr()

"""The whole pipeline on a made shop, by `dvc repro`."""

import json
import re

import pytest

from pipelines.harness.graph import read_graph
from tests.pipeline.shop import Shop, differing

# In one worker: they look at the same shop, and some change it.
pytestmark = pytest.mark.xdist_group("tiny")


def test_every_stage_left_its_outputs_and_its_record(tiny_shop: Shop) -> None:
    graph = read_graph(tiny_shop.root)
    for name, node in graph.nodes.items():
        assert all((tiny_shop.root / out).exists() for out in node.outs), name
        assert tiny_shop.record(name)["status"] == "done"
    assert not list((tiny_shop.root / "data" / ".partial").iterdir())


def test_a_second_time_only_what_always_runs_is_run(tiny_shop: Shop) -> None:
    graph = read_graph(tiny_shop.root)
    before = tiny_shop.outputs()
    said = tiny_shop.repro()
    ran = set(re.findall(r"Running stage '([^']+)'", said))
    assert ran == {name for name, node in graph.nodes.items() if node.always_changed}
    assert differing(before, tiny_shop.outputs()) == []


def test_every_figure_is_a_figure_and_none_is_a_time(tiny_shop: Shop) -> None:
    for path in (tiny_shop.root / "data").rglob("metrics.json"):
        figures = json.loads(path.read_text("utf-8"))
        names = set(figures["measures"])
        assert not {name for name in names if "seconds" in name or "memory" in name}, path


def test_a_damaged_store_is_healed_by_the_next_run(tiny_shop: Shop) -> None:
    """A stage whose output is gone and whose copy in the store is damaged makes the same again."""
    import shutil

    import yaml

    graph = read_graph(tiny_shop.root)
    name = next(iter(graph.nodes))
    lock = yaml.safe_load((tiny_shop.root / "dvc.lock").read_text("utf-8"))
    out = next(one for one in lock["stages"][name]["outs"] if not one["md5"].endswith(".dir"))
    stored = tiny_shop.root / ".dvc/cache/files/md5" / out["md5"][:2] / out["md5"][2:]
    before = tiny_shop.outputs()
    content = stored.read_bytes()
    stored.chmod(0o644)
    stored.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    stored.chmod(0o444)
    shutil.rmtree(tiny_shop.root / "data" / name)
    done = tiny_shop.run("pipelines.run", name)
    assert done.returncode == 0, done.stdout
    assert f"{stored} is damaged" in done.stdout
    assert differing(before, tiny_shop.outputs()) == []
    assert stored.read_bytes() == content

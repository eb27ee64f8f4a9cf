"""Where unfinished training is kept: one file for equal inputs, code and parameters, another for others."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipelines.harness import Params
from pipelines.harness.graph import Node
from pipelines.harness.state import State
from pipelines.harness.unfinished import unfinished

LOCK = "stages: {cut: {outs: [{path: data/cut/train.parquet, md5: '%s'}]}}\n"


class FitParams(Params):
    epochs: int


def run_of(root: Path, seed: int = 1) -> Any:
    deps = ("data/cut/train.parquet", "models")
    node = Node("fit", "", "", deps, (), (), False)
    return SimpleNamespace(
        root=root, node=node, name="fit", seed=seed, threads=1, state=State(root)
    )


def test_what_is_unfinished_is_found_by_what_decides_it(tmp_path):
    (tmp_path / "models").mkdir()
    code = tmp_path / "models" / "net.py"
    code.write_text("width = 1\n")
    params = FitParams(epochs=3)
    assert unfinished(run_of(tmp_path), params) is None
    (tmp_path / "dvc.lock").write_text(LOCK % "a")
    kept = unfinished(run_of(tmp_path), params)
    assert kept is not None
    kept.write_text("half")
    assert unfinished(run_of(tmp_path), params) == kept and kept.exists()
    others = [unfinished(run_of(tmp_path, seed=2), params)]
    assert not kept.exists()
    others.append(unfinished(run_of(tmp_path), FitParams(epochs=4)))
    code.write_text("width = 2\n")
    others.append(unfinished(run_of(tmp_path), params))
    (tmp_path / "dvc.lock").write_text(LOCK % "b")
    others.append(unfinished(run_of(tmp_path), params))
    assert len({kept, *others}) == 5

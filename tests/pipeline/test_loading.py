"""What loading a model of each kind needs: no training library, and no package that its version does not name."""

import json
import subprocess
import sys

import pytest

from models.kinds import KINDS
from pipelines.promotion.requirements import requirements
from tests.conftest import REPOSITORY

SCRIPT = """\
import json, sys
from models.kinds import model_class
model_class(sys.argv[1])
print(json.dumps(sorted(name for name in sys.modules if "." not in name or name.startswith("models."))))
"""
HEAVY = {"pytorch_lightning", "lightning", "torchmetrics", "sentence_transformers"}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_model_is_loaded_without_what_only_trains(kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = json.loads(done.stdout)
    assert not HEAVY & set(loaded)
    assert [name for name in loaded if name.endswith(("training.fitting", "_training"))] == []
    named = {line.split("==")[0] for line in requirements(REPOSITORY / "models", kind)}
    assert {"mlflow", "numpy", "pandas"} <= named
    assert ("torch" in named) >= ("torch" in loaded)

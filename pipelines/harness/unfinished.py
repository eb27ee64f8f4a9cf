"""Where a stage keeps training that is not finished, for a run that takes it up after this one was killed."""

from pathlib import Path

from pipelines.harness.params import Params
from pipelines.harness.shelf import code_hash, hashed
from pipelines.harness.stage import UNLOCKED, Run, inputs_hash


def unfinished(run: Run, params: Params) -> Path | None:
    """A file for the training of a run of just these inputs, code and parameters; what others left is removed.

    What it is trained on does not count: it may be taken up on other devices. None where `dvc.lock` does not know the
    inputs: then nothing is kept.
    """
    inputs = inputs_hash(run.root, run.node)
    if inputs == UNLOCKED:
        return None
    about = f"{inputs} {params.model_dump_json(exclude={'devices'})} {run.seed} {run.threads}"
    folder = run.state.unfinished / run.name
    folder.mkdir(parents=True, exist_ok=True)
    mine = folder / hashed(about, code_hash(run))
    for other in folder.iterdir():
        if other != mine:
            other.unlink()
    return mine

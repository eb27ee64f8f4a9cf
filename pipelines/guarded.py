"""DVC in a process that does not outlive its caller: `python -m pipelines.guarded repro -s split`.

Linux kills it when the caller dies, however that came; `pipelines.run` calls it so and names itself in `VITRINE_CALLER`.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines.harness.stage import die_with_parent

LOCK = "dvc.lock"


def main(words: list[str]) -> int:
    """Run `dvc` with these words."""
    die_with_parent()
    from dvc import dvcfile
    from dvc.cli import main as dvc

    dvcfile.modify_yaml = changed
    return dvc(words)


@contextmanager
def changed(path: str | Path, fs: Any = None) -> Iterator[dict[str, Any]]:
    """`dvc.utils.serialize.modify_yaml`, which keeps the comments of what it changes, without that for `dvc.lock`.

    DVC alone writes that file, without a comment; to look for some takes seconds for each stage that has run. The file
    changes as a whole: stages that run side by side read it without DVC's lock.
    """
    from dvc.utils.serialize import load_yaml, modify_yaml

    if Path(path).name != LOCK:
        with modify_yaml(path, fs=fs) as data:
            yield data
        return
    there = fs.exists(os.fspath(path)) if fs else Path(path).exists()
    held = load_yaml(path, fs=fs) if there else {}
    yield held
    write_whole(Path(path), held)


def write_whole(lock: Path, document: Any) -> None:
    """Write `document` as the lock file, built beside it and renamed; the caller holds DVC's lock.

    By the C library: DVC's own way takes a second for each stage once all stand in it. Both read as the same; they differ
    in how they write absent values, texts of several lines, and the last of 17 digits.
    """
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    partial = lock.with_name(f".{lock.name}.partial")
    yaml.dump(plain(document), partial)
    partial.replace(lock)


def plain(value: Any) -> Any:
    """Mappings and lists of DVC's own kinds as the usual ones: the C library would say of which kind they are."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

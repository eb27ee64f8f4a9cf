"""Which packages a model needs where it is loaded, read from its code and pinned as they are installed here."""

import ast
import sys
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

from models.kinds import KINDS

SHARED = ("arrays.py", "bundle.py", "kinds.py", "metrics.py", "pyfunc.py")
ALWAYS = ("mlflow",)
TRAINING = "training"
CALLED_OTHERWISE = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Packages whose module has another name. (Reading all packages' lists of files instead takes seconds.)"""


def requirements(models: Path, kind: str) -> list[str]:
    """Lines `package==version`, sorted, for a model of `kind` whose code lies in the package folder `models`.

    Read are the shared modules, the encoders and the kind's own family; modules that only train are left out.
    """
    family = KINDS[kind].split(".")[1]
    files = [models / name for name in SHARED]
    for folder in ("encoders", family):
        files += sorted((models / folder).rglob("*.py"))
    names = {
        name for path in files if not path.stem.endswith(TRAINING) for name in third_party(path)
    }
    wanted = {CALLED_OTHERWISE.get(name, name) for name in names} | set(ALWAYS)
    found = [one for name in wanted if (one := _installed(name))]
    return sorted(f"{one['Name']}=={one['Version']}" for one in found)


def _installed(name: str) -> PackageMetadata | None:
    """What is known of the package, or None: what no package brings, the check by loading finds."""
    try:
        return metadata(name)
    except PackageNotFoundError:
        return None


def third_party(path: Path) -> set[str]:
    """Top-level names of the packages that a module imports anywhere, ours and the standard library left out."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names - {"models"}

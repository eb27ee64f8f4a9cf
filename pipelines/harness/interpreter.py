"""Which `python` the commands of `dvc.yaml` find."""

import os
import sys
from pathlib import Path


def search_path() -> str:
    """This process's PATH; the folder of its interpreter comes first where it is not on it.

    Where it is on it, whoever set the PATH has chosen what else comes before.
    """
    own, path = str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)
    return path if own in path.split(os.pathsep) else f"{own}{os.pathsep}{path}"

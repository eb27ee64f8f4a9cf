"""Make a worker's own folder: `python -m pipelines.services.cluster_workplace PROJECT FOLDER S3_URL`.

It gets the product's code and parameters, newly copied at each start of a worker, and a DVC configuration whose remote
is the store. What stages make (`data/`, `.dvc/cache`, `.vitrine/`) stays from start to start and is shared with nobody.
"""

import shutil
import sys
from pathlib import Path

CODE = ("dags", "models", "pipelines")
FILES = ("dvc.yaml", "params.yaml", "corrections.csv", "exclusions.csv", ".dvcignore")
BUCKET = "dvc"
CONFIG = """\
[core]
    no_scm = true
    analytics = false
    autostage = false
    check_update = false
    remote = store
['remote "store"']
    url = s3://{bucket}
    endpointurl = {store}
"""


def make_workplace(project: Path, folder: Path, store: str) -> None:
    """Bring the worker's folder to the product's present state. store: the S3 server's address."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in CODE:
        fresh = folder / f".{name}.partial"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(project / name, fresh, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.rmtree(folder / name, ignore_errors=True)
        fresh.rename(folder / name)
    for name in FILES:
        if (project / name).exists():
            shutil.copyfile(project / name, folder / name)
    config = folder / ".dvc" / "config"
    config.parent.mkdir(exist_ok=True)
    config.write_text(CONFIG.format(bucket=BUCKET, store=store), encoding="utf-8")


def main(words: list[str]) -> int:
    """The command line."""
    if len(words) != 3:
        print(__doc__, file=sys.stderr)
        return 64
    make_workplace(Path(words[0]), Path(words[1]), words[2])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

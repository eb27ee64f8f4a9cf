"""Every command that the documentation shows is run: here, in a copy of the made shop after its first run, or by the test
that `ELSEWHERE` names. `OUTSIDE` says why some are not.

Here they follow one another in one folder, as a reader's do. Names of the default data are exchanged for those of the
made shop (`Reader.exchanged`), nothing else.
"""

import csv
import json
import shlex
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from pipelines.audit import PROPOSED
from tests.conftest import REPOSITORY
from tests.docs.pages import commands, pages
from tests.pipeline.shop import SECONDS, Shop

# In one worker with the others that look at the first run: a second one would only wait for it.
pytestmark = pytest.mark.xdist_group("tiny")

HERE = (
    "export MLFLOW_TRACKING_URI=sqlite:///$PWD/.vitrine/mlflow/mlflow.db",
    "python -c \nimport mlflow, pandas\n",
    "python -c import pandas; print(",
    "dvc dag",
    "dvc status",
    "dvc repro",
    "dvc repro sentiment",
    "dvc repro audit",
    "python -m pipelines.cache",
    "make stage NAME=sentiment",
    "make stage NAME=recommend@1",
    "python -m pipelines.run deliver --force",
    "python -m pipelines.run sentiment --profile smoke",
    "python -m pipelines.run ingest-shop",
    "python -m pipelines.run ingest-shop --force",
    "python -m pipelines.run_page",
    "python -m pipelines.ask --item canon-g3",
    "python -m pipelines.ask --item ID question",
    "python -m pipelines.backfill 2017-12-05",
    "python -m pipelines.past_features 2017-12-05",
    "export VITRINE_LISTS_URL=sqlite:////tmp/lists.db",
    "python -m pipelines.lists_table",
    "python -m pipelines.journal show",
    "python -m pipelines.journal show sentiment",
    "python -m pipelines.journal verify",
    "python -m pipelines.journal make",
    "python -m pipelines.verdict waiting",
    "make waiting",
    "make monitor",
    "make retention",
    "make retention REMOVE=yes",
    "dvc gc --workspace --force",
    "python -m pipelines.accept data/audit/audit.parquet --rows 1,4-6",
    "python -m pipelines.accept data/audit/audit.parquet --least 0.9 --kind value proposed",
    "python -m pipelines.benchmark --help",
    "python -m pipelines.benchmark recommend --help",
    "python -m pipelines.benchmark sentiment --help",
    "python -m pipelines.benchmark recommend --train events.parquet",
    "python -m pipelines.benchmark recommend --train train.parquet",
    "python -m pipelines.benchmark search --gallery shop.csv",
    "python -m pipelines.benchmark recognise --train train.csv",
    "python -m pipelines.benchmark attributes --train train.csv",
    "python -m pipelines.inspect --help",
    "python -m pipelines.inspect /data/shop",
    "python -m pipelines.inspect /data/shop --write",
    "python -m pipelines.inspect --default",
    "rm -rf .vitrine/downloads",
    "rm -rf data .dvc/cache .dvc/tmp dvc.lock .vitrine",
)
"""In the order in which they are run. A text that ends in the middle of a command names all that begin so."""
NOT_HERE = {
    "a step of a reader's shell, or a tool that is not ours": (
        *(". ", "cd ", "git ", "pre-commit ", "printf ", "uv ", "rm -rf vitrine", "apt-get "),
        *("docker ", "export AIRFLOW_CONN_", "export VITRINE_", "export PGSSLMODE"),
    ),
    "tests/docs, tests/unit/test_cluster_stack.py and .ci/run run what it runs": (
        *(
            "make docs",
            "make notice",
            "make types",
            "make test",
            "make test-unit",
            "make test-airflow",
            "make test-smoke",
            "make story",
        ),
        *(
            "python -m docs.parameters",
            "docker/pin.sh",
            "python -m pipelines.services.cluster_compose",
        ),
        "python -m pipelines.services.cluster_secrets",
        "python -m pipelines.services.cluster_trust",
    ),
    "it starts or asks services: tests/pipeline/test_airflow.py, test_serving.py, tests/airflow and tests/cluster do": (
        *("make demo", "make up", "make down", "make daily", "make lists", "make serve"),
        *(
            "make cluster",
            "make cluster-down",
            "make spark",
            "make spark-down",
            "make pictures",
            "make test-cluster",
            "python -m pipelines.services.cluster_run",
        ),
    ),
    "it is `dvc repro`, which is run here, between two commands that other tests run": (
        "make repro",
    ),
    "it needs a challenger that waits: tests/story and tests/unit/test_promotion.py make one": (
        *("make promote", "make rollback", "python -m pipelines.verdict reject"),
    ),
    "it fetches from registries": (
        *(
            "make audit",
            "make lock",
            "make lock-peers",
            "make cluster-packages",
            "make spark-packages",
            "make test-spark",
        ),
        "python -m benchmarks.recommender_peers setup",
    ),
    "it measures, with a reader's own files or for long; tests/unit run the parts": (
        *("python -m benchmarks.", "make bench-orchestration", "make test-shops"),
    ),
}
"""Reason to the commands, or how they begin."""
EVENTS = 400
FEW = 7
"""Pictures of a thing: of eight, the door's recogniser tunes its network."""


@cache
def documented() -> dict[str, tuple[str, ...]]:
    """The words of each command of all pages, by the words with spaces between."""
    found = (words for page in pages() for words in commands(page.read_text("utf-8")))
    return {" ".join(words): words for words in found}


def of(name: str) -> list[str]:
    """The commands that `name` names: itself, or all that begin so."""
    shown = documented()
    return [name] if name in shown else [one for one in shown if one.startswith(name)]


@dataclass(frozen=True)
class Reader:
    """Who follows the pages in a copy of the made shop.

    files: a folder with events and products of their own. settings: what their shell exported so far.
    """

    shop: Shop
    files: Path
    settings: list[str] = field(default_factory=list)

    def exchanged(self, word: str) -> str:
        """The word for what is not in the made shop."""
        match word:
            case "canon-g3" | "ID":
                return "made-radio"
            case "question":
                return "How is the sound?"
            case "smoke":
                return "tiny"
            case "/data/shop":
                return str(self.files)
            case "2017-12-05":
                return self.day
            case "1,4-6":
                return self.rows
            case "VITRINE_LISTS_URL=sqlite:////tmp/lists.db":
                return f"VITRINE_LISTS_URL=sqlite:///{self.files.parent}/lists.db"
        return word

    @property
    def day(self) -> str:
        """The first day of the test part."""
        cut = json.loads((self.shop.root / "data/split/recommending/cut.json").read_text("utf-8"))
        return str(pd.Timestamp(cut["test_from"]).date())

    @property
    def rows(self) -> str:
        """Of the audit, one that may be accepted; the made shop is too small for the audit to propose anything."""
        path = self.shop.root / "data/audit/audit.parquet"
        audit = pd.read_parquet(path)
        products = pd.read_parquet(self.shop.root / "data/ingest-shop/products.parquet")
        finding = {
            **{"kind": PROPOSED, "item_id": products["item_id"][0], "field": "brand"},
            **{"proposed": "Northfield", "confidence": 0.95},
        }
        line = pd.DataFrame([finding]).reindex(columns=audit.columns)
        pd.concat([audit, line.astype(audit.dtypes)], ignore_index=True).to_parquet(path)
        return str(len(audit) + 1)

    def lines(self, words: tuple[str, ...]) -> list[str]:
        """What a shell is given: of `make` its recipe, with the python of the shop."""
        if words[0] == "export":
            name, value = self.exchanged(words[1]).split("=", 1)
            self.settings.append(f'export {name}="{value}"')
            return []
        if words[0] != "make":
            return [shlex.join(self.exchanged(word) for word in words)]
        told = subprocess.run(
            ["make", "-n", *words[1:]], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        recipe = told.stdout.splitlines()
        return [
            line.replace(".venv/bin/python", "python") for line in recipe if "cmp -s" not in line
        ]

    def run(self, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        """Run a command as it is shown, in a shell that keeps what was exported before."""
        lines = self.lines(words)
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join([*self.settings, *lines])],
            cwd=self.shop.root,
            env=self.shop.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )


@pytest.fixture(scope="module")
def reader(tiny_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    folder = tmp_path_factory.mktemp("reader")
    shop = tiny_shop.copy(folder / "shop")
    files = folder / "files"
    files.mkdir()
    events = pd.read_parquet(shop.root / "data/ingest-shop/interactions.parquet")[:EVENTS]
    products = pd.read_parquet(shop.root / "data/ingest-shop/products.parquet")
    products = products.assign(currency="EUR")
    events.to_csv(files / "interactions.csv", index=False, quoting=csv.QUOTE_NONNUMERIC)
    products.to_csv(files / "products.csv", index=False, quoting=csv.QUOTE_NONNUMERIC)
    names = {"user_id": "user", "item_id": "item", "timestamp": "ts"}
    for name in ("events.parquet", "train.parquet"):
        events[list(names)].rename(columns=names).to_parquet(shop.root / name)
    photograph(shop.root)
    return Reader(shop, files)


def photograph(folder: Path) -> None:
    """Pictures of a few plain things, and the files that name them: `shop.csv`, `train.csv` and `test.csv`."""
    things = {"cup": ("red", "kitchen"), "mug": ("blue", "kitchen"), "sock": ("green", "clothes")}
    rows = []
    for name, (colour, category) in things.items():
        for at in range(FEW):
            path = folder / "photos" / f"{name}-{at}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (32, 32 + at), colour).save(path)
            rows.append((path.stem, f"photos/{path.name}", name, category, colour, "SML"[at % 3]))
    columns = ["id", "path", "label", "category", "colour", "size"]
    for file in ("shop.csv", "train.csv", "test.csv"):
        pd.DataFrame(rows, columns=columns).to_csv(folder / file, index=False)


def test_each_command_of_the_pages_is_run_or_said_why_not() -> None:
    here = [one for name in HERE for one in of(name)]
    assert len(here) == len(set(here))
    begins = tuple(begin for group in NOT_HERE.values() for begin in group)
    untold = [one for one in documented() if one not in here and not one.startswith(begins)]
    assert untold == [], "a new command: name it in HERE, or in NOT_HERE with the reason"
    idle = [name for name in (*HERE, *begins) if not of(name)]
    assert idle == [], "no page shows it any more"


@pytest.mark.parametrize("name", HERE)
def test_a_command_of_the_pages_ends_well(reader: Reader, name: str) -> None:
    shown = documented()
    for one in of(name):
        done = reader.run(shown[one])
        assert done.returncode == 0, f"{one}\n{done.stdout[-4000:]}"
        assert "Traceback" not in done.stdout, f"{one}\n{done.stdout[-4000:]}"

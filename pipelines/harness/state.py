"""Where everything lies that is not an output of DVC: one folder, ignored by git.

Paths are made from a root and touch nothing; whoever writes makes the folder.
"""

import os
from dataclasses import dataclass
from pathlib import Path

EXCHANGE = "VITRINE_EXCHANGE"
"""The variable that tells workers of a cluster to exchange what stages read and make through a store."""


def exchanged() -> bool:
    """Whether this process belongs to a worker that shares no disk with others."""
    return os.environ.get(EXCHANGE, "") == "true"


@dataclass(frozen=True)
class State:
    """The layout of `.vitrine/` under the project's root.

    >>> State(Path("/shop")).journal.as_posix()
    '/shop/.vitrine/journal.jsonl'
    """

    root: Path

    @property
    def home(self) -> Path:
        return self.root / ".vitrine"

    @property
    def airflow(self) -> Path:
        return self.home / "airflow"

    @property
    def mlflow(self) -> Path:
        return self.home / "mlflow"

    @property
    def data_docs(self) -> Path:
        """Great Expectations' pages; they carry the time of the check, so they are no hashed output."""
        return self.home / "data-docs"

    @property
    def downloads(self) -> Path:
        """Files from package registries, named by their SHA-256."""
        return self.home / "downloads"

    @property
    def journal(self) -> Path:
        return self.home / "journal.jsonl"

    @property
    def locks(self) -> Path:
        return self.home / "locks"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def shelf(self) -> Path:
        """What stages made of parts of their input, a folder a stage: see `pipelines.harness.shelf`."""
        return self.home / "shelf"

    @property
    def spill(self) -> Path:
        """What doesn't fit into memory, a folder a stage, while that works."""
        return self.home / "spill"

    @property
    def peers(self) -> Path:
        """The environment of the recommenders of other libraries that ours are measured beside."""
        return self.home / "peers"

    @property
    def records(self) -> Path:
        """One JSON file a stage: rows, seconds, memory and headline metric of its last run."""
        return self.home / "records"

    @property
    def unfinished(self) -> Path:
        """Training that was killed, a folder a stage, until a run of equal inputs takes it up."""
        return self.home / "unfinished"

    @property
    def tracking_uri(self) -> str:
        """MLflow's address: `MLFLOW_TRACKING_URI` where set, else a database in this folder."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.mlflow / 'mlflow.db'}"

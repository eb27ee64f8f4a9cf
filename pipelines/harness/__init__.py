"""What every stage shares: parameters, the graph, runs, outputs, records and exit codes."""

from pipelines.harness.absent import Absent
from pipelines.harness.errors import BadConfig, BadData, Bug, MissingResource, VitrineError
from pipelines.harness.params import Params
from pipelines.harness.stage import Run, stage

__all__ = [
    "Absent",
    "BadConfig",
    "BadData",
    "Bug",
    "MissingResource",
    "Params",
    "Run",
    "VitrineError",
    "stage",
]

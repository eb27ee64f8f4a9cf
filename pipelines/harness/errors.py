"""Classes of failure, each with the exit status that a stage ends with.

The numbers are those of BSD's sysexits.h, so that an operator can tell the classes apart in any log.
"""


class VitrineError(Exception):
    """A failure that the product understands: its text names the place, the cause and the cure."""

    exit_code = 70
    title = "bug"


class BadData(VitrineError):
    """The data break the contract: the text names file, column, rows and cure."""

    exit_code = 65
    title = "bad data"


class MissingResource(VitrineError):
    """Something outside is away or full: a registry, a package, a disk, a model."""

    exit_code = 69
    title = "missing resource"


class Bug(VitrineError):
    """The product broke one of its own rules."""

    exit_code = 70
    title = "bug"


class BadConfig(VitrineError):
    """`params.yaml` or `dvc.yaml` says something that can't be followed."""

    exit_code = 78
    title = "bad configuration"

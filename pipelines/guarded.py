"""DVC in a process that does not outlive its caller: `python -m pipelines.guarded CALLER_PID repro -s split`.

Linux kills it when the caller dies, however that came; `pipelines.run` calls it so.
"""

import os
import sys

from pipelines.harness.stage import die_with_parent


def main(words: list[str]) -> int:
    """Run `dvc` with all words but the first, which is the process id of the caller."""
    die_with_parent()
    if os.getppid() != int(words[0]):  # it died before the kernel was asked to watch it
        return 1
    from dvc.cli import main as dvc

    return dvc(words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

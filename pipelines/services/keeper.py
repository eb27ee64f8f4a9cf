"""Run a command, and run it again when it ends, until told to stop: `python -m pipelines.services.keeper COMMAND...`.

It does for a process of the cluster what the rule `restart: unless-stopped` does for a container. A command that ends
right after its first start is left alone: it can't work here, and whoever started it is to see why.
"""

import signal
import subprocess
import sys
import time
from types import FrameType

SETTLED_SECONDS = 10.0
"""How long the first try must last for the command to be one that works."""
PAUSE_SECONDS = (1.0, 2.0, 5.0, 10.0)
"""Before the next try, one after another; the last again and again."""


class Stopped(BaseException):
    """Somebody asked for the end."""


def keep(command: list[str], settled: float = SETTLED_SECONDS) -> int:
    """The exit status of the first try where that was short, of the last where TERM or INT came."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    tries = 0
    while True:
        began = time.monotonic()
        child = subprocess.Popen(command)
        try:
            status = child.wait()
            lived = time.monotonic() - began
            if lived >= settled:
                tries = 0
            elif not tries:
                return status
            print(f"ended with status {status} after {lived:.0f} s; started again", flush=True)
            time.sleep(PAUSE_SECONDS[min(tries, len(PAUSE_SECONDS) - 1)])
            tries += 1
        except Stopped:
            if child.poll() is None:
                child.terminate()
            return child.wait()


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise Stopped


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1:]))

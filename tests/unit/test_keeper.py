"""A service that ends is started again, one that never worked is not, and one that is stopped stays so."""

import signal
import subprocess
import sys
from pathlib import Path

from pipelines.services import keeper
from tests.waiting import poll

SERVICE = """
import signal, sys
path = sys.argv[1]
with open(path, "a") as file:
    file.write("x")
if len(open(path).read()) == 3:
    signal.pause()
"""
KEPT = """
import sys
from pipelines.services import keeper
keeper.PAUSE_SECONDS = (0.0,)
sys.exit(keeper.keep(sys.argv[1:], settled=0.0))
"""


def test_what_ends_at_once_is_left_alone() -> None:
    assert keeper.keep([sys.executable, "-S", "-c", "raise SystemExit(7)"]) == 7


def test_what_worked_is_started_again_until_it_is_stopped(tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    service = [sys.executable, "-S", "-c", SERVICE, str(tries)]
    process = subprocess.Popen([sys.executable, "-c", KEPT, *service])
    poll(lambda: tries.exists() and tries.read_text() == "xxx", "the third try", pause=0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 256 - signal.SIGTERM
    assert tries.read_text() == "xxx"

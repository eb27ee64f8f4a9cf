"""Waiting for what other processes do."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
SECONDS = 240.0


def poll(
    condition: Callable[[], T],
    what: str | Callable[[], str],
    seconds: float = SECONDS,
    pause: float = 0.5,
) -> T:
    """What `condition()` returns once that is true; fails after `seconds`, telling `what` did not come."""
    until = time.monotonic() + seconds
    waiting = threading.Event()
    while not (found := condition()):
        assert time.monotonic() < until, (
            f"not within {seconds} s: {what if isinstance(what, str) else what()}"
        )
        waiting.wait(pause)
    return found

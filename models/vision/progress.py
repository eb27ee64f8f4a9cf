"""Progress of long fitting as lines of text."""

from collections.abc import Callable


def spoken(say: Callable[[str], None]) -> Callable[[float, str], None]:
    """A report of shares done that says one line for each tenth."""
    last = [-1]

    def report(done: float, what: str) -> None:
        if int(done * 10) > last[0]:
            last[0] = int(done * 10)
            say(f"{what}: {done:.0%} of the tuning done")

    return report

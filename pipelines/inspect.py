"""Look at a shop's files and propose how they become its tables: `python -m pipelines.inspect PATH…`.

PATH is a file or a folder. Shown are: the source that fits, each table with the mapping of its columns and the grounds
for it, five of its rows as they would become, what can't be used, which stages would be off, and what only a person can
tell. A question is answered by `--choose`, and until all are nothing is written. Where the newest event is recent, writing
also sets after how many days without one the monitor alarms (`monitor.max_age_days`), unless that is set already.

    python -m pipelines.inspect /data/shop
    python -m pipelines.inspect /data/shop --choose interactions.user_id=customer_id --write
    python -m pipelines.inspect --default
"""

import argparse
import fcntl
import re
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from pipelines.harness import BadConfig, VitrineError
from pipelines.harness.params import read_params
from pipelines.harness.state import State
from pipelines.inspecting.proposal import Proposal


def main(words: list[str], root: Path, now: datetime | None = None) -> int:
    """The command line; the status is 0, or that of the class of failure. now: with its zone; None: the clock's."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.inspect",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a file or a folder of the shop")
    parser.add_argument(
        "--choose",
        action="append",
        default=[],
        metavar="KEY=OPTION",
        help="answer a question, or name a column yourself: TABLE.COLUMN=ITS_COLUMN",
    )
    parser.add_argument(
        "--write", action="store_true", help="put it into params.yaml, and its files into dvc.yaml"
    )
    parser.add_argument(
        "--default", action="store_true", help="put the profile's own data back in their place"
    )
    given = parser.parse_args(words)
    try:
        if given.default:
            _write(root, Proposal({}, max_age_days=0))
            print("params.yaml and dvc.yaml name no files of a shop: the profile's data are used")
            print("monitor.max_age_days is 0: the profile's data are of the past, of any age")
            return 0
        if not given.paths:
            parser.print_usage(sys.stderr)
            return 64
        now = now or datetime.now(UTC)
        return _inspect(root, given.paths, _answers(given.choose), given.write, now)
    except VitrineError as error:
        print(f"{error.title}: {error}", file=sys.stderr)
        return error.exit_code


def _answers(choices: list[str]) -> dict[str, str]:
    answers = {}
    for choice in choices:
        key, sign, answer = choice.partition("=")
        if not re.fullmatch(r"[a-z_]+\.\S.*", key) or not sign or not answer:
            raise BadConfig(f"--choose {choice}: write it as TABLE.COLUMN=OPTION")
        answers[key] = answer
    return answers


def _inspect(
    root: Path, paths: list[str], answers: dict[str, str], write: bool, now: datetime
) -> int:
    from pipelines import engine
    from pipelines.inspecting import guessing, looking, recency, showing

    with (
        tempfile.TemporaryDirectory(prefix="vitrine-") as folder,
        engine.engine(1, 2.0, Path(folder) / "spill") as connection,
    ):
        plain = [path if "://" in path else str(Path(path)) for path in paths]
        looks, refused = looking.look(connection, plain, Path(folder))
        proposal = guessing.propose(looks, refused, answers)
        strange = set(answers) - proposal.used
        if strange:
            raise BadConfig(
                f"--choose {', '.join(sorted(strange))}: nothing here asks for it; look at the tables and columns shown "
                "without it"
            )
        for line in showing.lines(connection, proposal, looks, root, Path(folder) / "show"):
            print(line)
        newest = None
        if write and not proposal.questions:
            parts = proposal.parts.get(recency.TABLE, [])
            newest = recency.newest_event(connection, parts, Path(folder))
    if not proposal.parts:
        raise BadConfig("nothing here can be used")
    if proposal.questions:
        print(f"\n{len(proposal.questions)} open: answer each by --choose")
        return BadConfig.exit_code if write else 0
    if write:
        print(f"\n{_limit(root, proposal, newest, now)}")
        _write(root, proposal)
        print(
            "\nwritten: params.yaml (shop), dvc.yaml (the files to watch). Next: make demo, or dvc repro"
        )
    return 0


def _limit(root: Path, proposal: Proposal, newest: datetime | None, now: datetime) -> str:
    """Propose the monitor's limit on the age of the newest event, where it has none; in words, what it is."""
    from pipelines.inspecting import recency

    standing = read_params(root)["monitor"]["max_age_days"]
    days = recency.max_age_days(newest, now)
    age = f"the newest event is of {newest:%Y-%m-%d}" if newest else "no event tells how new it is"
    if days is not None and not standing:
        proposal.max_age_days = days
        return f"monitor.max_age_days: {days}, since {age}: without one for so many days the monitor alarms"
    told = "" if standing else ": the monitor never alarms at the age of the data"
    return f"monitor.max_age_days stays {standing} ({age}){told}"


def _write(root: Path, proposal: Proposal) -> None:
    """Write while no stage is under way: each holds a share of the lock of the choices."""
    from pipelines.inspecting import writing

    locks = State(root).locks
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / "choice.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("a stage is under way; waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        writing.write(root, proposal)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))

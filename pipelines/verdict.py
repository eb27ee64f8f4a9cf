"""What a person decides on a capability's model, each at once and with a line in the journal:

    python -m pipelines.verdict waiting              which challengers wait for a person, with their figures
    python -m pipelines.verdict approve CAPABILITY   the challenger becomes champion
    python -m pipelines.verdict reject CAPABILITY    the challenger is never promoted by itself
    python -m pipelines.verdict rollback CAPABILITY  the champion before this one comes back

`make promote` and `make rollback` call it, and so do the DAGs `promote` and `rollback`.
"""

import argparse
import getpass
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.capabilities import MODULES
from pipelines.harness import BadData, MissingResource, VitrineError
from pipelines.harness.stage import stage_lock
from pipelines.harness.state import State
from pipelines.journal import APPROVED, REFUSED, REJECTED, ROLLED_BACK, WAITS, Journal
from pipelines.promotion.registry import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    SECONDS,
    VERDICT,
    Registry,
    Version,
    registered_name,
)


@dataclass(frozen=True)
class Word:
    """Who decides, why, and on which bundle (manifest hash; None: whichever is the challenger now)."""

    who: str
    why: str
    bundle: str | None = None


def approve(name: str, registry: Registry, journal: Journal, word: Word) -> str:
    """Make the challenger the champion. Raises `MissingResource` where there is none that loads."""
    aliases = registry.aliases(name)
    champion = aliases.get(CHAMPION)
    if champion and champion.manifest == word.bundle and CHALLENGER not in aliases:
        return f"{champion.name} version {champion.number} is champion already"
    version = wanted(aliases, CHALLENGER, name, word.bundle)
    if SECONDS not in version.tags:
        raise MissingResource(
            f"{version.name} version {version.number} was never loaded: run `dvc repro promote@{name}` first"
        )
    with registry.fetch(version):
        pass  # verified: what can't be read is not served
    if champion != version:
        write_down(journal, registry, name, APPROVED, champion, version, word)
        registry.tag(version, VERDICT, APPROVED)
    registry.crown(name, version, champion)
    return f"{version.name} version {version.number} is champion"


def reject(name: str, registry: Registry, journal: Journal, word: Word) -> str:
    """Say no to the challenger: no run promotes it by itself."""
    version = wanted(registry.aliases(name), CHALLENGER, name, word.bundle)
    write_down(journal, registry, name, REJECTED, None, version, word)
    registry.tag(version, VERDICT, REJECTED)
    return f"{version.name} version {version.number} stays out until a person approves it"


def rollback(name: str, registry: Registry, journal: Journal, word: Word) -> str:
    """Bring the previous champion back; the one that leaves stays out until a person approves it."""
    aliases = registry.aliases(name)
    previous = wanted(aliases, PREVIOUS, name, word.bundle)
    champion = aliases.get(CHAMPION)
    if champion != previous:
        with registry.fetch(previous):
            pass  # verified: what can't be read is not served
        write_down(journal, registry, name, ROLLED_BACK, champion, previous, word)
        if champion:
            registry.tag(champion, VERDICT, ROLLED_BACK)
            registry.point(name, CHALLENGER, champion)
        registry.point(name, CHAMPION, previous)
    registry.drop(name, PREVIOUS)
    return f"{previous.name} version {previous.number} is champion again"


ACTIONS = {"approve": approve, "reject": reject, "rollback": rollback}


def wanted(
    aliases: Mapping[str, Version], alias: str, name: str, bundle: str | None = None
) -> Version:
    """The version that `alias` names. Raises `MissingResource` where none does, `BadData` where it isn't `bundle`."""
    if alias not in aliases:
        raise MissingResource(f"{registered_name(name)} has no version with the alias `{alias}`")
    version = aliases[alias]
    if bundle is not None and version.manifest != bundle:
        raise BadData(
            f"{registered_name(name)}: asked about bundle {bundle[:12]}, but `{alias}` is now version "
            f"{version.number} with {version.manifest[:12]}: look at its figures and decide anew"
        )
    return version


JUDGED = (
    *("test", "metric", "reference", "challenger_mean", "reference_mean", "gain", "guards"),
    *("to", "when"),
)
"""What a person's line repeats of the run's line on the same bundle."""


def judged(journal: Journal, name: str, bundle: str) -> dict[str, Any] | None:
    """The figures that the newest run told of a bundle; None where none compared it."""
    lines = [
        line
        for line in journal.entries()
        if line["capability"] == name and line["to"] == bundle and "metric" in line
    ]
    return {key: lines[-1][key] for key in JUDGED} if lines else None


def write_down(
    journal: Journal,
    registry: Registry,
    name: str,
    outcome: str,
    old: Version | None,
    new: Version,
    word: Word,
) -> None:
    """The line of a person's decision; the same one again, after a command that was cut off, adds none.

    It carries the figures of the bundle that was decided on: the challenger's, or those of the champion that leaves.
    """
    move = [name, outcome, old.manifest if old else None, new.manifest]
    about = old if old and outcome == ROLLED_BACK else new
    journal.record(
        {
            "judged": judged(journal, name, about.manifest),
            "who": word.who,
            "capability": name,
            "from": old.manifest if old else None,
            "to": new.manifest,
            "outcome": outcome,
            "reason": word.why,
            "key": hashlib.sha256(json.dumps(move).encode()).hexdigest(),
        },
        registry,
    )


def undecided(
    journal: Journal, names: Iterable[str], outcomes: tuple[str, ...] = (WAITS,)
) -> dict[str, dict[str, Any]]:
    """Capability to its newest line, where that has one of `outcomes`: what a person may still decide on."""
    lines = {name: journal.last(name) for name in names}
    return {name: line for name, line in lines.items() if line and line["outcome"] in outcomes}


def figures(line: Mapping[str, Any]) -> str:
    """A run's decision as Markdown: the figures side by side, then each guard."""
    gain = line.get("gain") or {}
    held = {True: "held", False: "**did not hold**"}
    rows = [
        f"| {line.get('metric', 'figure')} | on the same test rows |",
        "|---|---|",
        f"| challenger `{line['to'][:12]}` | {_number(line.get('challenger_mean'))} |",
        f"| {line.get('reference', 'champion')} | {_number(line.get('reference_mean'))} |",
        f"| gain, 95 % | {_number(gain.get('mean'))} "
        f"[{_number(gain.get('low'))}, {_number(gain.get('high'))}] |",
    ]
    guards = [
        f"| {guard['name']} | {held[bool(guard['held'])]}: {guard['found']} |"
        for guard in line.get("guards", [])
    ]
    return "\n".join([line["reason"], "", *rows, "", "| guard | |", "|---|---|", *guards])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def requests(journal: Journal, names: Iterable[str], refused: bool) -> list[dict[str, str]]:
    """What a person is asked: capability, bundle, subject and body (Markdown). refused: those that lost, too."""
    outcomes = (WAITS, REFUSED) if refused else (WAITS,)
    return [
        {
            "capability": name,
            "bundle": line["to"],
            "subject": f"Make {registered_name(name)} {line['to'][:12]} the champion?",
            "body": figures(line),
        }
        for name, line in undecided(journal, names, outcomes).items()
    ]


def main(words: list[str], root: Path) -> int:
    """The command line; the exit status is that of the class of failure."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.verdict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    below = parser.add_subparsers(dest="action", required=True)
    below.add_parser("waiting", help="list what waits for a person")
    for action, function in ACTIONS.items():
        one = below.add_parser(action, help=(function.__doc__ or "").split(".")[0])
        one.add_argument("capability", choices=list(MODULES))
        one.add_argument("--who", default=None, help="who decides (default: the user's name)")
        one.add_argument("--because", default="decided by a person", metavar="TEXT")
        one.add_argument("--bundle", help="only if this is the one (manifest hash)")
    given = parser.parse_args(words)
    state = State(root)
    journal = Journal(state)
    try:
        if given.action == "waiting":
            for request in requests(journal, MODULES, refused=False):
                print(f"{request['subject']}\n\n{request['body']}\n")
            return 0
        word = Word(given.who or getpass.getuser(), given.because, given.bundle)
        with stage_lock(state, f"promote@{given.capability}"):
            print(ACTIONS[given.action](given.capability, Registry(state), journal, word))
        print("run `dvc repro` to make lists and report with it")
        return 0
    except VitrineError as error:
        print(f"{given.action}: {error.title}: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))

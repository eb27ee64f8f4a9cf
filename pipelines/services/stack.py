"""All services together: `python -m pipelines.services.stack up | down | status | daily | lists FIRST LAST`."""

import contextlib
import fcntl
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from pipelines.harness.errors import BadConfig, MissingResource
from pipelines.harness.state import State
from pipelines.services import (
    airflow,
    mlflow_server,
    processes,
    report_server,
    storefront,
    warm,
)
from pipelines.services.processes import LOOPBACK
from pipelines.services.web import Refused

NAMES = (*airflow.NAMES, mlflow_server.NAME, report_server.NAME, storefront.NAME, warm.NAME)
PAGES = {
    airflow.NAMES[0]: "Airflow",
    mlflow_server.NAME: "MLflow",
    report_server.NAME: "the report",
    storefront.NAME: "the shop",
}
OWNER = "up"
PAST = "lists"
"""The DAG whose runs may be asked for past days, and the verb that asks."""
DAILY = ("monitor", PAST, "retention")
"""DAGs of `dags/operation.py` that wait to be set going."""


@contextlib.contextmanager
def services_lock(state: State) -> Iterator[None]:
    """Nobody else starts or stops services meanwhile."""
    state.locks.mkdir(parents=True, exist_ok=True)
    with (state.locks / "services.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def addresses(state: State) -> dict[str, str]:
    """Title to address of the pages that are up."""
    found = {title: processes.running(state, name) for name, title in PAGES.items()}
    return {title: f"http://{LOOPBACK}:{one.port}/" for title, one in found.items() if one}


def up(root: Path) -> int:
    """Start what is not up yet and print the addresses."""
    state = State(root)
    with services_lock(state):
        before = [name for name in NAMES if processes.running(state, name)]
        off = {storefront.NAME: not storefront.has_goods(state), warm.NAME: not warm.offered(state)}
        wanted = [name for name in NAMES if not off.get(name)]
        if len(before) < len(wanted):
            print("starting Airflow, MLflow, the report and the shop ...", flush=True)
        try:
            shop = storefront.begin(state, OWNER)  # comes up while the others do
            airflow.start(state, OWNER)
            warm.start(state, OWNER)
            mlflow_server.start(state, OWNER)
            report_server.start(state, OWNER)
            if shop:
                storefront.ready(state, shop)
        except BaseException:
            processes.stop(state, [name for name in NAMES if name not in before])
            raise
        if shop is None:
            print("the shop has nothing to show yet: run `make demo`, then `make up` again")
        for name in NAMES:
            found = processes.running(state, name)
            if found and found.owner != OWNER:
                processes.claim(state, found, OWNER)
    print("already up" if len(before) >= len(wanted) else "up")
    for title, address in addresses(state).items():
        print(f"  {title:<11} {address}")
    print("stop them with: make down")
    return 0


def down(root: Path) -> int:
    """Stop all services."""
    state = State(root)
    with services_lock(state):
        ended = processes.stop(state, NAMES)
    print(f"stopped {len(ended)} processes" if ended else "nothing was up")
    return 0


def daily(root: Path) -> int:
    """Set the daily DAGs going. Raises `MissingResource` where Airflow is down or does not know them."""
    api = _airflow(root)
    for name in DAILY:
        _resume(api, name)
        print(f"  {name:<11} runs by its schedule")
    return 0


def lists(root: Path, first: str, last: str) -> int:
    """Have Airflow make everybody's list as of each day from `first` to `last`.

    Raises `BadConfig` for what is no such span, `MissingResource` where Airflow is down or can't take it now.
    """
    try:
        days = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        raise BadConfig(f"{first!r} to {last!r}: write both days as 2017-12-05") from None
    if days[0] > days[1]:
        raise BadConfig(f"{first} is after {last}: name the earlier day first")
    api = _airflow(root)
    if _resume(api, PAST):
        print(f"  {PAST} was paused: it runs by its schedule from now on, too")
    try:
        api.backfill(PAST, *days)
    except Refused as error:
        raise MissingResource(f"Airflow makes no lists of these days now: {error}") from error
    print(f"  asked for; follow it at {api.address}/dags/{PAST}/backfills")
    return 0


def _airflow(root: Path) -> airflow.Api:
    found = processes.running(State(root), airflow.NAMES[0])
    if found is None:
        raise MissingResource("Airflow is down: start it with `make up`")
    return airflow.Api(found.port)


def _resume(api: airflow.Api, name: str) -> bool:
    try:
        return api.resume(name)
    except Refused as error:
        raise MissingResource(f"Airflow does not know the DAG {name} yet: {error}") from error


def status(root: Path) -> int:
    """Print what is up; the status is 1 where something is not."""
    state = State(root)
    missing = 0
    for name in NAMES:
        found = processes.running(state, name)
        missing += found is None
        print(f"  {name:<18} {f'pid {found.pid}' if found else 'down'}")
    for title, address in addresses(state).items():
        print(f"  {title:<11} {address}")
    return 1 if missing else 0


def main(words: list[str], root: Path) -> int:
    """One of the verbs."""
    verbs = {"up": up, "down": down, "status": status, "daily": daily}
    verb, *days = words or [""]
    try:
        if verb in verbs and not days:
            return verbs[verb](root)
        if verb == PAST and len(days) == 2:
            return lists(root, *days)
    except (BadConfig, MissingResource) as error:
        print(f"{verb}: {error}", file=sys.stderr)
        return error.exit_code
    usage = f"{' | '.join(verbs)} | {PAST} FIRST LAST"
    print(f"usage: python -m pipelines.services.stack {usage}", file=sys.stderr)
    return 64


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))

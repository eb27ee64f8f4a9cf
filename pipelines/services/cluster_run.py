"""The cluster's services as processes on loopback.

python -m pipelines.services.cluster_run up | down | status
python -m pipelines.services.cluster_run on SERVICE COMMAND...    (in its folder, with its environment)

The same services as in `docker/compose.yaml`, from the same description, each in a folder of its own below
`.vitrine/cluster/`. Debian's postgresql and redis-server do what their images do there.
"""

import argparse
import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from pipelines.harness.errors import BadConfig, MissingResource
from pipelines.harness.interpreter import search_path
from pipelines.harness.state import State
from pipelines.services import keeper, processes
from pipelines.services.cluster import Described, Member, fill_in, read_services
from pipelines.services.cluster_certificates import write_file
from pipelines.services.cluster_secrets import make_secrets
from pipelines.services.processes import LOOPBACK, Running, Service
from pipelines.services.stack import services_lock

OWNER = "cluster"
START_SECONDS = 240.0
SETUP_SECONDS = 300.0
POSTGRES = ("postgres", "initdb", "pg_isready")
POSTGRES_FOLDERS = "/usr/lib/postgresql/*/bin"
"""Where Debian puts what it leaves off the PATH."""
KEEPER = Path(keeper.__file__)
"""Run as a file: a service's folder of modules may be another version's."""
PACKAGES = {
    "airflow.providers.celery": "docker/cluster.lock",
    "psycopg2": "docker/cluster.lock",
    "boto3": "docker/cluster.lock",
    "dvc_s3": "docker/cluster.lock",
    "moto": "docker/local.lock",
}
KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
"""Variables of ours that services see; a container sees none but its own."""
HANDED = ("tls-postgres", "postgres-hba")
"""What Postgres reads as a user of its own, and takes only where nobody else can read it."""
UNFIT = " %&+#?"
"""Signs that mean something else in a command of the shell or in an address, where the files of secrets are named."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE")
FETCHING = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
"""Beginnings of the names of variables by which a worker's stages reach package registries."""


class Processes:
    """The place where each service is a process on this machine: on loopback, in a folder of its own."""

    kind = "process"

    def __init__(
        self, root: Path, services: Mapping[str, Described], ports: Mapping[str, int]
    ) -> None:
        self.root = root
        self._ports = ports
        self.home = State(root).home / "cluster"
        self.folders = {name: self.home / name for name in services}

    def fill(self, service: str, described: Described, word: str, about: str) -> str:
        """See `Place`."""
        if word == "address":
            return f"{LOOPBACK}:{self._ports[about]}"
        if word == "secret":
            return str(self.home / "secrets" / about)
        port = self._ports.get(service, 0)
        return {
            "listen": LOOPBACK,
            "port": str(port),
            "python": sys.executable,
            "project": str(self.root),
            "state": str(self.folders[service] / "state"),
            "scratch": str(self.folders[service] / "scratch"),
            "name": service,
            "hosts": f"{LOOPBACK}:{port},localhost:{port}",
            "tasklogs": str(self.home / "task-logs"),
            "serve": "--skip-serve-logs",
        }[word]


def note_of(name: str) -> str:
    """Under which name a service of the cluster is known among all services of the product."""
    return f"cluster-{name}"


def check_installed(root: Path) -> None:
    """Raise `MissingResource`, with the cure, for the first thing that is not installed."""
    unfit = sorted(set(str(root)) & set(UNFIT))
    if unfit:
        raise MissingResource(
            f"{root}: a cluster needs a folder without {unfit[0]!r} in its name; move the project"
        )
    for name in (*POSTGRES, "redis-server", "redis-cli"):
        if not _program(name):
            package = "postgresql" if name in POSTGRES else "redis-server"
            raise MissingResource(
                f"{name} is not installed: apt-get install {package} (its own service may stay stopped)"
            )
    for module, lock in PACKAGES.items():
        try:
            found = find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise MissingResource(
                f"the Python package of {module} is not installed: make cluster-packages (it installs {lock})"
            )


def _program(name: str) -> str | None:
    folders = sorted(Path("/").glob(POSTGRES_FOLDERS.lstrip("/")), reverse=True)
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, folders)])
    return shutil.which(name, path=path)


def _as_postgres(folder: Path) -> tuple[str, ...]:
    """Postgres refuses to be root: words to put before its command, and its folder handed over."""
    if os.geteuid():
        return ()
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        raise MissingResource(
            "Postgres does not run as root and there is no user postgres: start the cluster as another user"
        ) from None
    for inner in (folder, *folder.rglob("*")):
        os.chown(inner, user.pw_uid, user.pw_gid)
    words = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    reached = subprocess.run([*words, "test", "-x", str(folder)], check=False)
    if reached.returncode:
        raise MissingResource(
            f"{folder} lies in a folder that the user postgres may not enter: start the cluster as another "
            "user than root, or in a folder that others may enter"
        )
    return words


def _make_database(folder: Path, password: Path) -> tuple[str, ...]:
    """Postgres' own files, made where they are missing; the words that come before its command."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "cluster"
    before = _as_postgres(folder)
    if (target / "PG_VERSION").exists():
        return before
    shutil.rmtree(target, ignore_errors=True)
    handed = folder / "password"
    handed.write_text(password.read_text("utf-8"), encoding="utf-8")
    before = _as_postgres(folder)
    words = ["--auth=scram-sha-256", f"--pwfile={handed}", "--username=vitrine", "--encoding=UTF8"]
    done = subprocess.run(
        [*before, _program("initdb") or "initdb", "--locale=C.UTF-8", *words, "-D", str(target)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    handed.unlink()
    if done.returncode:
        raise MissingResource(f"initdb in {folder}:\n{(done.stdout + done.stderr)[-2000:]}")
    return before


def _hand_over(folder: Path, secrets: Path) -> None:
    """Copies for Postgres' eyes alone, as its certificate and list are now."""
    for name in HANDED:
        write_file(folder / name, (secrets / name).read_text("utf-8"), 0o600)
    _as_postgres(folder)


def environment(member: Member, place: Processes) -> dict[str, str]:
    """All that a service sees: its own variables, and of ours what a fresh machine has too."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key in (*KEPT, *THREADS) or key.startswith(FETCHING)
    }
    kept["PATH"] = search_path()
    return {
        **kept,
        "NO_PROXY": f"{LOOPBACK},localhost",
        "no_proxy": f"{LOOPBACK},localhost",
        "PYTHONUNBUFFERED": "1",
        **member.environment,
    }


def _ports(state: State, services: Mapping[str, Described]) -> dict[str, int]:
    """Those of the services that run, and free ones for the others: of one that died its own, which others know."""
    found: dict[str, int] = {}
    for name, one in services.items():
        if one.port:
            last = processes.known(state, note_of(name))
            alive = last is not None and last.alive()
            port = last.port if last else one.port
            found[name] = port if alive else processes.free_port(port)
    return found


def members(root: Path) -> tuple[dict[str, Member], Processes, dict[str, int]]:
    """All services as processes, where they are, and their ports."""
    services = read_services(root, Processes.kind)
    ports = _ports(State(root), services)
    place = Processes(root, services, ports)
    return fill_in(services, place), place, ports


def start(
    root: Path, report: bool = True, only: Collection[str] | None = None
) -> dict[str, Running]:
    """Start what does not run, each after what it needs is healthy, and wait until all are. only: no others than these.

    Raises `MissingResource` for what is not installed, or with the end of a log for what does not come up; what was
    started is stopped then.
    """
    check_installed(root)
    state = State(root)
    found, place, ports = members(root)
    found = {name: one for name, one in found.items() if only is None or name in only}
    place.home.mkdir(parents=True, exist_ok=True)
    made = make_secrets(place.home / "secrets")
    if report and made:
        print(f"made secrets in {place.home / 'secrets'}: {', '.join(made)}", flush=True)
    names = [note_of(name) for name, one in found.items() if not one.described.once]
    before = {name for name in names if processes.running(state, name)}
    started: dict[str, Running] = {}
    try:
        for name, member in found.items():
            if report and note_of(name) not in before:
                print(f"  {name:<18} {member.described.title}", flush=True)
            if member.described.once:
                said = _run_once(member, place)
                if report:
                    print(said, end="", flush=True)
                continue
            alive = processes.running(state, note_of(name))
            if alive is None:
                alive = _start(state, member, place, ports.get(name, 0))
            started[name] = alive
            processes.wait_until(state, [alive], _asking(member, place), START_SECONDS)
    except BaseException:
        processes.stop(state, [name for name in names if name not in before])
        raise
    return started


def _start(state: State, member: Member, place: Processes, port: int) -> Running:
    folder = place.folders[member.name]
    for part in ("state", "scratch"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    command = member.command
    if member.name == "postgres":
        before = _make_database(folder / "state", place.home / "secrets" / "postgres")
        _hand_over(folder / "scratch", place.home / "secrets")
        command = (*before, _program(command[0]) or command[0], *command[1:])
    kept = (sys.executable, str(KEEPER), *command)
    service = Service(note_of(member.name), kept, environment(member, place), port)
    return processes.start(state, service, OWNER)


def _asking(member: Member, place: Processes) -> Callable[[], bool]:
    """A function that asks a service how it is, not more often than once a second."""
    last = 0.0

    def ready() -> bool:
        nonlocal last
        if not member.health:
            return True
        if time.monotonic() - last < 1.0:
            return False
        last = time.monotonic()
        words = [_program(member.health[0]) or member.health[0], *member.health[1:]]
        asked = subprocess.run(
            words, env=environment(member, place), cwd=place.root, capture_output=True, check=False
        )
        return asked.returncode == 0

    return ready


def _run_once(member: Member, place: Processes) -> str:
    """What it printed."""
    folder = place.folders[member.name]
    (folder / "scratch").mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        member.command,
        cwd=folder,
        env=environment(member, place),
        capture_output=True,
        text=True,
        timeout=SETUP_SECONDS,
        check=False,
    )
    if done.returncode:
        raise MissingResource(f"{member.name}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def names(root: Path) -> list[str]:
    """The services that stay up, in the order in which they start."""
    services = read_services(root, Processes.kind)
    return [name for name, one in services.items() if not one.once]


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[State]:
    state = State(root)
    with services_lock(state):
        yield state


def up(root: Path) -> int:
    """Start what is not up yet and print the addresses."""
    with _locked(root) as state:
        print("starting the cluster ...", flush=True)
        started = start(root)
        pages = {"Airflow": started["airflow-api"], "MLflow": started["mlflow"]}
        for title, one in pages.items():
            print(f"  {title:<11} http://{LOOPBACK}:{one.port}/")
        secret = state.home / "cluster" / "secrets" / "users"
        print(f"the user of Airflow is admin, the password stands in {secret}")
        print("stop it with: make cluster-down")
    return 0


def down(root: Path) -> int:
    """Stop all services of the cluster, in the opposite order of their start; their folders stay."""
    with _locked(root) as state:
        ended: list[str] = []
        order = [note_of(name) for name in reversed(names(root))]
        ended += processes.stop(state, order[:-3], 20.0)
        ended += processes.stop(state, order[-3:])  # the stores, when nobody uses them any more
    print(f"stopped {len(ended)} processes" if ended else "nothing was up")
    return 0


def status(root: Path) -> int:
    """Print what is up; the status is 1 where something is not."""
    state = State(root)
    missing = 0
    for name in names(root):
        found = processes.running(state, note_of(name))
        missing += found is None
        print(f"  {name:<18} {f'pid {found.pid}' if found else 'down'}")
    return 1 if missing else 0


def on(root: Path, name: str, command: list[str]) -> int:
    """Run a command as a service would: in its folder, with its environment. Returns the command's exit status.

    Raises `BadConfig` for a service that is none, `MissingResource` for one that never ran.
    """
    found, place, _ = members(root)
    if name not in found:
        raise BadConfig(f"no service is called {name}; there are: {', '.join(found)}")
    folder = place.folders[name] / "state"
    if not folder.is_dir():
        raise MissingResource(f"{name} has no folder yet: start the cluster by `make cluster`")
    return subprocess.run(
        command, cwd=folder, env=environment(found[name], place), check=False
    ).returncode


def main(words: list[str], root: Path) -> int:
    """The command line; the exit status is that of the class of failure, or the command's."""
    verbs = {"up": up, "down": down, "status": status}
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.services.cluster_run", description=(__doc__ or "").split("\n")[0]
    )
    below = parser.add_subparsers(dest="verb", required=True)
    for verb, function in verbs.items():
        below.add_parser(verb, help=(function.__doc__ or "").split(".")[0])
    run = below.add_parser("on", help="run a command in a service's folder, with its environment")
    run.add_argument("service", help="as `status` names it")
    run.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args(words)
    if asked.verb == "on" and not asked.command:
        run.error("which command?")
    try:
        if asked.verb == "on":
            return on(root, asked.service, asked.command)
        return verbs[asked.verb](root)
    except (MissingResource, BadConfig) as error:
        print(f"{asked.verb}: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))

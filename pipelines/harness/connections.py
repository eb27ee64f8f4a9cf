"""Connections of Airflow by name: `airflow://shop_db` in `params.yaml` stands for an address that is in no file.

A stage is a process below a task, and such a process may ask Airflow for nothing. Its task asks before it starts the
stage, and hands the address over in the stage's environment; an empty one says that Airflow has no such connection.
Where no task stands behind a stage, a process of its own asks Airflow's library.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from pipelines.harness import BadConfig, MissingResource
from pipelines.harness.graph import read_graph
from pipelines.harness.params import read_params

SCHEME = "airflow://"
NAMED = re.compile(rf"{SCHEME}([\w.-]+)/?")
HANDED = "VITRINE_CONNECTION_"
"""Beginning of the names of variables in which addresses are handed over."""
GIVEN = "AIRFLOW_CONN_"
"""Beginning of the names of variables by which Airflow is given connections, as `pipelines.services.airflow` has it."""
SECTION = "shop"
"""The part of `params.yaml` in which URLs stand."""
SECONDS = 300.0
"""Airflow's library alone takes a few to load, on busy cores many."""


def named(url: str) -> str | None:
    """The connection that a URL names; None where it names a database by itself.

    Raises `BadConfig` for more than a name: whatever else stands there may be a secret, and is not repeated.

    >>> named("airflow://shop_db"), named("sqlite:///shop.db")
    ('shop_db', None)
    """
    if not url.startswith(SCHEME):
        return None
    found = NAMED.fullmatch(url)
    if found is None:
        raise BadConfig(
            f"{SECTION}: a URL that begins with {SCHEME} goes on with the name of a connection and nothing else, as "
            f"{SCHEME}shop_db does: host, login and password are the connection's"
        )
    return found[1]


def variable(connection: str) -> str:
    """The variable in which its address is handed over.

    >>> variable("shop_db")
    'VITRINE_CONNECTION_SHOP_DB'
    """
    return HANDED + connection.upper()


def wanted(root: Path, stage: str) -> dict[str, str]:
    """Variable to connection, of all that the parameters of a stage name. Raises `BadConfig` for unreadable files."""
    own = read_params(root).get(SECTION)
    if not isinstance(own, dict) or SECTION not in read_graph(root).nodes[stage].params:
        return {}
    found = {}
    for parts in own.values():
        for part in parts if isinstance(parts, list) else []:
            name = NAMED.fullmatch(str(part.get("url"))) if isinstance(part, dict) else None
            if name:
                found[variable(name[1])] = name[1]
    return found


def given(root: Path, stage: str) -> dict[str, str]:
    """What this process's environment gives Airflow of the connections that a stage names."""
    names = [GIVEN + name.upper() for name in wanted(root, stage).values()]
    return {name: os.environ[name] for name in names if name in os.environ}


def address(connection: str, root: Path) -> str:
    """The address of a connection, as SQLAlchemy writes them, with its secret: to be shown nowhere.

    Raises `MissingResource` where Airflow has no such connection, or can't be asked.
    """
    handed = os.environ.get(variable(connection))
    found = _asked(connection, root) if handed is None else handed
    if not found:
        raise MissingResource(
            f"Airflow has no connection {connection}, which {SECTION} in params.yaml names: make it on Airflow's page "
            f"(make up; Admin, Connections), or set {GIVEN}{connection.upper()} before the stage or `make up` is started"
        )
    return found


def _asked(connection: str, root: Path) -> str:
    """What Airflow's library says, "" for nothing. It is not loaded here: it would set up this process's logging."""
    words = [sys.executable, "-m", "pipelines.services.airflow_connections", connection]
    try:
        done = subprocess.run(
            words, cwd=root, capture_output=True, text=True, timeout=SECONDS, check=True
        )
    except subprocess.SubprocessError as error:  # what it printed may hold the secret
        raise MissingResource(
            f"Airflow's library could not be asked for the connection {connection} ({type(error).__name__}): see "
            "whether `airflow version` runs in the project's environment"
        ) from None
    return str(json.loads(done.stdout))

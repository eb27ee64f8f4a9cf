"""What Airflow knows of a connection, as an address of SQLAlchemy.

`python -m pipelines.services.airflow_connections NAME` asks for one, for who is no task: the variables of the
environment first, then the database of the project's own Airflow. Its output is a secret, for a pipe and not for a log.
"""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from pipelines.harness.state import State

DIALECTS = {"postgres": "postgresql"}
"""Airflow's types of connections that SQLAlchemy calls otherwise."""


def addresses(connections: dict[str, str]) -> dict[str, str]:
    """Variable to address of a database, of the connections that exist. connections: variable to connection.

    A connection's `schema` is the database; `extra` may hold `{"driver": …}`, SQLAlchemy's name of dialect and driver.
    """
    if not connections:
        return {}
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    found = {}
    for variable, name in connections.items():
        with contextlib.suppress(AirflowNotFoundException):
            found[variable] = address(Connection.get(name))
    return found


def address(connection: Any) -> str:
    """The address that a connection of Airflow holds, with its secret."""
    from sqlalchemy.engine import URL

    kind = connection.conn_type
    return URL.create(
        connection.extra_dejson.get("driver") or DIALECTS.get(kind, kind),
        connection.login,
        connection.password,
        connection.host or None,
        connection.port,
        connection.schema,
    ).render_as_string(hide_password=False)


def main(words: list[str], root: Path) -> int:
    """Print a connection's address as JSON, "" where there is none; 64 where not one name is given."""
    if len(words) != 1:
        print(__doc__, file=sys.stderr)
        return 64
    from pipelines.services import airflow

    state = State(root)
    environment = airflow.settings(state, airflow.PORT)
    os.environ.clear()  # of another Airflow's variables too
    os.environ.update(environment)
    if (state.airflow / airflow.MIGRATED).exists():  # else there is no database to look into
        os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    with contextlib.redirect_stdout(sys.stderr):
        found = addresses({words[0]: words[0]})
    print(json.dumps(found.get(words[0], "")))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))

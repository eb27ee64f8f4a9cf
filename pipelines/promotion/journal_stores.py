"""Where the lines of the journal of promotions lie: a file of this machine, or a database that all machines share.

`VITRINE_JOURNAL` names the database, as an address of SQLAlchemy without its password, which stands in the file that
`VITRINE_JOURNAL_PASSWORD_FILE` names. Without it the lines are those of `.vitrine/journal.jsonl`.
"""

import contextlib
import fcntl
import os
import platform
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipelines.harness.errors import BadConfig, MissingResource
from pipelines.harness.state import State, exchanged

VARIABLE = "VITRINE_JOURNAL"
PASSWORD_FILE = "VITRINE_JOURNAL_PASSWORD_FILE"
PATIENCE_SECONDS = 60.0
"""How long a database that does not answer is asked again: it may be starting anew."""
PAUSE_SECONDS = 1.0
EXPLAINED = re.compile(r"\n\[SQL|\n\(Background on")
"""Where SQLAlchemy's own words begin after those of the database."""
DISTRUST = (
    *("certificate verify failed", "does not match host name", "root certificate file"),
    *("server does not support SSL", "no encryption"),
)
"""What is said where TLS is not talked on both sides, or the server's certificate is not trusted."""
HOPELESS = ("authentication failed", "no password supplied", "does not exist", "permission denied")
"""What Postgres says where asking again would not help."""

T = TypeVar("T")
Make = Callable[[list[bytes], bytes], bytes | None]
"""From the finished lines and what a dead writer left after them: the line to add, or None."""


class Store(Protocol):
    """Keeps lines in their order. common: whether several machines write it. place: for a person to read."""

    common: bool
    place: str

    @property
    def identity(self) -> str:
        """By which the registry tells this journal from others."""
        ...

    def read(self) -> tuple[list[bytes], bytes]:
        """The finished lines, oldest first, and what stands after them (empty unless a writer died)."""
        ...

    def append(self, make: Make) -> None:
        """Add what `make` makes of what there is, while nobody else adds; it is kept when this returns."""
        ...


def chosen(state: State) -> Store:
    """The store that the environment names.

    Raises `BadConfig` where workers without a common disk have no common journal: each would write a chain of its own.
    """
    address = os.environ.get(VARIABLE)
    if address:
        return Table(address, os.environ.get(PASSWORD_FILE))
    if exchanged():
        raise BadConfig(
            f"VITRINE_EXCHANGE is set and {VARIABLE} is not: workers without a common disk need a common journal; "
            f"name a database, as in {VARIABLE}=postgresql+psycopg2://USER@HOST/vitrine"
        )
    return File(state)


class File:
    """The file `.vitrine/journal.jsonl`, a line of it a line."""

    common = False

    def __init__(self, state: State) -> None:
        self._state = state
        self.path: Path = state.journal
        self.place = str(self.path)

    @property
    def identity(self) -> str:
        """See `Store`: the machine's name, since each machine has a file of its own."""
        return platform.node()

    def read(self) -> tuple[list[bytes], bytes]:
        """See `Store`."""
        if not self.path.exists():
            return [], b""
        *lines, rest = self.path.read_bytes().split(b"\n")
        return lines, rest

    def append(self, make: Make) -> None:
        """See `Store`. What a dead writer left after the last line end is taken out of the file."""
        self._state.locks.mkdir(parents=True, exist_ok=True)
        with (self._state.locks / "journal.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lines, torn = self.read()
            line = make(lines, torn)
            if line is not None:
                self._write(line + b"\n", len(torn))

    def _write(self, data: bytes, torn: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            if torn:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size - torn)
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Table:
    """Two tables of a database: the lines with their numbers, and one row with the journal's identity.

    Whoever adds a line first writes that one row, in the same transaction: the database holds others off until it ends.
    The number is the primary key, so that two lines can't follow the same one, and no clock has a part in their order.

    address: SQLAlchemy's. password: the file that holds it, where the address does not.
    """

    common = True

    def __init__(self, address: str, password: str | None = None) -> None:
        from sqlalchemy import (
            Column,
            Integer,
            MetaData,
            String,
            Text,
            create_engine,
            make_url,
        )
        from sqlalchemy import Table as Sql
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError
        from sqlalchemy.pool import NullPool

        try:
            url = make_url(address)
            if password:
                url = url.set(password=_secret(Path(password)))
            self._engine = create_engine(url, poolclass=NullPool)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise BadConfig(f"{VARIABLE} is no address of a database: {error}") from None
        self.place = url.render_as_string(hide_password=True)
        self._meta = MetaData()
        self._lines = Sql(
            "vitrine_journal",
            self._meta,
            Column("number", Integer, primary_key=True, autoincrement=False),
            Column("line", Text, nullable=False),
        )
        self._head = Sql(
            "vitrine_journal_head",
            self._meta,
            Column("slot", Integer, primary_key=True, autoincrement=False),
            Column("identity", String(32), nullable=False),
        )

    @property
    def identity(self) -> str:
        """See `Store`: made with the tables."""
        return self._asked(self._identity)

    def make(self) -> str:
        """Make the tables where they are missing; the journal's identity. Not for two at a time."""
        from sqlalchemy import insert, select

        def work(connection: Any) -> str:
            self._meta.create_all(connection)
            if connection.execute(select(self._head.c.identity)).first() is None:
                connection.execute(insert(self._head).values(slot=1, identity=uuid.uuid4().hex))
            return self._identity(connection)

        return self._asked(work)

    def read(self) -> tuple[list[bytes], bytes]:
        """See `Store`: a transaction leaves no half of a line."""

        def work(connection: Any) -> list[bytes]:
            self._identity(connection)
            return self._read(connection)

        return self._asked(work), b""

    def append(self, make: Make) -> None:
        """See `Store`. After a connection that broke while it was committed, `make` sees whether its line is there."""
        from sqlalchemy import func, insert, select, update

        def work(connection: Any) -> None:
            self._identity(connection)
            connection.execute(update(self._head).values(slot=self._head.c.slot))  # others wait
            line = make(self._read(connection), b"")
            if line is not None:
                newest = connection.execute(select(func.max(self._lines.c.number))).scalar() or 0
                added = {"number": newest + 1, "line": line.decode("utf-8")}
                connection.execute(insert(self._lines).values(**added))

        self._asked(work)

    def _read(self, connection: Any) -> list[bytes]:
        from sqlalchemy import select

        found = connection.execute(select(self._lines.c.line).order_by(self._lines.c.number))
        return [line.encode("utf-8") for (line,) in found]

    def _identity(self, connection: Any) -> str:
        from sqlalchemy import inspect, select

        if inspect(connection).has_table(self._head.name):
            found = connection.execute(select(self._head.c.identity)).scalar()
            if found is not None:
                return str(found)
        raise MissingResource(
            f"{self.place} holds no journal: `python -m pipelines.journal make` makes it, once"
        )

    def _asked(self, work: Callable[[Any], T]) -> T:
        """`work` in a transaction of its own, again where the database was not there for a while.

        Raises `MissingResource` where it stays away, or does not let us in.
        """
        from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except SQLAlchemyError as error:
                text = EXPLAINED.split(str(error))[0].strip()
                hopeless = any(word in text for word in HOPELESS)
                lost = isinstance(error, OperationalError | InterfaceError) and not hopeless
                if any(word in text for word in DISTRUST):
                    raise MissingResource(
                        f"the journal in {self.place} is not reached by TLS: {text}. Nothing was decided. The variables "
                        "PGSSLMODE and PGSSLROOTCERT, or sslmode and sslrootcert in the address, say how and whom to "
                        "trust; `python -m pipelines.services.cluster_trust` tells what is wrong"
                    ) from None
                if not lost or time.monotonic() >= until:
                    raise MissingResource(
                        f"the journal in {self.place} is away or refuses: {text}. Nothing was decided; start again "
                        "when it answers"
                    ) from None
            time.sleep(PAUSE_SECONDS)


def _secret(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text("utf-8").strip()
    raise MissingResource(f"{path}, which {PASSWORD_FILE} names, can't be read")

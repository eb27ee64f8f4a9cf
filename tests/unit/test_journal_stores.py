"""A journal that machines share: one chain whoever writes, one registry for it, and named errors where it can't be."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from pipelines.harness import BadConfig, MissingResource
from pipelines.harness.state import State
from pipelines.journal import Journal, main
from pipelines.promotion import journal_stores
from pipelines.promotion.journal_stores import Table
from tests.conftest import REPOSITORY
from tests.unit.test_journal import a_line

LINES = 12
WRITER = """
import sys
from pathlib import Path
from pipelines.harness.state import State
from pipelines.journal import Journal

journal = Journal(State(Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    journal.append({"capability": sys.argv[2], "outcome": "promoted", "key": str(number)})
"""


class Kept:
    """The part of the registry that a journal uses, in memory."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str], str] = {}
        self.journal: str | None = None
        self.faster: str | None = None

    def anchor(self, capability: str, journal: str) -> str | None:
        return self.lines.get((capability, journal))

    def set_anchor(self, capability: str, journal: str, line: str) -> None:
        self.lines[capability, journal] = line

    def owner(self) -> str | None:
        return self.journal

    def set_owner(self, journal: str) -> None:
        self.journal = self.faster or journal


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment names a database with an empty journal."""
    found = f"sqlite:///{tmp_path / 'common.db'}"
    monkeypatch.setenv(journal_stores.VARIABLE, found)
    Table(found).make()
    return found


@pytest.fixture
def journal(address: str, tmp_path: Path) -> Journal:
    made = Journal(State(tmp_path / "one"))
    for number in range(4):
        made.append(a_line(number))
    return made


def damage(journal: Journal, statement: str) -> None:
    """Change the tables behind the journal's back."""
    assert isinstance(journal.store, Table)
    with journal.store._engine.begin() as connection:
        connection.exec_driver_sql(statement)


def test_two_machines_see_one_chain(journal: Journal, tmp_path: Path, capsys) -> None:
    other = Journal(State(tmp_path / "two"))
    assert other.append(a_line(3))["who"] == "anna"  # repeated there, it adds no line here
    other.append(a_line(4))
    assert [entry["key"] for entry in journal.entries()] == ["0", "1", "2", "3", "4"]
    assert journal.verify() == [] and not (tmp_path / "one" / ".vitrine").exists()
    assert main(["verify"], tmp_path / "three") == 0
    assert "common.db: 5 lines, the chain holds" in capsys.readouterr().out
    assert main(["show", "sentiment"], tmp_path / "three") == 0
    assert capsys.readouterr().out.count("by anna: better") == 5


def write_at_once(folder: Path, environment: Mapping[str, str]) -> None:
    """Two processes add `LINES` lines each, on the capabilities `one` and `two`."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder / name), name, str(LINES)],
            cwd=REPOSITORY,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for one in writers:
        assert one.stdout is not None and one.stdout.readline() == "ready\n"
    for one in writers:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in writers:
        one.communicate()
        assert one.returncode == 0


def test_two_writers_at_once_make_one_chain(address: str, tmp_path: Path) -> None:
    write_at_once(tmp_path, os.environ)
    journal = Journal(State(tmp_path))
    assert journal.verify() == []
    for name in ("one", "two"):
        keys = [line["key"] for line in journal.entries() if line["capability"] == name]
        assert keys == [str(number) for number in range(LINES)]


@pytest.mark.parametrize(
    ("statement", "line", "told"),
    [
        (
            "UPDATE vitrine_journal SET line = replace(line, 'better', 'worse') WHERE number = 2",
            2,
            "changed",
        ),
        ("DELETE FROM vitrine_journal WHERE number = 2", 2, "does not follow"),
        ("DELETE FROM vitrine_journal WHERE number = 4", 4, "is gone"),
    ],
)
def test_every_change_is_found(journal: Journal, statement: str, line: int, told: str) -> None:
    newest = {"sentiment": journal.entries()[-1]["hash"]}
    damage(journal, statement)
    first = journal.verify(newest)[0]
    assert first.line == line and told in first.text


def test_no_clock_has_a_part_in_the_order(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.journal.time.gmtime", lambda: (1990, 1, 1, 0, 0, 0, 0, 1, 0))
    Journal(State(tmp_path / "late")).append(a_line(4))
    assert [entry["key"] for entry in journal.entries()][-1] == "4"
    assert journal.entries()[-1]["when"].startswith("1990") and journal.verify() == []


def test_a_line_that_was_kept_though_the_connection_broke_is_not_written_twice(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    monkeypatch.setattr(journal_stores, "PAUSE_SECONDS", 0.0)
    store = journal.store
    assert isinstance(store, Table)
    asked, broken = store._asked, []

    def breaking(work):
        def done(connection):
            found = work(connection)
            if not broken:
                connection.commit()
                broken.append(1)
                raise OperationalError("COMMIT", {}, Exception("the server closed the connection"))
            return found

        return asked(done)

    monkeypatch.setattr(store, "_asked", breaking)
    journal.append(a_line(7))
    assert broken and [entry["key"] for entry in journal.entries()].count("7") == 1
    assert journal.verify() == []


def test_a_registry_takes_decisions_of_one_common_journal(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Kept()
    line = journal.record(a_line(5), registry)
    assert registry.journal == journal.store.identity
    assert registry.anchor("sentiment", journal.store.identity) == line["hash"]

    other = f"sqlite:///{tmp_path / 'other.db'}"
    Table(other).make()
    monkeypatch.setenv(journal_stores.VARIABLE, other)
    for stranger in (Journal(State(tmp_path)), alone(tmp_path, monkeypatch)):
        with pytest.raises(BadConfig, match=f"told in the common journal {registry.journal}"):
            stranger.record(a_line(6), registry)
        assert stranger.entries() == []


def alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """The journal of a machine that shares none."""
    monkeypatch.delenv(journal_stores.VARIABLE)
    return Journal(State(root))


def test_of_two_clusters_that_come_at_once_one_is_refused(journal: Journal) -> None:
    registry = Kept()
    registry.faster = "the other"
    with pytest.raises(BadConfig, match="common journal the other"):
        journal.record(a_line(5), registry)
    assert len(journal.entries()) == 4


def test_workers_without_a_common_disk_need_a_common_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("VITRINE_EXCHANGE", "true")
    monkeypatch.delenv(journal_stores.VARIABLE, raising=False)
    with pytest.raises(BadConfig, match="need a common journal"):
        Journal(State(tmp_path))
    assert main(["verify"], tmp_path) == 78
    assert "VITRINE_JOURNAL" in capsys.readouterr().err


def test_what_can_not_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    with pytest.raises(BadConfig, match="no address of a database"):
        Table("somewhere")
    with pytest.raises(MissingResource, match="secret, which VITRINE_JOURNAL_PASSWORD_FILE names"):
        Table("sqlite:///x.db", str(tmp_path / "secret"))

    monkeypatch.setattr(journal_stores, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setenv(journal_stores.VARIABLE, f"sqlite:///{tmp_path / 'empty.db'}")
    assert main(["show"], tmp_path) == 69
    assert "journal make" in capsys.readouterr().err
    assert main(["make"], tmp_path) == 0
    made = capsys.readouterr().out
    assert main(["make"], tmp_path) == 0 and capsys.readouterr().out == made
    assert main(["show"], tmp_path) == 0

    with pytest.raises(MissingResource, match="is away or refuses"):
        Table(f"sqlite:///{tmp_path / 'absent' / 'x.db'}").read()


@pytest.mark.parametrize(
    "told",
    [
        "SSL error: certificate verify failed",
        'no pg_hba.conf entry for host "10.0.0.1", no encryption',
        "server does not support SSL, but SSL was required",
    ],
)
def test_a_database_that_is_not_trusted_is_named_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    table = Table(f"sqlite:///{tmp_path / 'x.db'}")

    def refuse() -> None:
        raise OperationalError(None, None, RuntimeError(told))

    monkeypatch.setattr(table, "_engine", SimpleNamespace(begin=refuse))
    with pytest.raises(MissingResource, match="is not reached by TLS.*PGSSLROOTCERT") as caught:
        table.read()
    assert told in str(caught.value) and "Background" not in str(caught.value)

"""Lists by SQL: shown whole or not at all, gone on with after a stop, never half."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import lists_table
from pipelines.harness import BadConfig, MissingResource
from pipelines.harness.state import State
from pipelines.lists.archive import archive
from pipelines.lists.files import SCHEMA

USERS, K = 50, 4


def write(path: Path, letter: str) -> Path:
    users = np.repeat([f"u{at:02d}" for at in range(USERS)], K)
    n = len(users)
    columns = [users, np.tile(np.arange(1, K + 1), USERS), [f"{letter}{at}" for at in range(n)]]
    table = pa.table([*columns, np.ones(n, "float32"), ["again"] * n, [None] * n], schema=SCHEMA)
    pq.write_table(table, path)
    return path


def shown(place: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(place)) as base:
        return base.execute(f"select * from {lists_table.VIEW} order by user_id, rank").fetchall()


def test_a_new_version_takes_the_place_of_the_old(tmp_path: Path) -> None:
    place, url = tmp_path / "lists.db", f"sqlite:///{tmp_path / 'lists.db'}"
    first = lists_table.deliver(write(tmp_path / "a.parquet", "a"), url)
    assert (first.rows, first.written) == (200, 200)
    assert shown(place)[0] == ("u00", 1, "a0", 1.0, "again", None) and len(shown(place)) == 200
    again = lists_table.deliver(tmp_path / "a.parquet", url)
    assert (again.version, again.rows, again.written) == (first.version, 200, 0)
    lists_table.deliver(write(tmp_path / "b.parquet", "b"), url)
    assert {row[2][0] for row in shown(place)} == {"b"}
    with closing(sqlite3.connect(place)) as base:
        assert base.execute("select count(*) from vitrine_list_rows").fetchone() == (200,)


def test_a_stopped_load_shows_the_old_version_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists_table, "PART_ROWS", 60)
    place, url = tmp_path / "lists.db", f"sqlite:///{tmp_path / 'lists.db'}"
    lists_table.deliver(write(tmp_path / "a.parquet", "a"), url)
    parts = lists_table._parts

    def two_parts(path: Path) -> Any:
        for at, part in enumerate(parts(path)):
            if at == 2:
                raise KeyboardInterrupt
            yield part

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(lists_table, "_parts", two_parts)
        lists_table.deliver(write(tmp_path / "b.parquet", "b"), url)
    assert {row[2][0] for row in shown(place)} == {"a"} and len(shown(place)) == 200
    done = lists_table.deliver(tmp_path / "b.parquet", url)
    assert (done.rows, done.written) == (200, 80)
    assert {row[2][0] for row in shown(place)} == {"b"} and len(shown(place)) == 200


def test_rows_that_somebody_took_away_are_not_shown_as_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'lists.db'}"
    lists_table.deliver(write(tmp_path / "a.parquet", "a"), url)
    with closing(sqlite3.connect(tmp_path / "lists.db")) as base, base:
        base.execute("delete from vitrine_list_rows where user_id = 'u07'")
    with pytest.raises(MissingResource, match="196 rows"):
        lists_table.deliver(tmp_path / "a.parquet", url)


@pytest.mark.parametrize("url", ["nonsense", "nosuch://host/x"])
def test_an_address_that_is_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(BadConfig, match="VITRINE_LISTS_URL"):
        lists_table.deliver(write(tmp_path / "a.parquet", "a"), url)


def test_a_database_that_is_away_is_told_without_its_password(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/none/lists.db?password=secret"
    with pytest.raises(MissingResource, match="stay"):
        lists_table.deliver(write(tmp_path / "a.parquet", "a"), url)


def test_without_a_database_nothing_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(lists_table.VARIABLE, raising=False)
    assert lists_table.main(tmp_path) == 0
    assert "nothing to do" in capsys.readouterr().out
    monkeypatch.setenv(lists_table.VARIABLE, f"sqlite:///{tmp_path / 'lists.db'}")
    assert lists_table.main(tmp_path) == 69
    assert not archive(State(tmp_path)).exists()
